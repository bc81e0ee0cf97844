# SPDX-License-Identifier: BSD-3-Clause
"""Fields as columns against what dpkt and scapy make of the same octets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dpkt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet as ScapyPacket
from scapy.packet import Raw

import pyffpf
from compat_tests.capture_files import LINKTYPE_ETHERNET, PcapFormat, Record
from compat_tests.capture_imix import write_imix

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "captures"
TRANSPORTS = {"tcp": TCP, "udp": UDP}


def columns_of(packets: list[bytes], names: list[str], link_type: int = LINKTYPE_ETHERNET) -> list[dict[str, Any]]:
    """The fields of each packet, those that it lacks left out; read twice, as a batch and as a stream of columns."""
    octets = PcapFormat(link_type=link_type).file([Record(packet) for packet in packets])
    with pyffpf.open(octets) as capture:
        batch = capture.read_batch(len(packets))
        assert batch is not None
        by_batch = batch.fields(*names)
    with pyffpf.open(octets) as capture:
        (streamed,) = capture.columns(*names)
    for name in names:
        assert np.array_equal(by_batch[name].mask, streamed[name].mask)
        assert np.array_equal(by_batch[name].filled(0), streamed[name].filled(0))
    rows: list[dict[str, Any]] = []
    for i in range(len(packets)):
        row = {}
        for name in names:
            value = by_batch[name][i]
            if not np.any(np.ma.getmaskarray(value)):
                row[name] = bytes(value.data) if np.ndim(value) else int(value)
        rows.append(row)
    return rows


def by_dpkt(octets: bytes) -> dict[str, Any]:
    """The same fields by dpkt, of Ethernet frames whose headers are whole."""
    found: dict[str, Any] = {}
    frame = dpkt.ethernet.Ethernet(octets)
    found["eth.dst"], found["eth.src"] = (int.from_bytes(mac, "big") for mac in (frame.dst, frame.src))
    if frame.type >= 0x600:
        found["eth.type"] = frame.type
    ip = frame.data
    if isinstance(ip, dpkt.arp.ARP):
        found.update({"arp.op": ip.op, "arp.spa": int.from_bytes(ip.spa, "big")})
    if isinstance(ip, dpkt.ip.IP):
        found.update({
            "ip.src": int.from_bytes(ip.src, "big"), "ip.dst": int.from_bytes(ip.dst, "big"), "ip.proto": ip.p,
            "ip.ttl": ip.ttl, "ip.len": ip.len, "ip.id": ip.id, "ip.tos": ip.tos, "ip.df": int(ip.df),
            "ip.mf": int(ip.mf), "ip.frag": ip.offset // 8, "l4.proto": ip.p,
        })  # fmt: skip
    transport = ip.data if isinstance(ip, dpkt.ip.IP) and not ip.offset else None
    if isinstance(transport, dpkt.tcp.TCP):
        found.update({
            "tcp.sport": transport.sport, "tcp.dport": transport.dport, "tcp.seq": transport.seq,
            "tcp.ack": transport.ack, "tcp.flags": transport.flags, "tcp.window": transport.win,
            "tcp.hlen": transport.off, "l4.payload_len": len(transport.data),
        })  # fmt: skip
    if isinstance(transport, dpkt.udp.UDP):
        found.update({"udp.sport": transport.sport, "udp.dport": transport.dport, "udp.len": transport.ulen,
                      "l4.payload_len": len(transport.data)})  # fmt: skip
    if isinstance(transport, dpkt.icmp.ICMP):
        found.update({"icmp.type": transport.type, "icmp.code": transport.code})
    return found


DPKT_FIELDS = [
    "eth.dst", "eth.src", "eth.type", "arp.op", "arp.spa", "ip.src", "ip.dst", "ip.proto", "ip.ttl", "ip.len", "ip.id",
    "ip.tos", "ip.df", "ip.mf", "ip.frag", "l4.proto", "tcp.sport", "tcp.dport", "tcp.seq", "tcp.ack", "tcp.flags",
    "tcp.window", "tcp.hlen", "udp.sport", "udp.dport", "udp.len", "icmp.type", "icmp.code", "l4.payload_len",
]  # fmt: skip


def test_a_mixed_capture_has_the_fields_that_dpkt_finds(tmp_path: Path) -> None:
    path = tmp_path / "imix.pcap"
    write_imix(path, 2000, seed=3)
    with path.open("rb") as file:
        packets = [octets for _, octets in dpkt.pcap.Reader(file)]
    for packet, ours in zip(packets, columns_of(packets, DPKT_FIELDS), strict=True):
        theirs = by_dpkt(packet)
        if theirs.get("eth.type") == 0x86DD:
            ours.pop("l4.proto", None)  # dpkt's own idea of IPv6 is compared below, with scapy's
        assert ours == theirs


MACS = st.binary(min_size=6, max_size=6).map(lambda octets: ":".join(f"{octet:02x}" for octet in octets))
PORTS = st.integers(0, 65535)
PAYLOADS = st.binary(max_size=40)


@st.composite
def frames(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """A frame that scapy built, and what was put in it."""
    want: dict[str, Any] = {}
    frame: ScapyPacket = Ether(src=draw(MACS), dst=draw(MACS))
    for i in range(draw(st.integers(0, 3))):
        vlan, prio = draw(st.integers(0, 4095)), draw(st.integers(0, 7))
        frame /= Dot1Q(vlan=vlan, prio=prio)
        if i == 0:
            want.update({"vlan.id": vlan, "vlan.prio": prio})
    fragment = draw(st.sampled_from([0, 0, 0, 3]))
    if draw(st.booleans()):
        source, ttl = draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 255))
        options = draw(st.binary(max_size=10))
        name = ".".join(map(str, source.to_bytes(4, "big")))
        frame /= IP(src=name, ttl=ttl, frag=fragment, options=[Raw(options)] if options else [])
        want.update({"ip.src": source, "ip.ttl": ttl, "ip.frag": fragment})
    else:
        source6, hlim = draw(st.binary(min_size=16, max_size=16)), draw(st.integers(0, 255))
        name = ":".join(source6[i : i + 2].hex() for i in range(0, 16, 2))
        frame /= IPv6(src=name, hlim=hlim, fl=draw(st.integers(0, 2**20 - 1)))
        want.update({"ip6.src": source6, "ip6.hlim": hlim, "ip6.flow": frame[IPv6].fl})
        headers = [IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt, IPv6ExtHdrRouting]
        for header in draw(st.lists(st.sampled_from(headers), max_size=3)):
            frame /= header()
        if fragment:
            frame /= IPv6ExtHdrFragment(offset=fragment)
    kind = draw(st.sampled_from(sorted(TRANSPORTS)))
    sport, dport, payload = draw(PORTS), draw(PORTS), draw(PAYLOADS)
    frame /= TRANSPORTS[kind](sport=sport, dport=dport)
    frame /= Raw(payload)
    want["l4.proto"] = 6 if kind == "tcp" else 17
    if not fragment:
        want.update({f"{kind}.sport": sport, f"{kind}.dport": dport, "l4.sport": sport, "l4.dport": dport,
                     "l4.payload_len": len(payload)})  # fmt: skip
    # what lies behind the length that IP says is the link layer's
    return bytes(frame) + draw(st.sampled_from([b"", b"\x55" * 6])), want


SCAPY_FIELDS = [
    "vlan.id", "vlan.prio", "ip.src", "ip.ttl", "ip.frag", "ip6.src", "ip6.hlim", "ip6.flow", "l4.proto", "l4.sport",
    "l4.dport", "tcp.sport", "tcp.dport", "udp.sport", "udp.dport", "l4.payload_len",
]  # fmt: skip


@settings(deadline=None, print_blob=True, max_examples=150)
@given(built=st.lists(frames(), min_size=1, max_size=4))
def test_what_scapy_builds_is_found(built: list[tuple[bytes, dict[str, Any]]]) -> None:
    found = columns_of([octets for octets, _ in built], SCAPY_FIELDS)
    assert found == [want for _, want in built]


@settings(deadline=None, print_blob=True, max_examples=150)
@given(built=frames(), cut=st.integers(0, 200))
def test_what_is_cut_off_is_lacked_and_nothing_else_changes(built: tuple[bytes, dict[str, Any]], cut: int) -> None:
    octets, want = built
    (ours,) = columns_of([octets[:cut]], SCAPY_FIELDS)
    ours.pop("l4.payload_len", None)
    assert all(want[name] == value for name, value in ours.items())


@settings(deadline=None, print_blob=True, max_examples=200)
@given(octets=st.binary(max_size=120), link_type=st.sampled_from([0, 1, 101, 108, 113, 276, 228, 229, 105]))
def test_any_octets_have_fields_or_not(octets: bytes, link_type: int) -> None:
    (found,) = columns_of([octets], list(pyffpf.field_names()), link_type)
    assert found["frame.caplen"] == len(octets)
    for name in ("l4.payload_offset", "l4.payload_len"):
        assert found.get(name, 0) <= len(octets)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared captures are not there")
def test_captures_of_the_world_agree_with_dpkt() -> None:
    compared = 0
    for path in sorted(SHARED.glob("*.pcap")):
        try:
            with pyffpf.open(path) as capture:
                if capture.link_type != 1:
                    continue
                packets = [packet.data for batch in capture.batches() for packet in batch]
        except pyffpf.BadFile:
            continue
        names = ["ip.src", "ip.dst", "ip.proto", "tcp.sport", "tcp.dport", "udp.sport", "udp.dport"]
        for packet, ours in zip(packets, columns_of(packets, names) if packets else [], strict=True):
            try:
                theirs = by_dpkt(packet)
            except (dpkt.UnpackError, ValueError, IndexError):
                continue
            if packet[12:14] != b"\x08\0" or packet[14] >> 4 != 4:
                continue  # dpkt takes any octets for IP, whatever version they say
            compared += 1
            if "tcp.sport" in theirs or "udp.sport" in theirs or len(packet) == theirs.get("ip.len", 0) + 14:
                assert {name: theirs[name] for name in names if name in theirs} == ours, path
    assert compared > 300


def test_unknown_names_are_told() -> None:
    with pyffpf.open(PcapFormat().file([Record(b"x" * 60)])) as capture:
        batch = capture.read_batch()
        assert batch is not None
        with pytest.raises(KeyError, match=r"tcp\.dport"):
            batch.fields("tcp.port")
        assert batch.select(np.array([True])).fields("frame.len")["frame.len"].tolist() == [60]
        with pytest.raises(ValueError, match="at least one"):
            batch.headers(0)
