# SPDX-License-Identifier: BSD-3-Clause
"""Packets and octets by the values of fields, against numpy over the same columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pyffpf
from compat_tests import capture_packets as packets
from compat_tests.capture_files import PcapFormat, stamped


def test_counts_are_those_of_the_columns(tmp_path: Path) -> None:
    """By one field and by several, against numpy over the columns; ties by value; a limit."""
    frames = [
        packets.ethernet(packets.tcp4(b"x" * (n % 5), src=f"10.0.{n % 3}.{n % 11}", dport=80 + n % 2))
        for n in range(500)
    ] + [packets.ethernet(packets.udp4(b"u"))] * 3  # fmt: skip
    path = tmp_path / "some.pcap"
    path.write_bytes(PcapFormat().file(stamped(frames)))
    with pyffpf.open(path) as capture:
        (columns,) = capture.columns("ip.src", "tcp.dport", "frame.len")
    with pyffpf.open(path) as capture:
        hosts = capture.counts("ip.src", size=7)
    values, times = np.unique(columns["ip.src"].compressed(), return_counts=True)
    order = np.lexsort((values, -times))
    assert hosts["ip.src"].tolist() == values[order].tolist()
    assert hosts["packets"].tolist() == times[order].tolist()
    assert hosts["octets"].sum() == columns["frame.len"].sum()
    with pyffpf.open(path) as capture:
        assert capture.counts("ip.src", most=4).tolist() == hosts[:4].tolist()
    with pyffpf.open(path, "tcp") as capture:
        both = capture.counts("tcp.dport", "ip.src")
    assert both.dtype.names == ("tcp.dport", "ip.src", "packets", "octets")
    assert both["packets"].sum() == 500  # the datagrams have no such port
    for port, host, seen, octets in both.tolist():
        rows = (columns["tcp.dport"] == port).filled(False) & (columns["ip.src"] == host).filled(False)
        assert (seen, octets) == (rows.sum(), columns["frame.len"][rows].sum())


def test_counts_of_addresses_of_16_octets_and_of_nothing() -> None:
    octets = PcapFormat().file(stamped([packets.ethernet(packets.tcp4(b""))]))
    with pyffpf.open(octets) as capture:
        assert capture.counts("ip6.src", "frame.len").shape == (0,)
    wide = ("ip6.src", "ip6.dst", "frame.ts_ns", "eth.src", "eth.dst", "l4.sport", "l4.proto", "arp.spa", "arp.tpa")
    for wrong, error in (((), "one field"), (("ip.src", "ip.src"), "only once"), (wide, "64 at most")):
        with pyffpf.open(octets) as capture, pytest.raises(ValueError, match=error):
            capture.counts(*wrong)
    with pyffpf.open(octets) as capture, pytest.raises(KeyError, match="no field"):
        capture.counts("ip.sauce")
