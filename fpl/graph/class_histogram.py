# SPDX-License-Identifier: BSD-3-Clause
"""(histogram,"of=len bins=N from=A to=B"): how often a field has which values; csrc/graph/class_histogram.h, its MBuf
too. All CPUs add to the counts atomically.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from fpl.graph import arguments, fields
from fpl.graph.classes import KernelClass, Lowered, NotInKernelError
from fpl.graph.code import ALWAYS, Code
from fpl.graph.node import GraphError, Node

USAGE = "[of=FIELD] [bins=N] [from=A] [to=B] [scale=linear|log]"
HEAD = struct.Struct("=5Q2I")  # from, to, below, above, none; bins, scale
BINS, BINS_MOST, TO, LOG_BINS = 64, 1 << 20, 65536, 65
RANGE_MAX = arguments.U32_MAX  # 64 bits must hold a value times the number of bins


@dataclass(frozen=True)
class _Histogram:
    field: str
    bins: int
    begin: int
    end: int
    is_log: bool

    def emit(self, code: Code) -> str:
        code.call("counted", "void", "ffpf_node_histogram", ("ptr", "%scratch"), ("ptr", "%work"),
                  ("ptr", code.name("mbuf")), ("i32", code.link), ("i32", fields.NUMBERS.index(self.field)),
                  ("i32", self.bins), ("i64", self.begin), ("i64", self.end), ("i32", int(self.is_log)))  # fmt: skip
        return ALWAYS

    @property
    def canonical(self) -> str:
        more = "scale=log" if self.is_log else f"from={self.begin} to={self.end}"
        return f"of={self.field} bins={self.bins} {more}"


def _parse(node: Node) -> _Histogram:
    said = {"of": "len", "scale": "linear"}
    for key, value in arguments.words(node.argument):
        if key not in ("of", "bins", "from", "to", "scale"):
            raise arguments.unknown(key, value, USAGE)
        said[key] = value
    is_log = arguments.choice("scale", said["scale"], ("linear", "log")) == "log"
    if is_log and ("from" in said or "to" in said):
        raise GraphError("scale=log has no from and to: its bins are 0, 1, 2..3, 4..7 ...")
    most = LOG_BINS if is_log else BINS_MOST
    bins = arguments.uint("bins", said.get("bins", str(LOG_BINS if is_log else BINS)), 1, most)
    if is_log:
        return _Histogram(said["of"], bins, 0, arguments.U64_MAX if bins == LOG_BINS else 1 << (bins - 1), is_log)
    begin = arguments.uint("from", said.get("from", "0"), 0, arguments.U64_MAX - 1)
    end = arguments.uint("to", said.get("to", str(TO)), 1, arguments.U64_MAX)
    if end - begin < bins:
        raise GraphError(f"{bins} bins from {begin} to {end}: each must hold a whole number")
    return _Histogram(said["of"], bins, begin, end, is_log)


def instance(node: Node) -> Lowered:
    made = _parse(node)
    least = HEAD.size + 8 * made.bins
    octets = node.mbuf or least
    if octets < least:
        raise GraphError(f"an MBuf of {octets} octets: {made.bins} bins take {least}")
    if made.field not in fields.NUMBERS:
        raise NotInKernelError(f"the kernel does not look for {made.field}")
    if not made.is_log and made.end - made.begin > RANGE_MAX:
        raise NotInKernelError("the kernel has no range of more than 32 bits")
    begin = HEAD.pack(made.begin, made.end, 0, 0, 0, made.bins, int(made.is_log))
    return Lowered(made.canonical, made.emit, octets, mbuf_begin=begin, headers=True)


CLASS = KernelClass("histogram", stateful=True, instance=instance)
