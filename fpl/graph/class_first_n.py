# SPDX-License-Identifier: BSD-3-Clause
"""(first_n,"N flows=F idle=T"): the first N packets of every flow; csrc/graph/class_first_n.h, its MBuf too. All CPUs
share one table, which lies behind the MBuf.
"""

from __future__ import annotations

from functools import partial

from fpl.graph import arguments
from fpl.graph.classes import KernelClass, Lowered, NotInKernelError
from fpl.graph.code import Code
from fpl.graph.node import GraphError, Node

USAGE = "N [flows=F] [idle=TIME]"
MBUF_BYTES, SET_BYTES, WAYS = 32, 64, 4
FLOWS, FLOWS_MOST, FLOWS_HERE = 65536, 1 << 26, 1 << 18
STEP_SHIFT, STEPS_MAX = 20, (1 << 31) - 1


def _emit(code: Code, n: int, mask: int, idle: int) -> str:
    code.call("first", "i32", "ffpf_node_first_n", ("ptr", "%work"), ("ptr", code.name("mbuf")),
              ("ptr", code.name("table")), ("i64", mask), ("i32", n), ("i32", idle))  # fmt: skip
    code.say("%{n}.kept = icmp ne i32 %{n}.first, 0")
    return code.name("kept")


def instance(node: Node) -> Lowered:
    n, flows, idle_ns = 0, FLOWS, 0
    for key, value in arguments.words(node.argument):
        if key == "flows":
            flows = arguments.uint("flows", value, WAYS, FLOWS_MOST)
        elif key == "idle":
            idle_ns = arguments.duration("idle", value)
        elif not key and not n:
            n = arguments.uint("N", value, 1, arguments.U32_MAX)
        else:
            raise arguments.unknown(key, value, USAGE)
    if not n:
        raise GraphError(f"how many packets? Arguments: {USAGE}")
    octets = node.mbuf or MBUF_BYTES
    if octets < MBUF_BYTES:
        raise GraphError(f"an MBuf of {octets} octets: {MBUF_BYTES} or more")
    if flows > FLOWS_HERE:
        raise NotInKernelError(f"the kernel's table has {FLOWS_HERE} flows at most")
    sets = 1 << max(0, (-(-flows // WAYS) - 1).bit_length())
    steps = idle_ns >> STEP_SHIFT
    emit = partial(_emit, n=n, mask=sets - 1, idle=steps if idle_ns and steps < STEPS_MAX else arguments.U32_MAX)
    canonical = f"{n} flows={sets * WAYS}" + (f" idle={idle_ns}ns" if idle_ns else "")
    return Lowered(canonical, emit, octets, table_bytes=sets * SET_BYTES, headers=True)


CLASS = KernelClass("first_n", stateful=True, instance=instance)
