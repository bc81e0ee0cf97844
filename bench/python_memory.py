# SPDX-License-Identifier: BSD-3-Clause
"""A PBuf that is full: a lane of this process, as a capture. Packets of 60 octets, an eighth of them to port 80."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyffpf._core import ffi, lib

from compat_tests.capture_packets import ethernet, tcp4
from pyffpf.capture import Capture
from pyffpf.errors import check, new_error
from pyffpf.sources import Opened

PBUF_BYTES = 128 << 20
SLOTS = 1 << 20
KINDS = 64


@contextmanager
def filled(packets: int) -> Iterator[Capture]:
    """A capture that gives so many packets and ends; they were stored before it is handed over."""
    error = new_error()
    hook, flow, reader = (ffi.new(f"struct ffpf_{kind} **") for kind in ("hook", "flow", "reader"))
    config = {"pbuf_bytes": PBUF_BYTES, "bms": lib.FFPF_BMS_SRP, "link_type": 1, "vlan_offset": -1,
              "publish_batch": 32}  # fmt: skip
    check(lib.ffpf_hook_create(hook, ffi.new("struct ffpf_hook_config *", config), error), error)
    check(lib.ffpf_flow_create(flow, ffi.new("struct ffpf_flow_config *", {"ibuf_slots": SLOTS}), error), error)
    check(lib.ffpf_hook_attach(hook[0], flow[0], error), error)
    wanted = ffi.new("struct ffpf_lanes_config *", {"snap_len": 65535, "want": 1, "tick": lib.FFPF_TICK_NS})
    check(lib.ffpf_lanes_open_flow(reader, flow[0], wanted, error), error)
    frames: list[Any] = [
        ffi.from_buffer(ethernet(tcp4(b"", src=f"10.0.0.{i + 1}", dport=80 + i % 8))) for i in range(KINDS)
    ]
    packet = ffi.new("struct ffpf_hook_packet *")
    for i in range(packets):
        packet.data = frames[i % KINDS]
        packet.cap_len = packet.wire_len = len(frames[i % KINDS])
        lib.ffpf_hook_handle_packet(hook[0], packet)
    lib.ffpf_hook_flush(hook[0])
    lib.ffpf_hook_close(hook[0])
    with Capture(Opened(reader[0], "memory", "embedded", lib.FFPF_FORM_LIVE, live=False)) as capture:
        yield capture
    check(lib.ffpf_hook_detach(hook[0], flow[0], error), error)
    lib.ffpf_flow_destroy(flow[0])
    lib.ffpf_hook_destroy(hook[0])
