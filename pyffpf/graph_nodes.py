# SPDX-License-Identifier: BSD-3-Clause
"""The text of a graph as nodes for ffpfd, and the text of their filters as instructions for the kernel's hook."""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from fpl.graph.node import COUNTING, DEVICE, PROGRAMS, Callee, Node, Read
from pyffpf._core import ffi, lib
from pyffpf.graph_text import text_at, text_error

SNAP_LEN_MAX = 262144
NETMASK_UNKNOWN = 0xFFFFFFFF
DLT_LINUX_SLL2 = 276
INSN_BYTES = 8
LOADS, PACKET_MODES = (0x00, 0x01), (0x20, 0x40, 0xA0)  # BPF_LD, BPF_LDX; BPF_ABS, BPF_IND, BPF_MSH
STRING = r'(?P<string>"(?:[^"\\]|\\.)*"?)'
COMMENTS = {  # of each language of PROGRAMS: a string, which is none, or a comment
    "FPL-1": re.compile(rf"{STRING}|//[^\n]*|#[^\n]*", re.DOTALL),
    "FPL-2": re.compile(rf"{STRING}|//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL),
}
_libc = ctypes.CDLL(None)
_libc.free.argtypes = (ctypes.c_void_p,)


class FilterError(ValueError):
    """The text of a BPF node cannot be compiled: in libpcap's words, or why the hook could not run it."""


Before = Callable[
    [str, str], Sequence[Node]
]  # of a flow ("": any) and a name: that node, last, behind what leads to it


def _nothing_before(flow: str, name: str) -> Sequence[Node]:
    raise ValueError(f"{name}: a flow of ffpfd cannot continue from another flow's node")


def nodes_of(text: str, before: Before = _nothing_before, *, arguments: bool = False) -> list[Node]:
    """The nodes of a flow's text (csrc/graph/parse.h). Packets that the last stage lets through are delivered, unless
    its nodes count. Where the text names a node of another flow, what leads to it is among the nodes: in ffpfd equal
    nodes are one. arguments: whether the classes take what they are given is looked at, too, as in the embedded engine.
    BadGraph: where the text is wrong. ValueError, or what `before` raises: there is no such node."""
    octets = text.encode()
    out, error = ffi.new("struct ffpf_graph_text **"), ffi.new("struct ffpf_graph_error *")
    if lib.ffpf_graph_text_parse(out, octets, len(octets), error) < 0:
        raise text_error(error, octets)
    graph = ffi.gc(out[0], lib.ffpf_graph_text_free)
    if arguments:
        for position in range(graph.count):
            _check_arguments(graph, position, octets)
    callees = [
        Callee(text_at(one.name), text_at(getattr(one, "class")), text_at(one.expression),
               int(one.mbuf_bytes) if one.has_mbuf else None)
        for one in (graph.callees[number] for number in range(graph.callee_count))
    ]  # fmt: skip
    aliases = [(text_at(one.word), int(one.node)) for one in (graph.aliases[n] for n in range(graph.alias_count))]
    ends = {int(graph.ends[number]) for number in range(graph.end_count)}
    nodes: list[Node] = []
    places: list[int] = []  # by position in the text
    for position in range(graph.count):
        said = graph.nodes[position]
        if text_at(getattr(said, "class")):
            names = [(text_at(graph.nodes[at].name), places[at]) for at in range(position)]
            names += [(word, places[at]) for word, at in aliases]
            nodes.append(_node(said, places, position in ends, callees, _readable(names, nodes)))
        else:
            _join(nodes, before(text_at(said.flow), text_at(said.name)))
        places.append(len(nodes) - 1)
    leading = {at for node in nodes for at in node.inputs}
    for at in {places[at] for _, at in aliases} - leading:  # nobody asked for their packets
        nodes[at] = replace(nodes[at], deliver=False)
    return nodes


def _check_arguments(graph: Any, position: int, text: bytes) -> None:
    """Devices are ffpfd's; classes that this library does not have are others' to check, and so are programs."""
    said = graph.nodes[position]
    name = text_at(getattr(said, "class")).encode()
    kind = lib.ffpf_class_find(name, len(name)) if name else ffi.NULL
    if kind == ffi.NULL or kind.source or name.startswith(b"FPL-"):
        return
    args, error = ffi.new("struct ffpf_class_args *"), ffi.new("struct ffpf_error *")
    words = ffi.new("char[]", text_at(said.expression).encode())
    args.text, args.mbuf_bytes = words, said.mbuf_bytes if said.has_mbuf else kind.mbuf_bytes
    memory = ffi.new("uint64_t[]", max(1, (kind.instance_bytes + 7) // 8))
    try:
        if kind.parse != ffi.NULL:
            refused = kind.parse(memory, args, error)
        else:
            refused = lib.ffpf_args_none(args, error)
            if not refused and args.mbuf_bytes < kind.mbuf_bytes:
                needs = f"an MBuf of {args.mbuf_bytes} octets; {name.decode()} needs {kind.mbuf_bytes}"
                refused = lib.ffpf_args_fail(args, 0, error, b"%s", ffi.new("char[]", needs.encode()))
        if refused:
            placed = ffi.new("struct ffpf_graph_error *")
            at = lib.ffpf_graph_expression_place(graph, ffi.addressof(said), args.error_at)
            lib.ffpf_graph_error_set(placed, text, len(text), at, error.code, b"%s", error.text)
            raise text_error(placed, text)
        if kind.close != ffi.NULL:
            kind.close(memory)
    finally:
        lib.ffpf_text_free(ffi.addressof(args, "canonical"))


def _join(nodes: list[Node], leading: Sequence[Node]) -> None:
    """Behind the others, so that inputs come first."""
    first = len(nodes)
    for node in leading:
        nodes.append(replace(node, inputs=tuple(first + at for at in node.inputs)))


def _readable(names: Iterable[tuple[str, int]], nodes: Sequence[Node]) -> list[Read]:
    """Of several nodes with one name, in any case, none is meant."""
    found: dict[str, set[int]] = {}
    for name, position in names:
        if name and nodes[position].kind != DEVICE:
            found.setdefault(name.lower(), set()).add(position)
    return [Read(name, *positions) for name, positions in found.items() if len(positions) == 1]


def _node(
    said: Any, places: Sequence[int], is_end: bool, callees: Sequence[Callee], known: Sequence[Read]
) -> Node:  # fmt: skip
    """known: what it might read."""
    kind, program = text_at(getattr(said, "class")), text_at(said.expression)
    calls = called(kind, program, callees) if kind in PROGRAMS else ()
    codes = [code_of(kind, program), *(code_of(callee.kind, callee.argument) for callee in calls)]
    texts = " ".join(codes) if kind in PROGRAMS else ""
    return Node(
        kind,
        program,
        tuple(places[said.inputs[number]] for number in range(said.input_count)),
        int(said.mbuf_bytes) if said.has_mbuf else None,
        text_at(said.name),
        deliver=True if is_end and kind not in COUNTING else None,
        calls=calls,
        reads=tuple(read for read in known if re.search(rf"(?ai)\bm(em)?@{re.escape(read.name)}\b", texts)),
    )


def code_of(kind: str, program: str) -> str:
    """A program but for its comments, in which any name may stand."""
    if kind not in PROGRAMS:
        return program
    return COMMENTS[kind].sub(lambda found: found["string"] or " ", program)


def called(kind: str, program: str, callees: Sequence[Callee]) -> tuple[Callee, ...]:
    """Those whose names a program has in it, or in turn one of those; all, where it has some of its text in a file."""
    found: list[Callee] = []
    code = code_of(kind, program)
    for callee in reversed(callees):
        if code.startswith("file:") or re.search(rf"(?ai)\b({callee.name}|USE)\b", code):
            found.insert(0, callee)
            code += f" {code_of(callee.kind, callee.argument)}"
    return tuple(found)


def leading_to(nodes: Sequence[Node], position: int) -> list[Node]:
    """A node, last, behind all that leads to it; only it keeps its name. Nobody asked for their packets."""
    wanted = {position}
    for at in range(position, -1, -1):
        if at in wanted:
            wanted |= {*nodes[at].inputs, *(read.node for read in nodes[at].reads)}
    kept = sorted(wanted)
    number = {at: new for new, at in enumerate(kept)}
    return [
        replace(nodes[at], inputs=tuple(number[one] for one in nodes[at].inputs),
                name=nodes[at].name if at == position else "", deliver=None,
                reads=tuple(replace(read, node=number[read.node]) for read in nodes[at].reads))
        for at in kept
    ]  # fmt: skip


def compile_filter(text: str, link_type: int, snap_len: int = SNAP_LEN_MAX) -> bytes | None:
    """Octets of struct sock_filter, as the kernel's hook takes them, by the system's libpcap; None: everything passes.
    FilterError."""
    if not text.strip():
        return None
    insns, count = ffi.new("struct ffpf_bpf_insn **"), ffi.new("uint32_t *")
    error = ffi.new("struct ffpf_error *")
    code = lib.ffpf_syspcap_compile(
        insns, count, text.encode(), link_type, snap_len, True, NETMASK_UNKNOWN, lib.FFPF_FORM_LIVE, error
    )
    if code < 0:
        raise FilterError(f"{text}: {ffi.string(error.text).decode(errors='replace')}")
    try:
        if link_type == DLT_LINUX_SLL2 and not all(_fixed(insns[0] + number) for number in range(count[0])):
            raise FilterError(f"{text}: it asks for octets that the kernel does not have of packets of any interface")
        return bytes(ffi.buffer(insns[0], INSN_BYTES * count[0]))
    finally:
        _libc.free(int(ffi.cast("uintptr_t", insns[0])))


def _fixed(insn: Any) -> bool:
    """A cooked packet begins with its network header in the kernel. False: a load that has no counterpart there."""
    (opcode,) = struct.unpack_from("=H", ffi.buffer(insn))
    if opcode & 0x07 not in LOADS or opcode & 0xE0 not in PACKET_MODES:
        return True
    return bool(lib.ffpf_cooked_fix_load(insn, DLT_LINUX_SLL2))
