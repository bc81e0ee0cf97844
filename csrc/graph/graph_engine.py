# SPDX-License-Identifier: BSD-3-Clause
"""The embedded engine as tests drive it: flows from text, all nodes' counters with their law, packets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyffpf._core import ffi, lib

LAST = lib.FFPF_GRAPH_LAST


def checked(status: int, err: Any) -> None:
    assert status == 0, ffi.string(getattr(err, "error", err).text)


class Engine:
    """An engine; everything is closed when it is collected."""

    def __init__(self, **config: int) -> None:
        self.err = ffi.new("struct ffpf_error *")
        engine = ffi.new("struct ffpf_engine **")
        checked(lib.ffpf_engine_create(engine, ffi.new("struct ffpf_engine_config *", config), self.err), self.err)
        self.engine = ffi.gc(engine[0], lib.ffpf_engine_destroy)

    def hook(self, name: str, link_type: int) -> Any:
        hook = ffi.new("struct ffpf_engine_hook **")
        checked(lib.ffpf_engine_hook_open(hook, self.engine, name.encode(), link_type, self.err), self.err)
        return hook[0]

    def flow(self, text: str, sharing: int = lib.FFPF_GRAPH_SHARE_ALL, *, active: bool = True) -> Any:
        flow, place = ffi.new("struct ffpf_graph_flow **"), ffi.new("struct ffpf_graph_error *")
        checked(lib.ffpf_graph_flow_create(flow, self.engine, ffi.NULL, sharing, self.err), self.err)
        checked(lib.ffpf_graph_flow_populate(flow[0], text.encode(), place), place)
        checked(lib.ffpf_graph_flow_instantiate(flow[0], place), place)
        if active:
            self.activate(flow[0])
        return flow[0]

    def activate(self, flow: Any) -> None:
        checked(lib.ffpf_graph_flow_activate(flow, self.err), self.err)

    def pause(self, flow: Any) -> None:
        checked(lib.ffpf_graph_flow_pause(flow, self.err), self.err)

    def read_begin(self, flow: Any, node: int = LAST) -> None:
        checked(lib.ffpf_graph_read_begin(flow, node, self.err), self.err)

    def counters(self, flow: Any, node: int) -> Any:
        """Checked against their law."""
        counters = ffi.new("struct ffpf_node_counters *")
        checked(lib.ffpf_graph_flow_counters(flow, node, counters, self.err), self.err)
        assert getattr(counters, "in") == counters.out + counters.filtered + sum(counters.dropped)
        return counters

    def word(self, flow: Any, node: int) -> int:
        """The first of the node's MBuf."""
        data, octets = ffi.new("void **"), ffi.new("size_t *")
        checked(lib.ffpf_graph_flow_mbuf(flow, node, data, octets, self.err), self.err)
        return int(ffi.cast("uint64_t *", data[0])[0])

    def read(self, flow: Any, count: int, node: int = LAST, *, wait_ms: int = 5000, at_once: int = 0) -> list[Any]:
        """Up to `count` packets, as (octets, time in ns, result), waiting at most so long for each batch."""
        batch = ffi.new("struct ffpf_graph_batch *")
        found: list[tuple[bytes, int, int]] = []
        while len(found) < count:
            wanted = min(at_once or count, count - len(found))
            outcome = lib.ffpf_graph_getnext_pkt(flow, node, wanted, wait_ms, batch, self.err)
            if outcome != lib.FFPF_BATCH:
                assert outcome != lib.FFPF_FAILED, ffi.string(self.err.text)
                break
            for p in (batch.pkts[i] for i in range(batch.count)):
                octets = bytes(ffi.buffer(p.data, p.cap_len)) if p.cap_len else b""
                found.append((octets, p.ts_sec * 1_000_000_000 + p.ts_frac, p.result))
        return found

    def run(self, packets: int, wait_ms: int) -> int:
        """How many packets came in."""
        came = ffi.new("uint64_t *")
        outcome = lib.ffpf_engine_run(self.engine, packets, wait_ms, came, self.err)
        assert outcome != lib.FFPF_FAILED, ffi.string(self.err.text)
        return int(came[0])

    def hand_over(self, hook: Any, packets: Sequence[tuple[bytes, int, int]]) -> None:
        """Packets: octets, octets on the wire, seconds since 1970."""
        octets = [ffi.from_buffer("uint8_t[]", data) for data, _, _ in packets]
        described = ffi.new("struct ffpf_packet[]", len(packets))
        for p, data, (_, wire_len, seconds) in zip(described, octets, packets, strict=True):
            p.data, p.cap_len, p.wire_len, p.ts_sec = data, len(data), wire_len, seconds
        checked(lib.ffpf_engine_hook_handle_packets(hook, described, len(packets), self.err), self.err)
