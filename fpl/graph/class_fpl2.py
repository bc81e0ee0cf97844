# SPDX-License-Identifier: BSD-3-Clause
"""(FPL-2,"IF (PKT.TCP_DPORT == 80) THEN MEM[0]++; RETURN 1; FI",8): a program, docs/fpl-2.md; csrc/graph/class_fpl2.c.
One without memory that calls nobody is a column of classify, as BPF is, if classify takes it. All CPUs share MBuf,
unless the program declares it PERCPU. A program sees the packet with its VLAN tag in place, as far as its first 65,536
octets.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from fpl.classify import Filter, Module, backend, ir
from fpl.fpl2 import FplError, check, ebpf
from fpl.fpl2.check import Policy
from fpl.fpl2.compile import Checked, mbuf_size
from fpl.fpl2.externals import key_of
from fpl.graph import filter_fpl2
from fpl.graph.callees import externals
from fpl.graph.classes import KernelClass, Lowered, NotInKernelError
from fpl.graph.code import Code, Function
from fpl.graph.node import Node
from pyffpf.externs import CoreLibrary

LINKS = {0: "ethernet", 2: "raw"}  # FFPF_NODE_*; cooked packets have a header that is not in the scratch
RECORD = "file:"
KEPT = 128  # programs, as they were lowered last
LINKLESS = "the kernel's programs see Ethernet and raw IP, and packets come here otherwise"


@dataclass(frozen=True)
class _Program:
    text: str
    mbuf_bytes: int

    def filter(self, link: int, library: bytes) -> Filter:
        known = meant(self.text, self.mbuf_bytes, LINKS[link])
        fetch = _kernel(*known).fetch
        return filter_fpl2.Fpl2Filter(checked(*known), Module(_function(*known).text), fetch, link, library)

    def emit(self, code: Code) -> str:
        if code.is_filter:
            return code.accepted()
        return write(code, _function(*meant(self.text, self.mbuf_bytes, LINKS[code.link])), self.mbuf_bytes)


def write(code: Code, function: Function, mbuf_bytes: int) -> str:
    """What is around the function of a program."""
    name = code.name("fpl2")[1:]
    code.functions[name] = function
    code.declarations.add(f"declare void @{name}(ptr, ptr, ptr)")
    code.call("entered", "void", "ffpf_node_program_enter", ("ptr", "%scratch"), ("ptr", "%work"),
              ("i32", code.link))  # fmt: skip
    memory = code.name("mbuf") if mbuf_bytes else "%work"
    code.say(f"call void @{name}(ptr %scratch, ptr %work, ptr {memory})")
    code.call("said", "i32", "ffpf_node_program_leave", ("ptr", "%scratch"), ("ptr", "%work"))
    code.say("""
        store volatile i32 %{n}.said, ptr %{n}.result, align 4
        %{n}.passes = icmp ne i32 %{n}.said, 0""")
    return code.name("passes")


def function_of(kernel: ebpf.Kernel) -> Function:
    """Of a program that was lowered with the name backend.ENTRY; the same whatever node has it."""
    declarations = [f"declare i64 @{name}(ptr, ptr)" for name in kernel.externs]
    return Function(ir.of_functions(declarations, kernel.functions), calls_library=bool(declarations))


def lowered(known: Checked, kernel: ebpf.Kernel, canonical: str, emit: Callable[[Code], str],
            filter: Callable[[int, bytes], Filter] | None = None) -> Lowered:  # fmt: skip
    """filter: as of Lowered, for a program that may be one."""
    is_filter = filter is not None and filter_fpl2.is_filter(known)
    return Lowered(canonical, emit, known.mbuf_bytes, headers=bool(kernel.externs), own_result=True,
                   filter=filter if is_filter else None, why_no_filter="it has memory, or calls functions",
                   stateless=is_filter, fetch=kernel.fetch, links=frozenset(LINKS), alone=True,
                   merges=known.merges)  # fmt: skip


Interfaces = tuple[tuple[int, str], ...]


@lru_cache(maxsize=KEPT)
def checked(text: str, mbuf_bytes: int, link: str, interfaces: Interfaces) -> Checked:
    """Raises FplError. interfaces: what their names mean now."""
    del interfaces
    return check(text, mbuf_bytes=mbuf_bytes, link=link, policy=Policy(library=CoreLibrary()))


@lru_cache(maxsize=KEPT)
def _kernel(text: str, mbuf_bytes: int, link: str, interfaces: Interfaces) -> ebpf.Kernel:
    """Raises NotForKernelError."""
    return ebpf.lower(checked(text, mbuf_bytes, link, interfaces), backend.ENTRY)


def _function(text: str, mbuf_bytes: int, link: str, interfaces: Interfaces) -> Function:
    return function_of(_kernel(text, mbuf_bytes, link, interfaces))


def meant(text: str, mbuf_bytes: int, link: str) -> tuple[str, int, str, Interfaces]:
    """Arguments of checked()."""
    return text, mbuf_bytes, link, tuple(socket.if_nameindex())


def _refuse_calls(node: Node, octets: int) -> None:
    """Raises NotInKernelError, or FplError, for a program that calls another filter."""
    library = CoreLibrary()
    policy = Policy(externals=externals(node.calls, octets, library), library=library)
    calls = check(node.argument, mbuf_bytes=octets, policy=policy).cost.calls
    called = [callee.name for callee in node.calls if key_of(callee.name) in calls]
    if called:
        raise NotInKernelError(f"it calls {called[0]}, and filters are called in userspace alone")


def instance(node: Node) -> Lowered:
    octets = mbuf_size(node.mbuf or 0)
    if node.argument.startswith(RECORD):
        raise NotInKernelError("a record has native code alone")
    try:
        if node.calls:
            _refuse_calls(node, octets)
        known = meant(node.argument, octets, "ethernet")
        program = _Program(node.argument, octets)
        return lowered(checked(*known), _kernel(*known), node.argument, program.emit, program.filter)
    except FplError as error:
        # the process that asks may know files and functions that this one does not: it says what is wrong, if it is
        raise NotInKernelError(f"the compiler for the kernel: {str(error).splitlines()[0]}") from None
    except ebpf.NotForKernelError as error:
        raise NotInKernelError(str(error)) from None


CLASS = KernelClass("FPL-2", stateful=True, instance=instance, linkless=LINKLESS, may_filter=True,
                    heavy=True)  # fmt: skip
