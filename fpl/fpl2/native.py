# SPDX-License-Identifier: BSD-3-Clause
"""Last pass for userspace: LLVM IR to octets that a processor runs wherever they lie.

takes    text of a module of one function, `filter`
gives    Code: its octets, entered at the first; no relocation, no data of its own, no call but through its arguments
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

SHT_RELA, SHT_REL = 4, 9
SHF_ALLOC = 2
STT_FUNC = 2
TARGETS = {"x86-64": "x86_64-unknown-linux-gnu", "aarch64": "aarch64-unknown-linux-gnu"}


@dataclass(frozen=True)
class Code:
    target: str  # a key of TARGETS
    octets: bytes
    module: Any  # LLVM's, optimised

    @property
    def ir(self) -> str:
        return str(self.module)

    @property
    def assembly(self) -> str:
        """Made only when somebody asks: it takes as long as the code itself."""
        return str(_machine(self.target).emit_assembly(self.module))


class BackendError(Exception):
    """LLVM refused, or made what cannot be moved."""


@lru_cache(maxsize=4)
def _machine(target: str) -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(TARGETS[target]).create_target_machine(
        cpu="generic" if target == "aarch64" else "x86-64", opt=2, reloc="pic", codemodel="small"
    )


def compile_module(text: str, target: str = "x86-64") -> Code:
    """Raises BackendError."""
    import llvmlite.binding as llvm

    machine = _machine(target)
    try:
        module = llvm.parse_assembly(f'target triple = "{TARGETS[target]}"\n{text}')
        module.verify()
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        options.loop_vectorization = options.slp_vectorization = False  # their constants would lie in data
        builder = llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
        return Code(target, text_of(machine.emit_object(module)), module)
    except (RuntimeError, ValueError) as error:
        raise BackendError(f"the compiler's back end refused: {error}") from None


def text_of(elf: bytes) -> bytes:
    """The one section with code. Raises ValueError where it refers to another, or does not begin with the function."""
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    entry, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, table + i * entry) for i in range(count)]
    names_at = sections[names][4]
    found = b""
    for name, kind, flags, _address, at, size, _link, info, *_ in sections:
        label = elf[names_at + name : elf.index(b"\0", names_at + name)]
        if label == b".text":
            found = elf[at : at + size]
        elif (
            kind in (SHT_RELA, SHT_REL) and sections[info][2] & SHF_ALLOC and not _is_of_unwinding(elf, sections, info)
        ):
            raise ValueError(f"the object has relocations ({label.decode()})")
        elif kind == 1 and flags & SHF_ALLOC and size and not label.startswith(b".eh_frame"):
            raise ValueError(f"the object has data of its own ({label.decode()})")
    if not found:
        raise ValueError("the object has no code")
    return found


def _is_of_unwinding(elf: bytes, sections: list[tuple[int, ...]], number: int) -> bool:
    """.eh_frame is for debuggers, and left behind."""
    _entry, _count, names = struct.unpack_from("<HHH", elf, 0x3A)
    at = sections[names][4] + sections[number][0]
    return elf[at : elf.index(b"\0", at)] == b".eh_frame"
