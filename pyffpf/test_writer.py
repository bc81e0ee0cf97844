# SPDX-License-Identifier: BSD-3-Clause
"""What is written is read back: by us, by dpkt and by scapy."""

from __future__ import annotations

import io
from pathlib import Path

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.utils import RawPcapNgReader

import pyffpf

# until 2038: later seconds are read as negative from a pcap file of this machine's byte order, as libpcap does
PACKETS = st.lists(
    st.tuples(st.binary(max_size=80), st.integers(0, 2**31 * 10**9 - 1), st.integers(0, 100)), max_size=20
)


@settings(deadline=None, print_blob=True, max_examples=100)
@given(packets=PACKETS, link_type=st.sampled_from([1, 12, 113]), format=st.sampled_from(["pcap", "pcapng"]))
def test_what_is_written_is_read(packets: list[tuple[bytes, int, int]], link_type: int, format: str) -> None:
    file = io.BytesIO()
    with pyffpf.Writer(file, link_type, format=format) as writer:
        for data, ts_ns, more in packets:
            writer.write(data, ts_ns, len(data) + more)
    assert writer.packets == len(packets)
    with pyffpf.open(file.getvalue()) as capture:
        found = [(p.data, p.ts_ns, p.len - p.caplen) for p in capture]
        assert capture.link_type == link_type
    assert found == packets
    again = io.BytesIO()
    with pyffpf.open(file.getvalue()) as capture, pyffpf.Writer(again, link_type, format="pcapng") as writer:
        for batch in capture.batches():
            writer.write_batch(batch)
    with pyffpf.open(again.getvalue()) as capture:
        assert [(p.data, p.ts_ns, p.len - p.caplen) for p in capture] == packets


def test_others_read_it_too(tmp_path: Path) -> None:
    packets = [(bytes([i]) * (60 + i), 1_700_000_000_000_000_000 + i * 1001) for i in range(30)]
    for name in ("us.pcap", "ns.pcap", "ng.pcapng"):
        with pyffpf.Writer(tmp_path / name, format=name.split(".")[1], nanoseconds=name != "us.pcap") as writer:
            for data, ts_ns in packets:
                writer.write(data, ts_ns)
    for name in ("us.pcap", "ns.pcap"):
        with (tmp_path / name).open("rb") as file:
            assert [data for _, data in dpkt.pcap.Reader(file)] == [data for data, _ in packets]
    with pyffpf.open(tmp_path / "us.pcap") as capture:
        assert [packet.ts_ns for packet in capture] == [ts // 1000 * 1000 for _, ts in packets]
    reader = RawPcapNgReader(str(tmp_path / "ng.pcapng"))
    read = [(data, (getattr(meta, "tshigh") << 32) + getattr(meta, "tslow")) for data, meta in reader]  # noqa: B009
    reader.close()
    assert read == packets


def test_what_cannot_be_written() -> None:
    file = io.BytesIO()
    with pytest.raises(ValueError, match="format"):
        pyffpf.Writer(file, format="erf")
    with pyffpf.Writer(file, 12) as writer:
        with pytest.raises(ValueError, match="time"):
            writer.write(b"x", -1)
        other = io.BytesIO()
        pyffpf.Writer(other, 1).write(b"x" * 60, 1)
        with pyffpf.open(other.getvalue()) as capture, pytest.raises(ValueError, match="link type"):
            writer.write_batch(capture)
    assert not file.closed
