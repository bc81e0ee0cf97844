# SPDX-License-Identifier: BSD-3-Clause
"""Random sequences of packets, reads, releases, changed filters and new flows, against a model that says for each step
what is delivered, what is dropped and for which cause. The counters' law is checked after every step."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pyffpf._core import ffi, lib

from lanes.flow_model import CELL, Flow, Hook

KINDS = 4
FLOWS_MAX = 4
LD_B_ABS, JGE, RET = 0x30, 0x35, 0x06


def checked(code: int, error: Any) -> None:
    assert code == 0, ffi.string(error.text).decode()


class Filter:
    """Passes packets whose octet 8 is below limit; all when limit is KINDS."""

    def __init__(self, limit: int) -> None:
        instructions = [(LD_B_ABS, 0, 0, 8), (JGE, 0, 1, limit), (RET, 0, 0, 0), (RET, 0, 0, 77)]
        insns = ffi.new(
            "struct ffpf_bpf_insn[]", [dict(zip(("code", "jt", "jf", "k"), i, strict=True)) for i in instructions]
        )
        out = ffi.new("struct ffpf_bpf_prog **")
        error = ffi.new("struct ffpf_error *")
        checked(lib.ffpf_bpf_prog_create(out, insns, 4, lib.FFPF_BPF_INTERPRETER, error), error)
        self.prog = ffi.gc(out[0], lib.ffpf_bpf_prog_destroy)


FILTERS = [Filter(limit) for limit in range(KINDS + 1)]


class Real:
    """One flow with its reader, for as long as the test runs."""

    def __init__(self, hook: Any, slots: int, limit: int) -> None:
        self.error = ffi.new("struct ffpf_error *")
        self.hook = hook
        out = ffi.new("struct ffpf_flow **")
        config = ffi.new("struct ffpf_flow_config *", {"ibuf_slots": slots, "prog": FILTERS[limit].prog})
        checked(lib.ffpf_flow_create(out, config, self.error), self.error)
        self.flow = out[0]
        checked(lib.ffpf_hook_attach(hook, self.flow, self.error), self.error)
        reader = ffi.new("struct ffpf_reader **")
        lanes = ffi.new("struct ffpf_lanes_config *", {"snap_len": 65536, "want": 1, "nonblock": True})
        checked(lib.ffpf_lanes_open_flow(reader, self.flow, lanes, self.error), self.error)
        self.reader = reader[0]
        self.batch = ffi.new("struct ffpf_batch *")
        self.open = 0  # descriptors not released

    def close(self) -> None:
        self.reader.ops.close(self.reader)
        checked(lib.ffpf_hook_detach(self.hook, self.flow, self.error), self.error)
        lib.ffpf_flow_destroy(self.flow)

    def read(self) -> list[int] | None:
        outcome = self.reader.ops.next(self.reader, self.batch)
        if outcome == lib.FFPF_LAPPED:
            return None
        if outcome == lib.FFPF_WOULD_BLOCK:
            return []
        assert outcome == lib.FFPF_BATCH
        numbers = []
        for i in range(self.batch.count):
            packet = self.batch.pkts[i]
            octets = bytes(ffi.buffer(packet.data, packet.cap_len))
            number = int.from_bytes(octets[:8], "little")
            assert octets == packet_of(number, octets[8], len(octets))
            numbers.append(number)
        self.open = len(numbers)
        return numbers

    def release(self, n: int) -> None:
        self.reader.ops.release(self.reader, n)
        self.open -= n

    def counters(self) -> tuple[Any, Any]:
        writer, reader = ffi.new("struct ffpf_counters *"), ffi.new("struct ffpf_counters *")
        lib.ffpf_flow_counters(self.flow, writer)
        self.reader.ops.counters(self.reader, reader)
        return writer, reader


def packet_of(number: int, kind: int, length: int) -> bytes:
    head = number.to_bytes(8, "little") + bytes([kind])
    return head + bytes((number * 31 + i) & 255 for i in range(length - len(head)))


def same_counters(real: Real, model: Flow) -> None:
    writer, reader = real.counters()
    dropped = model.ibuf_drops + model.pbuf_drops
    assert writer.seen == model.seen
    assert writer.dropped[lib.FFPF_DROP_IBUF] == model.ibuf_drops
    assert writer.dropped[lib.FFPF_DROP_PBUF] == model.pbuf_drops
    assert sum(writer.dropped) == dropped
    assert writer.delivered == len(model.entries)
    assert writer.seen == writer.filtered + writer.delivered + sum(writer.dropped)
    assert reader.delivered == model.delivered
    assert reader.filtered == model.filtered
    assert reader.dropped[lib.FFPF_DROP_LAPPED] == model.lapped
    assert sum(reader.dropped) == dropped + model.lapped
    assert reader.waiting == model.waiting
    assert reader.seen == reader.filtered + reader.delivered + sum(reader.dropped)
    assert reader.seen + reader.waiting + len(model.entries) - model.published == writer.seen


FLOW = st.integers(0, FLOWS_MAX - 1)
STEPS = st.one_of(
    st.tuples(st.just("send"), st.integers(1, 40), st.integers(9, 16), st.integers(0, KINDS - 1)),  # one cell each
    st.tuples(st.just("send"), st.integers(1, 40), st.integers(17, 700), st.integers(0, KINDS - 1)),
    st.tuples(st.just("read"), FLOW, st.floats(0, 1), st.booleans()),
    st.tuples(st.just("read"), FLOW, st.just(1.0), st.booleans()),
    st.tuples(st.just("filter"), FLOW, st.integers(0, KINDS), st.just(0)),
    st.tuples(st.just("attach"), st.integers(1, 8), st.integers(0, KINDS), st.just(0)),
    st.tuples(st.just("flush"), st.just(0), st.just(0), st.just(0)),
)


@settings(deadline=None, print_blob=True, max_examples=300)
@given(
    frp=st.booleans(),
    size_log2=st.integers(3, 8),
    batch=st.sampled_from([1, 3, 32]),
    first=st.tuples(st.integers(1, 8), st.integers(1, KINDS)),
    steps=st.lists(STEPS, min_size=12, max_size=60),
)
def test_flows_do_what_the_model_does(
    frp: bool, size_log2: int, batch: int, first: tuple[int, int], steps: list[tuple[str, Any, Any, Any]]
) -> None:
    size = 1 << size_log2
    settings_of_hook = {
        "pbuf_bytes": size * CELL, "bms": lib.FFPF_BMS_FRP if frp else lib.FFPF_BMS_SRP, "vlan_offset": -1,
        "link_type": 1, "publish_batch": batch,
    }  # fmt: skip
    error = ffi.new("struct ffpf_error *")
    out = ffi.new("struct ffpf_hook **")
    checked(lib.ffpf_hook_create(out, ffi.new("struct ffpf_hook_config *", settings_of_hook), error), error)
    hook, model = out[0], Hook(size, frp, batch)
    reals: list[Real] = []
    number = 0

    def attach(slots_log2: int, limit: int) -> None:
        if len(reals) < FLOWS_MAX:
            reals.append(Real(hook, 1 << slots_log2, limit))
            model.flows.append(Flow(1 << slots_log2, limit))

    try:
        attach(*first)
        for what, a, b, c in steps:
            if what == "send":
                for i in range(a):
                    length = b if b <= 16 else 9 + (b + 97 * i) % 700
                    if -(-(48 + length) // CELL) > size:
                        continue
                    octets = ffi.from_buffer(packet_of(number, (c + i) % KINDS, length))
                    fields = {"data": octets, "cap_len": length, "wire_len": length}
                    packet = ffi.new("struct ffpf_hook_packet *", fields)
                    got = lib.ffpf_hook_handle_packet(hook, packet)
                    assert got == model.send(number, (c + i) % KINDS, length)
                    number += 1
            elif what == "flush":
                lib.ffpf_hook_flush(hook)
                model.publish()
            elif what == "attach":
                attach(a, b)
            else:
                real, flow = reals[a % len(reals)], model.flows[a % len(reals)]
                if what == "filter":
                    checked(real.reader.ops.set_filter(real.reader, FILTERS[b].prog), error)
                    flow.set_limit(b)
                else:
                    numbers = real.read()
                    assert numbers == model.read(flow)
                    n = int(real.open * b) if numbers else 0
                    real.release(n)
                    flow.release(n)
                    if c and numbers and n < len(numbers):
                        real.reader.ops.set_filter(real.reader, FILTERS[(n + 1) % (KINDS + 1)].prog)
                        flow.set_limit((n + 1) % (KINDS + 1))
            for real, flow in zip(reals, model.flows, strict=True):
                same_counters(real, flow)
    finally:
        for real in reals:
            real.close()
        lib.ffpf_hook_destroy(hook)
