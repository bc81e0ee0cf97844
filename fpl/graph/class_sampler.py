# SPDX-License-Identifier: BSD-3-Clause
"""(sampler,N), (sampler,"1/N random seed=S"), (sampler,"1/N hash"): what csrc/graph/class_sampler.h says, its MBuf too.
All CPUs take their numbers from one counter, so every N-th packet is one of all, and random ones follow one generator;
by flow, each packet is judged alone.

    State   u64: packets so far; random: those times splitmix64's step
"""

from __future__ import annotations

from dataclasses import dataclass

from fpl.classify.ir import signed64
from fpl.graph import arguments
from fpl.graph.classes import KernelClass, Lowered
from fpl.graph.code import Code
from fpl.graph.node import GraphError, Node

USAGE = "N | 1/N random [seed=S] | 1/N hash [seed=S]"
NARROW, WIDE = 4, 8
STEP = 0x9E3779B97F4A7C15  # splitmix64: Steele, Lea, Flood 2014
MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


@dataclass(frozen=True)
class _Sampler:
    n: int
    mode: str
    seed: int
    narrow: bool

    def emit(self, code: Code) -> str:
        kind = "i32" if self.narrow else "i64"
        code.say(f"%{{n}}.seen = atomicrmw add ptr %{{n}}.mbuf, {kind} 1 monotonic, align {4 if self.narrow else 8}")
        if self.mode == "random":
            return self._by_chance(code)
        if self.mode == "hash":
            most = arguments.U64_MAX // self.n
            code.call("yes", "i32", "ffpf_node_sample_flow", ("ptr", "%work"), ("i64", self.seed), ("i64", most))
            code.say("%{n}.kept = icmp ne i32 %{n}.yes, 0")
            return code.name("kept")
        code.say(f"""
            %{{n}}.before = atomicrmw add ptr %{{n}}.state, i64 1 seq_cst, align 8
            %{{n}}.number = add i64 %{{n}}.before, 1
            %{{n}}.rest = urem i64 %{{n}}.number, {self.n}
            %{{n}}.kept = icmp eq i64 %{{n}}.rest, 0""")
        return code.name("kept")

    def _by_chance(self, code: Code) -> str:
        begin = (self.seed + STEP) & arguments.U64_MAX
        code.say(f"""
            %{{n}}.before = atomicrmw add ptr %{{n}}.state, i64 {signed64(STEP)} seq_cst, align 8
            %{{n}}.z0 = add i64 %{{n}}.before, {signed64(begin)}""")
        for i, (shift, factor) in enumerate(MIX):
            code.say(f"""
                %{{n}}.high{i} = lshr i64 %{{n}}.z{i}, {shift}
                %{{n}}.mixed{i} = xor i64 %{{n}}.z{i}, %{{n}}.high{i}
                %{{n}}.z{i + 1} = mul i64 %{{n}}.mixed{i}, {signed64(factor)}""")
        code.say(f"""
            %{{n}}.last = lshr i64 %{{n}}.z2, 31
            %{{n}}.value = xor i64 %{{n}}.z2, %{{n}}.last
            %{{n}}.kept = icmp ule i64 %{{n}}.value, {signed64(arguments.U64_MAX // self.n)}""")
        return code.name("kept")


def _parse(node: Node) -> _Sampler:
    n, mode, seed = 0, "", None
    for key, value in arguments.words(node.argument):
        if key == "seed":
            seed = arguments.uint("seed", value, 0, arguments.U64_MAX)
        elif key:
            raise arguments.unknown(key, value, USAGE)
        elif value[0].isdigit():
            if n:
                raise GraphError("how many packets make a sample is said twice")
            n = arguments.uint("N", value.removeprefix("1/"), 1, arguments.U32_MAX)
        else:
            mode = arguments.choice("sampler", value, ("random", "hash"))
    if not n:
        raise GraphError(f"which packets? Arguments: {USAGE}")
    if seed is not None and not mode:
        raise GraphError("seed= is for random and hash alone")
    octets = NARROW if node.mbuf is None else node.mbuf
    if octets != NARROW and octets < WIDE:
        raise GraphError(f"an MBuf of {octets} octets: 4, or 8 or more")
    return _Sampler(n, mode, 1 if seed is None else seed, octets == NARROW)


def instance(node: Node) -> Lowered:
    made = _parse(node)
    canonical = f"1/{made.n} {made.mode} seed={made.seed}" if made.mode else str(made.n)
    return Lowered(canonical, made.emit, NARROW if made.narrow else node.mbuf or WIDE, headers=made.mode == "hash")


CLASS = KernelClass("sampler", stateful=True, instance=instance)
