# SPDX-License-Identifier: BSD-3-Clause
"""The nodes of a source as one program, behind classify and its chain, before STORE.

takes    nodes that run, inputs first; deliveries: which nodes' packets a flow's column stands for
gives    Body for ir.module(), whose `work` is this lane's Work

    on, bits = what is on, the device's bit
    for each node:  off, or none of its inputs' bits set: next;   in += 1;   what the class does, and unless it drops
                    the packet: out += 1, its bit is set
    for each delivery that is on: a bit of its nodes is set: the column's bit in the verdict is set

As in emit_tables, nothing stays in a register from one node to the next: the verifier's work is the sum over nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fpl.classify import Module, ir, layout
from fpl.graph.classes import table_at
from fpl.graph.code import ALWAYS, Code, Function
from fpl.graph.merge import DEVICE_NUMBER, Running

# `work`, a value of an array map, one per lane: struct ffpf_node_work of csrc/kernel/node_layout.h
WORK_BITS = 0  # u64: nodes that the packet came out of
WORK_ON = 8  # u64: of the switches, as they were when the packet came
WORK_DELIVER = 16  # u64
WORK_COUNTERS = 64  # {u64 in, u64 out} by number
COUNTER_BYTES = 16
NUMBERS = 64
WORK_RESULTS = WORK_COUNTERS + COUNTER_BYTES * NUMBERS  # u32 by number, of nodes that have results of their own
WORK_HEADERS = WORK_RESULTS + 4 * NUMBERS
WORK_FLOW = WORK_HEADERS + 24
WORK_PROGRAM = WORK_FLOW + 40
WORK_BYTES = WORK_PROGRAM + 1184
HEADERS_BYTES = 256  # of a packet that are looked at for its headers

# the states, a value of an array map: a line of the caches for each number, which nobody maps but the control plane.
# The device has none: there are the switches
STATE_BYTES = 64
SWITCH_NODES = 0  # u64
SWITCH_DELIVER = 8  # u64


@dataclass(frozen=True)
class Body:
    """Lines of IR. declarations: of functions that it calls: the library's, and those in `functions`, by name."""

    lines: list[str]
    declarations: list[str]
    functions: dict[str, Function]

    def modules(self, library: bytes) -> dict[str, Module]:
        """What the compiler is to link, by name; library: of functions in C."""
        return {name: Module(function.text, library if function.calls_library else b"")
                for name, function in self.functions.items()}  # fmt: skip


@dataclass(frozen=True)
class Said:
    """A classification result: always the same, or, if that is 0, what `number` left in work, or classify for `column`
    when number is 0."""

    always: int = 0
    number: int = 0
    column: int = 0


@dataclass(frozen=True)
class Delivery:
    """number: its switch. column: of the flow. nodes: numbers; the packets of any are the flow's. Of several, bit j of
    a packet's result says that it came out of nodes[j]; of one it is what the last node said that has something to
    say."""

    number: int
    column: int
    nodes: tuple[int, ...]
    result: Said


def _mask(numbers: Iterable[int]) -> int:
    return ir.signed64(sum(1 << number for number in set(numbers)))


class _Program:
    def __init__(self, states_fd: int, link: int) -> None:
        self._states_fd, self._link = states_fd, link
        self.lines: list[str] = []
        self.declarations: set[str] = set()
        self.functions: dict[str, Function] = {}

    def say(self, text: str) -> None:
        self.lines += [f"  {line.strip()}" for line in text.strip().splitlines()]

    def block(self, label: str) -> None:
        self.lines.append(f"{label}:")

    def kept(self, name: str, offset: int) -> None:
        """%name (i64): from `work`."""
        self.say(f"""
            %{name}.p = getelementptr i8, ptr %work, i64 {offset}
            %{name} = load volatile i64, ptr %{name}.p, align 8""")

    def keep(self, name: str, value: str, offset: int) -> None:
        self.say(f"""
            %{name}.w = getelementptr i8, ptr %work, i64 {offset}
            store volatile i64 {value}, ptr %{name}.w, align 8""")

    def count(self, name: str, offset: int) -> None:
        """One writer: a lane has one packet at a time."""
        self.kept(name, offset)
        self.say(f"%{name}.more = add i64 %{name}, 1")
        self.keep(f"{name}.one", f"%{name}.more", offset)

    def begin(self) -> None:
        self.lines += ir.map_value("switches", self._states_fd)
        for name, at, to in (("on", SWITCH_NODES, WORK_ON), ("deliver", SWITCH_DELIVER, WORK_DELIVER)):
            self.say(f"""
                %{name}.p = getelementptr i8, ptr %switches, i64 {at}
                %{name} = load volatile i64, ptr %{name}.p, align 8""")
            self.keep(f"{name}.now", f"%{name}", to)
        self.say(f"%device = and i64 %on, {1 << DEVICE_NUMBER}")
        self.keep("begin", "%device", WORK_BITS)
        self.say("br label %node0")

    def headers(self, at: int, numbers: Iterable[int]) -> None:
        """In front of block node<at>, the first that asks for them; if one of these nodes is on."""
        self.block(f"node{at}")
        self.kept("asking", WORK_ON)
        self.declarations.add("declare void @ffpf_node_headers_find(ptr, ptr, i32)")
        self.say(f"""
            %asking.some = and i64 %asking, {_mask(numbers)}
            %asking.none = icmp eq i64 %asking.some, 0
            br i1 %asking.none, label %node{at}.go, label %headers
            headers:
            call void @ffpf_node_headers_find(ptr %scratch, ptr %work, i32 {self._link})
            br label %node{at}.go""")

    def node(self, at: int, node: Running, label: str) -> None:
        """From block node<at> to node<at + 1>."""
        n, counters = f"n{node.number}", WORK_COUNTERS + COUNTER_BYTES * node.number
        self.block(label)
        self.kept(f"{n}.on", WORK_ON)
        self.kept(f"{n}.bits", WORK_BITS)
        self.say(f"""
            %{n}.mine = and i64 %{n}.on, {_mask([node.number])}
            %{n}.from = and i64 %{n}.bits, {_mask(node.key.inputs)}
            %{n}.off = icmp eq i64 %{n}.mine, 0
            %{n}.none = icmp eq i64 %{n}.from, 0
            %{n}.not = or i1 %{n}.off, %{n}.none
            br i1 %{n}.not, label %node{at + 1}, label %{n}.run""")
        self.block(f"{n}.run")
        self.count(f"{n}.in", counters)
        if node.mbuf >= 0:
            self._map(at, n, node)
            self.say(f"%{n}.mbuf = getelementptr i8, ptr %{n}.map, i64 {node.mbuf_at}")
        self.lines += ir.map_value(f"{n}.states", self._states_fd)
        self.say(f"%{n}.state = getelementptr i8, ptr %{n}.states, i64 {STATE_BYTES * node.number}")
        if node.lowered.table_bytes:
            self.say(f"%{n}.table = getelementptr i8, ptr %{n}.map, i64 {table_at(node.mbuf_end)}")
        if node.lowered.own_result:
            self.say(f"%{n}.result = getelementptr i8, ptr %work, i64 {WORK_RESULTS + 4 * node.number}")
        code = Code(n, self._link, node.column)
        passes = node.lowered.emit(code)
        self.lines += code.lines
        self.declarations |= code.declarations
        self.functions |= code.functions
        if passes != ALWAYS:
            self.say(f"br i1 {passes}, label %{n}.pass, label %node{at + 1}")
            self.block(f"{n}.pass")
        self.count(f"{n}.out", counters + 8)
        self.kept(f"{n}.sofar", WORK_BITS)
        self.say(f"%{n}.with = or i64 %{n}.sofar, {_mask([node.number])}")
        self.keep(f"{n}.bit", f"%{n}.with", WORK_BITS)
        self.say(f"br label %node{at + 1}")

    def _map(self, at: int, n: str, node: Running) -> None:
        """%n.map: where the node's memory is; of this lane's, where each has its own."""
        if not node.lowered.merges:
            self.lines += ir.map_value(f"{n}.map", node.mbuf)
            return
        self.lines += ir.map_lookup(f"{n}.map", node.mbuf)
        self.say(f"""
            %{n}.map.none = icmp eq ptr %{n}.map, null
            br i1 %{n}.map.none, label %node{at + 1}, label %{n}.there""")
        self.block(f"{n}.there")

    def delivery(self, at: int, what: Delivery) -> None:
        """From block deliver<at> to deliver<at + 1>."""
        d = f"d{what.number}"
        word, bit = divmod(what.column, 64)
        self.block(f"deliver{at}")
        self.kept(f"{d}.on", WORK_DELIVER)
        self.kept(f"{d}.bits", WORK_BITS)
        self.say(f"""
            %{d}.mine = and i64 %{d}.on, {_mask([what.number])}
            %{d}.from = and i64 %{d}.bits, {_mask(what.nodes)}
            %{d}.off = icmp eq i64 %{d}.mine, 0
            %{d}.none = icmp eq i64 %{d}.from, 0
            %{d}.not = or i1 %{d}.off, %{d}.none
            br i1 %{d}.not, label %deliver{at + 1}, label %{d}.yes""")
        self.block(f"{d}.yes")
        self.lines += ir.or_verdict(f"{d}.verdict", word, str(_mask([bit])))
        self._result(d, what)
        self.say(f"br label %deliver{at + 1}")

    def _result(self, d: str, what: Delivery) -> None:
        said = what.result
        result = str(ir.signed(said.always))
        if len(what.nodes) > 1:
            result = self._bits(d, what)
        elif not said.always:
            base, offset = "%scratch", layout.SCRATCH_RESULTS + 4 * said.column
            if said.number:
                base, offset = "%work", WORK_RESULTS + 4 * said.number
            self.say(f"""
                %{d}.said.p = getelementptr i8, ptr {base}, i64 {offset}
                %{d}.said = load volatile i32, ptr %{d}.said.p, align 4""")
            result = f"%{d}.said"
        self.say(f"""
            %{d}.result.p = getelementptr i8, ptr %scratch, i64 {layout.SCRATCH_RESULTS + 4 * what.column}
            store volatile i32 {result}, ptr %{d}.result.p, align 4""")

    def _bits(self, d: str, what: Delivery) -> str:
        so_far = "0"
        for j, number in enumerate(what.nodes):
            self.say(f"""
                %{d}.at{j} = lshr i64 %{d}.bits, {number}
                %{d}.one{j} = and i64 %{d}.at{j}, 1
                %{d}.put{j} = shl i64 %{d}.one{j}, {j}
                %{d}.sum{j} = or i64 {so_far}, %{d}.put{j}""")
            so_far = f"%{d}.sum{j}"
        self.say(f"%{d}.which = trunc i64 {so_far} to i32")
        return f"%{d}.which"


def body(nodes: Sequence[Running], deliveries: Sequence[Delivery], states_fd: int, link: int) -> Body:
    """link: FFPF_NODE_* of node_layout.h."""
    program = _Program(states_fd, link)
    program.begin()
    asking = [node.number for node in nodes if node.lowered.headers]
    for at, node in enumerate(nodes):
        label = f"node{at}"
        if asking and node.number == asking[0]:
            program.headers(at, asking)
            label += ".go"
        program.node(at, node, label)
    program.block(f"node{len(nodes)}")
    program.say("br label %deliver0")
    for at, delivery in enumerate(deliveries):
        program.delivery(at, delivery)
    program.block(f"deliver{len(deliveries)}")
    program.say("br label %done")
    return Body(program.lines, sorted(program.declarations), program.functions)
