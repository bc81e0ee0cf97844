# SPDX-License-Identifier: BSD-3-Clause
"""Where libpcap's language can say what a program says, the verdicts are libpcap's, whatever octets come and wherever
they end: its bpf_filter() on one side, the reference and native code on the other."""

from __future__ import annotations

from functools import lru_cache

import pcap
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpl.fpl2.compile import Checked, check, compile_native
from fpl.fpl2.packets import ethernet, ip4, ip6, tcp, udp
from fpl.fpl2.reference import Machine
from fpl.fpl2.test_back_ends import PACKETS
from fpl.fpl2.testing import Native

ETHERNET = 1  # DLT_EN10MB
TCP4 = "PKT.W[6] == 0x0800 && PKT.B[23] == 6 && (PKT.W[10] & 0x1fff) == 0"
L4 = "14 + (PKT.B[14] & 15) * 4"

# pcap-filter(7), the same by octets. What was not captured turns a packet away in both.
BY_OCTETS = [
    ("ip", "RETURN PKT.W[6] == 0x0800;"),
    ("not arp", "RETURN PKT.W[6] != 0x0806;"),
    ("ether multicast", "RETURN PKT.B[0] & 1;"),
    ("ip proto 17", "RETURN PKT.W[6] == 0x0800 && PKT.B[23] == 17;"),
    ("ip[8] > 63", "RETURN PKT.W[6] == 0x0800 && PKT.B[22] > 63;"),
    ("ip src net 10.0.0.0/8", "RETURN PKT.W[6] == 0x0800 && PKT.U32[26] IN {10.0.0.0/8};"),
    ("ip and ip[2:2] - ((ip[0] & 15) << 2) > 20",
     "RETURN PKT.W[6] == 0x0800 && ((PKT.U16[16] - ((PKT.B[14] & 15) << 2)) & 0xffffffff) > 20;"),
    ("ether[12:2] / 256 = 8", "RETURN PKT.W[6] / 256 == 8;"),
    ("ip and 100 / ip[8] > 1", "RETURN PKT.W[6] == 0x0800 && 100 / PKT.B[22] > 1;"),
    ("len > 60", "RETURN LEN > 60;"),
    ("ip6 and ip6[6] = 17", "RETURN PKT.W[6] == 0x86dd && PKT.B[20] == 17;"),
    ("ip6 src net 2001:db8::/32", "RETURN PKT.W[6] == 0x86dd && PKT.U32[22] == 0x20010db8;"),
    ("tcp[13] & 2 != 0", f"RETURN {TCP4} && PKT.B[{L4} + 13] & 2;"),
    ("tcp[tcpflags] & (tcp-syn|tcp-fin) = tcp-fin", f"RETURN {TCP4} && (PKT.B[{L4} + 13] & 3) == 1;"),
    ("tcp dst port 80", "IF PKT.W[6] == 0x86dd THEN RETURN PKT.B[20] == 6 && PKT.U16[56] == 80; FI"
                        f" RETURN {TCP4} && PKT.U16[{L4} + 2] == 80;"),
]  # fmt: skip

# The same by names. Names look behind tags and extension headers, and take what was not captured for 0; libpcap does
# neither: they agree on whole packets that have none of these.
BY_NAMES = [
    ("tcp port 80", "RETURN PKT.TCP_SPORT == 80 || PKT.TCP_DPORT == 80;"),
    ("udp", "RETURN IS_UDP;"),
    ("host 10.0.0.1 and not arp", "RETURN PKT.IP_SRC == 10.0.0.1 || PKT.IP_DST == 10.0.0.1;"),
    ("ip[6:2] & 0x1fff != 0", "RETURN PKT.IP_FRAG;"),
    ("arp", "RETURN PKT.ARP_OP;"),
    ("tcp[tcpflags] & tcp-push != 0", "RETURN PKT.TCP_FLAGS & 8;"),
]
MORE = [
    ethernet(ip6(17, udp(1, 2), src=bytes.fromhex("20010db8") + bytes(12)), 0x86DD),
    b"\xff" + ethernet(ip4(6, tcp(1, 80, flags=2, options=b"\1" * 8), options=b"\1" * 4))[1:],
    ethernet(ip4(6, tcp(1, 80, flags=17)).replace(b"\x40\x06", b"\x01\x06", 1)),
]
PLAIN = [packet for number, packet in enumerate(PACKETS[:8]) if number not in (3, 4, 5, 6)]


@lru_cache(maxsize=64)
def compiled(program: str) -> tuple[Checked, Native]:
    checked = check(program, mbuf_bytes=0)
    return checked, Native(compile_native(checked).octets)


@lru_cache(maxsize=64)
def stock(text: str) -> pcap.bpf:
    return pcap.bpf(text.encode(), ETHERNET)


def assert_same(text: str, program: str, packet: bytes) -> bool:
    checked, native = compiled(program)
    expected = bool(stock(text).filter(packet))
    assert bool(Machine(packet, {}, bytearray()).run(checked.program)) is expected, packet.hex()
    assert bool(native.run(packet, {}, bytearray())) is expected, packet.hex()
    return expected


@pytest.mark.parametrize(("text", "program"), BY_OCTETS, ids=[text for text, _ in BY_OCTETS])
def test_by_octets_at_every_length(text: str, program: str) -> None:
    verdicts = {
        assert_same(text, program, packet[:end]) for packet in [*PACKETS, *MORE] for end in range(len(packet) + 1)
    }
    assert verdicts == {True, False}


@given(
    case=st.sampled_from(BY_OCTETS),
    packet=st.sampled_from([*PACKETS[:8], *MORE]),
    changes=st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=6),
    end=st.integers(0, 100),
)
def test_by_octets_whatever_they_are(
    case: tuple[str, str], packet: bytes, changes: list[tuple[int, int]], end: int
) -> None:
    octets = bytearray(packet)
    for at, value in changes:
        octets[at % len(octets)] = value
    assert_same(*case, bytes(octets[:end]))


@pytest.mark.parametrize(("text", "program"), BY_NAMES, ids=[text for text, _ in BY_NAMES])
def test_by_names_on_plain_packets(text: str, program: str) -> None:
    assert {assert_same(text, program, packet) for packet in PLAIN} == {True, False}
