# SPDX-License-Identifier: BSD-3-Clause
"""(topk,"k=10 of=flow by=packets"): the keys that have most; csrc/graph/class_topk.h, its MBuf too, and for what is
different here csrc/kernel/node_topk.bpf.h: entries in sets of eight. All CPUs share them.
"""

from __future__ import annotations

import struct
from functools import partial

from fpl.graph import arguments, fields
from fpl.graph.classes import KernelClass, Lowered, NotInKernelError
from fpl.graph.code import ALWAYS, Code
from fpl.graph.node import GraphError, Node

USAGE = "[k=K] [of=FIELD] [by=packets|bytes]"
HEAD = struct.Struct("=3Q2I")  # turn, total, reset; filled, k
HEAD_BYTES = ENTRY_BYTES = 64
WAYS = 8
K, K_MOST, ROOM_LEAST, ROOM_PER_K = 10, 100_000, 1024, 10


def _emit(code: Code, field: int, sets: int, by_bytes: bool) -> str:
    code.call("counted", "void", "ffpf_node_topk", ("ptr", "%scratch"), ("ptr", "%work"), ("ptr", code.name("mbuf")),
              ("i32", code.link), ("i32", field), ("i32", sets), ("i32", int(by_bytes)))  # fmt: skip
    return ALWAYS


def instance(node: Node) -> Lowered:
    k, field, by = K, "flow", "packets"
    for key, value in arguments.words(node.argument):
        if key == "k":
            k = arguments.uint("k", value, 1, K_MOST)
        elif key == "of":
            field = value
        elif key == "by":
            by = arguments.choice("by", value, ("packets", "bytes"))
        else:
            raise arguments.unknown(key, value, USAGE)
    octets = node.mbuf or HEAD_BYTES + max(ROOM_LEAST, ROOM_PER_K * k) * ENTRY_BYTES
    room = (octets - HEAD_BYTES) // ENTRY_BYTES
    if room < k:
        raise GraphError(f"an MBuf of {octets} octets: k={k} takes 64 + 64 * k or more")
    if field not in fields.NUMBERS and field not in fields.KEYS:
        raise NotInKernelError(f"the kernel does not look for {field}")
    if room < WAYS:
        raise NotInKernelError(f"the kernel's sets have {WAYS} entries, and the MBuf has {room}")
    if node.private:
        raise NotInKernelError("the kernel's top-k cannot be reset, as an MBuf that may be written can ask for")
    number = fields.KEYS[field] if field in fields.KEYS else fields.NUMBERS.index(field)
    emit = partial(_emit, field=number, sets=room // WAYS, by_bytes=by == "bytes")
    begin = HEAD.pack(0, 0, 0, room // WAYS * WAYS, k)
    return Lowered(f"k={k} of={field} by={by}", emit, octets, mbuf_begin=begin, headers=True)


CLASS = KernelClass("topk", stateful=True, instance=instance)
