# SPDX-License-Identifier: BSD-3-Clause
"""A program in FPL-2 as the only node of a source: what the kernel would be given, to be looked at."""

from __future__ import annotations

from dataclasses import dataclass

from fpl.classify import Compiler, backend, ir, layout
from fpl.fpl2 import ebpf
from fpl.fpl2.compile import Checked
from fpl.graph import class_fpl2, emit
from fpl.graph.code import Code, Function
from fpl.graph.merge import DEVICE_NUMBER, Key, Running

NUMBER, NO_FILE = 1, 0  # of the node; where a map's descriptor would stand


@dataclass(frozen=True)
class _Written:
    function: Function
    mbuf_bytes: int

    def emit(self, code: Code) -> str:
        return class_fpl2.write(code, self.function, self.mbuf_bytes)


def program_of(checked: Checked, compiler: Compiler, library: bytes) -> bytes:
    """Octets of struct bpf_insn[], whose maps are none. library: bitcode of csrc/kernel/nodes.bpf.c. The functions
    behind the first are the program's own. Raises ebpf.NotForKernelError, ClassifyRefused."""
    kernel = ebpf.lower(checked, backend.ENTRY)
    written = _Written(class_fpl2.function_of(kernel), checked.mbuf_bytes)
    lowered = class_fpl2.lowered(checked, kernel, "", written.emit)
    link = next(number for number, name in class_fpl2.LINKS.items() if name == checked.link)
    key = Key(class_fpl2.CLASS.name, "", frozenset({DEVICE_NUMBER}), lowered.mbuf_bytes, "")
    node = Running(NUMBER, key, lowered, mbuf=NO_FILE if lowered.mbuf_bytes else -1)
    body = emit.body([node], [], NO_FILE, link)
    text = ir.module(NO_FILE, NO_FILE, [], body.lines, [], NO_FILE, ir.SOCKET, [layout.SLOT_STORE],
                     body.declarations)  # fmt: skip
    return compiler.compile(text, library, body.modules(library))
