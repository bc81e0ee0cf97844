# SPDX-License-Identifier: BSD-3-Clause
"""(flow_hash,"mod=N seed=S"): the packet's flow as its classification result; csrc/graph/class_flow_hash.h."""

from __future__ import annotations

from functools import partial

from fpl.graph import arguments
from fpl.graph.classes import KernelClass, Lowered
from fpl.graph.code import ALWAYS, Code
from fpl.graph.node import GraphError, Node

USAGE = "[mod=N] [seed=S]"


def _emit(code: Code, seed: int, modulus: int) -> str:
    code.call("hash", "i32", "ffpf_node_flow_hash", ("ptr", "%work"), ("i64", seed), ("i64", modulus))
    code.say("store volatile i32 %{n}.hash, ptr %{n}.result, align 4")
    return ALWAYS


def instance(node: Node) -> Lowered:
    seed, modulus = 1, 0
    for key, value in arguments.words(node.argument):
        if key == "mod":
            modulus = arguments.uint("mod", value, 1, arguments.U32_MAX)
        elif key == "seed":
            seed = arguments.uint("seed", value, 0, arguments.U64_MAX)
        else:
            raise arguments.unknown(key, value, USAGE)
    if node.mbuf:
        raise GraphError("flow_hash has no MBuf")
    canonical = (f"mod={modulus} " if modulus else "") + f"seed={seed}"
    emit = partial(_emit, seed=seed, modulus=modulus)
    return Lowered(canonical, emit, headers=True, own_result=True)


CLASS = KernelClass("flow_hash", stateful=False, instance=instance)
