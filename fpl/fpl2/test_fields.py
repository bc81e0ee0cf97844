# SPDX-License-Identifier: BSD-3-Clause
"""Names of fields: what each says of packets made by hand, by reference and native code; and what is in tunnels."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpl.fpl2 import check, compile_native
from fpl.fpl2.found import FOUND, parts
from fpl.fpl2.packets import (
    dns,
    ethernet,
    geneve,
    gre,
    icmp,
    ip4,
    ip6,
    mpls,
    pppoe,
    sctp,
    tcp,
    udp,
    vxlan,
)
from fpl.fpl2.prologue import prologue
from fpl.fpl2.reference import Machine
from fpl.fpl2.scope import standard
from fpl.fpl2.testing import Native

IP6 = 0x86DD
SYN_OPTIONS = bytes.fromhex("020405b4 0402 080a 00000064 000000c8 01 030307".replace(" ", ""))
QUERY = dns(0xABCD, 0x0120, "www.example.org", 28)
ANSWER = dns(0xABCD, 0x8583, "a.b", 1, answers=2)
SYN = ethernet(ip4(6, tcp(40000, 443, flags=0xC2, options=SYN_OPTIONS)))
TAGGED = ethernet(ip4(17, udp(5, 6, b"hello")), 0x0800, ((0x88A8, 0xF064), (0x8100, 0x6007)))
ARP = ethernet(struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + bytes(range(20)), 0x0806)
WEB = ip4(6, tcp(1111, 80, b"GET /"), src=b"\x0a\x63\0\1")
WEB6 = ip6(17, udp(7, 8))
FRAME = ethernet(WEB, 0x0800, ((0x8100, 5),))


def value(text: str, packet: bytes, link: str = "ethernet") -> int:
    """What the reference says, which native code has to say too."""
    checked = check(f"RETURN {text};", link=link)
    expected = Machine(packet, {}, bytearray()).run(checked.program)
    assert Native(compile_native(checked).octets).run(packet, {}, bytearray()) == expected, text
    return expected


# packet, the text of what is to be true of it
TRUE_OF = [
    (SYN, "ETH_DST == 02:00:00:00:00:01 && ETH_SRC == 02:00:00:00:00:02 && ETH_TYPE == TYPE_IP && !ETH_MULTICAST"),
    (SYN, "TCP_MSS == 1460 && TCP_SCALE == 7 && TCP_SACK_OK && TCP_TIME == 100 && TCP_TIME_ECHO == 200"),
    (SYN, "TCP_SYN && TCP_ECE && TCP_CWR && !TCP_ACK && !TCP_FIN && !TCP_URG && TCP_OFFSET == 10 && TCP_SEQ == 1"),
    (SYN, "PAYLOAD_LEN == 0 && L5 == LEN && IP_SRC == 10.0.0.1 && SRC == 10.0.0.1 && DST == ::ffff:10.0.0.2"),
    (SYN, "IP_VERSION == 4 && IP_TTL == 64 && IP_ID == 7 && IP_LEN == 60 && !IS_FRAGMENT && SPORT == 40000"),
    (ethernet(ip4(6, tcp(1, 2))), "!TCP_MSS && !TCP_SACK_OK && !TCP_TIME"),
    (ethernet(ip4(6, tcp(1, 2, options=b"\0" + SYN_OPTIONS[:4] + b"\0\0\0"))), "TCP_MSS == 0"),  # behind the end
    (ethernet(ip4(6, tcp(1, 2, options=b"\2\0\2\4"))), "TCP_MSS == 0"),  # a length that leads nowhere
    (ethernet(ip4(6, tcp(1, 2, options=b"\1\1\1\3"))), "TCP_SCALE == 0"),  # beyond its end
    (TAGGED, "IS_VLAN && IS_QINQ && VLAN_ID == 0x64 && VLAN_PCP == 7 && VLAN_DEI && VLAN_INNER_ID == 7"),
    (TAGGED, "VLAN_INNER_PCP == 3 && UDP_DPORT == 6 && PAYLOAD CONTAINS \"ell\" && VLAN_ID IN {5, 99..101}"),
    (SYN, "!IS_VLAN && !VLAN_ID && !VLAN_INNER_ID"),
    (ARP, "IS_ARP && ARP_OP == 2 && ARP_SENDER_MAC == 00:01:02:03:04:05 && ARP_SENDER == 6.7.8.9"),
    (ARP, "ARP_TARGET_MAC == 0a:0b:0c:0d:0e:0f && ARP_TARGET == 16.17.18.19 && !IS_IP && SRC == ::"),
    (ethernet(ip4(17, udp(1, 2), options=b"\x94\4\0\0\x07\4\4\0")),
     "IP_OPTION_ALERT && IP_OPTION_RECORD && IP_IHL == 7"),
    (ethernet(ip4(17, udp(1, 2), options=b"\1\x44\3\0")), "IP_OPTION_TIME && !IP_OPTION_LOOSE && UDP_DPORT == 2"),
    (ethernet(ip4(17, udp(1, 2), options=b"\0\x94\4\0")), "!IP_OPTION_ALERT"),
    (ethernet(ip4(17, b"x" * 9, fragment=0x2001)), "IS_FRAGMENT && IP_MF && IP_FRAG == 1 && !IS_UDP && PROTO == 17"),
    (ethernet(WEB6, IP6), "IP6_SRC == 1:203:405:607:809:a0b:c0d:e0f && SRC == IP6_SRC && IP6_FLOW == 0x12345"),
    (ethernet(WEB6, IP6),
     "IP6_DST IN {1011::/16} && DST IN {10.0.0.0/8, 1011::/16} && IP6_HOPS == 64 && UDP_SPORT == 7"),
    (ethernet(ip6(0, b"\x2b\0" + bytes(6) + b"\x3c\0" + bytes(6) + b"\x06\0" + bytes(6) + tcp(1, 443)), IP6),
     "IP6_HAS_HOPBYHOP && IP6_HAS_ROUTING && IP6_HAS_OPTIONS && !IP6_HAS_AH && TCP_DPORT == 443 && IP6_NEXT == 0"),
    (ethernet(ip6(51, b"\x11\4" + bytes(22) + udp(5, 6)), IP6), "IP6_HAS_AH && UDP_DPORT == 6"),
    (ethernet(ip6(44, b"\x11\0\0\x09\0\0\0\5" + udp(5, 6)), IP6),
     "IP6_HAS_FRAGMENT && IS_FRAGMENT && IP6_FRAG == 1 && IP6_MF && IP6_ID == 5 && !IS_UDP"),
    (ethernet(ip6(44, b"\x11\0\0\x01\0\0\0\5" + udp(5, 6)), IP6), "IS_FRAGMENT && IP6_FRAG == 0 && UDP_DPORT == 6"),
    (ethernet(ip4(1, icmp(8))), "ICMP_TYPE == ICMP_ECHO && ICMP_ID == 7 && ICMP_SEQ == 1 && PAYLOAD_LEN == 0"),
    (ethernet(ip4(1, icmp(3, 4))), "ICMP_TYPE == ICMP_UNREACHABLE && ICMP_CODE == 4 && !ICMP_ID"),
    (ethernet(ip6(58, icmp(128)), IP6), "ICMP6_TYPE == ICMP6_ECHO && ICMP6_ID == 7 && ICMP6_SEQ == 1 && !IS_ICMP"),
    (ethernet(ip6(58, icmp(135, 0, bytes(4) + b"\xfe\x80" + bytes(13) + b"\1")), IP6), "ND_TARGET == fe80::1"),
    (ethernet(ip4(132, sctp(2905, 2906, b"\1\2\0\x14" + bytes(16)))),
     "SCTP_SPORT == 2905 && DPORT == 2906 && SCTP_CHUNK == SCTP_INIT && SCTP_CHUNK_FLAGS == 2 && SCTP_CHUNK_LEN == 20"),
    (ethernet(ip4(132, sctp(1, 2, b"\1\2\0\x14"))),
     "SCTP_TAG == 0x01020304 && SCTP_SUM == 0x05060708 && PAYLOAD_LEN == 4"),
    (ethernet(ip4(17, udp(4000, 53, QUERY))),
     "IS_DNS && DNS_ID == 0xabcd && !DNS_QR && DNS_RD && DNS_AD && DNS_QUESTIONS == 1"),
    (ethernet(ip4(17, udp(4000, 53, QUERY))),
     "DNS_QTYPE == DNS_AAAA && DNS_QCLASS == 1 && DNS_OPCODE == 0 && !DNS_ANSWERS"),
    (ethernet(ip4(17, udp(4000, 53, QUERY))),
     'DNS_NAME STARTS WITH "\\x03WWW\\x07example"i && DNS_NAME CONTAINS "org"'),
    (ethernet(ip4(17, udp(53, 4000, ANSWER))),
     "DNS_QR && DNS_AA && DNS_RCODE == 3 && DNS_ANSWERS == 2 && DNS_QTYPE == DNS_A"),
    (ethernet(ip4(17, udp(53, 4000, ANSWER))), "DNS_RA && !DNS_TC && !DNS_AUTHORITIES && !DNS_ADDITIONALS && !DNS_CD"),
    (ethernet(ip4(6, tcp(4000, 53, struct.pack("!H", len(QUERY)) + QUERY))), "DNS_ID == 0xabcd && DNS_QTYPE == 28"),
    (ethernet(ip4(6, tcp(4000, 53))), "!IS_DNS && !DNS_QTYPE"),
    (ethernet(ip6(17, udp(5353, 5353, QUERY)), IP6), "DNS_QTYPE == 28"),
    (ethernet(ip4(17, udp(4000, 53, QUERY[:12] + b"\xc0\x0c\0\x10\0\1"))), "DNS_QTYPE == DNS_TXT"),
    (ethernet(ip4(17, udp(4000, 53, QUERY[:12] + b"\x40\x0c\0\x10\0\1"))), "IS_DNS && !DNS_QTYPE"),
    (ethernet(ip4(17, udp(4000, 54, QUERY))), "!IS_DNS && !DNS_ID"),
    # tunnels
    (ethernet(ip4(17, vxlan(42, FRAME))),
     "IS_VXLAN && VXLAN_VNI == 42 && IS_TUNNEL && UDP_DPORT == 4789 && IP_SRC == 10.0.0.1"),
    (ethernet(ip4(17, vxlan(42, FRAME))),
     "INNER.TCP_DPORT == 80 && INNER.IP_SRC == 10.99.0.1 && INNER.VLAN_ID == 5 && !VLAN_ID"),
    (ethernet(ip4(17, vxlan(42, FRAME))),
     'PKT.INNER.SPORT == 1111 && INNER.ETH_SRC == 02:00:00:00:00:02 && INNER.PAYLOAD STARTS WITH "GET"'),
    (ethernet(ip4(17, vxlan(42, FRAME, dport=8472))), "INNER.DPORT == 80 && TCP_DPORT == 0"),
    (ethernet(ip4(17, vxlan(42, FRAME, dport=8473))), "INNER.DPORT == 0 && !IS_TUNNEL && !INNER.IS_IP"),
    (ethernet(ip6(17, geneve(7, 0x6558, FRAME, options=bytes(8))), IP6),
     "GENEVE_VNI == 7 && INNER.TCP_DPORT == 80 && IS_GENEVE"),
    (ethernet(ip4(17, geneve(7, IP6, WEB6))), "GENEVE_PROTO == TYPE_IP6 && INNER.UDP_DPORT == 8 && !INNER.ETHERNET"),
    (ethernet(ip4(47, gre(0x0800, WEB))),
     "IS_GRE && GRE_PROTO == TYPE_IP && INNER.DPORT == 80 && !GRE_KEY && !INNER.ETH_SRC"),
    (ethernet(ip4(47, gre(0x6558, FRAME, flags=0xB000, options=bytes(4) + b"\0\0\0\x63" + bytes(4)))),
     "GRE_HAS_KEY && GRE_KEY == 99 && INNER.DPORT == 80 && INNER.VLAN_TAGS == 1"),
    (ethernet(ip4(47, gre(0x0800, WEB, flags=0x4000))), "!INNER.DPORT"),  # routing, which no more is
    (ethernet(ip4(4, WEB)), "IS_IPIP && INNER.IP_SRC == 10.99.0.1 && INNER.TCP_DPORT == 80"),
    (ethernet(ip4(41, WEB6)), "IS_IPIP && INNER.UDP_DPORT == 8 && INNER.IP6_SRC IN {1:203::/32} && !IP6_SRC_LOW"),
    (ethernet(ip6(4, WEB), IP6), "INNER.IP_SRC == 10.99.0.1 && !INNER.IS_IP6 && IS_IP6"),
    (ethernet(ip6(41, WEB6), IP6), "INNER.UDP_DPORT == 8 && INNER.SRC == SRC"),
    (ethernet(mpls([100, 200], WEB), 0x8847), "IS_MPLS && MPLS_LABEL == 100 && !MPLS_BOTTOM && INNER.TCP_DPORT == 80"),
    (ethernet(mpls([9], WEB6), 0x8848), "MPLS_BOTTOM && MPLS_TTL == 64 && MPLS_TC == 0 && INNER.UDP_DPORT == 8"),
    (ethernet(mpls([9], bytes(4) + FRAME), 0x8847), "INNER.ETHERNET && INNER.TCP_DPORT == 80"),  # a pseudowire
    (ethernet(mpls([1] * 9, WEB), 0x8847), "IS_MPLS && !IS_TUNNEL"),  # one more than are looked at
    (ethernet(pppoe(3, 0x21, WEB), 0x8864),
     "IS_PPPOE && PPPOE_SESSION == 3 && PPPOE_PROTO == 0x21 && INNER.DPORT == 80"),
    (ethernet(pppoe(3, 0x57, WEB6), 0x8864), "INNER.IS_IP6 && INNER.DPORT == 8"),
    (ethernet(pppoe(3, 0xC021, WEB6), 0x8864), "IS_PPPOE && !IS_TUNNEL"),
    (ethernet(ip4(17, vxlan(42, ethernet(ip4(47, gre(0x0800, WEB)))))),
     "INNER.IS_GRE && INNER.INNER.TCP_DPORT == 80 && INNER.INNER.PAYLOAD CONTAINS \"ET /\" && INNER.IS_IP"),
    (ethernet(ip4(4, ip4(4, ip4(4, WEB)))), "INNER.INNER.IS_IPIP && INNER.INNER.IP_SRC == 10.0.0.1"),
]  # fmt: skip


@pytest.mark.parametrize(("packet", "text"), TRUE_OF, ids=[text[:50] for _, text in TRUE_OF])
def test_what_names_say(packet: bytes, text: str) -> None:
    """Each of its terms alone by the reference, so that what is wrong is named, and all in one program."""
    for term in text.split(" && "):
        assert Machine(packet, {}, bytearray()).run(check(f"RETURN {term};").program), term
    assert value(text, packet)


def test_inner_names_change_nothing_for_the_terms_behind_them() -> None:
    packet = ethernet(ip4(17, vxlan(42, FRAME)))
    assert value("INNER.TCP_DPORT == 80 && UDP_DPORT == 4789 && INNER.VLAN_ID == 5 && IP_SRC == 10.0.0.1", packet)
    assert value("UDP_DPORT == 4789 && IP_SRC == 10.0.0.1 && INNER.VLAN_ID == 5 && INNER.TCP_DPORT == 80", packet)


def test_what_is_not_there_reads_0() -> None:
    """Every name of a field, of a packet without any of their headers."""
    plain = [name for name in standard().names() if not value_is_constant(name)]
    assert len(plain) > 120
    packet = ethernet(bytes(100), 0x88B5)
    checked = {name: check(f"RETURN {name} {'== ::' if is_wide(name) else ''};").program for name in plain}
    for name, program in checked.items():
        expected = int(is_wide(name)) if not name.startswith("ETH_") else None
        result = Machine(packet, {}, bytearray()).run(program)
        assert expected is None or result == expected, name


def is_wide(name: str) -> bool:
    return name in ("IP6_SRC", "IP6_DST", "SRC", "DST", "ND_TARGET")


def value_is_constant(name: str) -> bool:
    macro = standard().lookup(name)[0]
    assert macro is not None
    return type(macro.value).__name__ == "Number" and macro.test is None


@pytest.mark.parametrize("link", ["raw", "sll", "sll2"])
def test_tunnels_behind_other_link_headers(link: str) -> None:
    head = {"raw": b"", "sll": bytes(14) + b"\x08\0", "sll2": b"\x08\0" + bytes(18)}[link]
    assert value(
        "INNER.TCP_DPORT == 80 && INNER.ETHERNET && !ETHERNET && !ETH_SRC", head + ip4(17, vxlan(42, FRAME)), link
    )


ALL = ("L3 + L4 + L5 + VLAN_TAGS + DNS_ASKED + OPTION_MSS + IP_OPTIONS + EXTENSIONS + INNER.L4 + INNER.DNS_ASKED + "
       "INNER.OPTION_TIMES + INNER.INNER.L5 + INNER.INNER.DNS_ASKED")  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([packet for packet, _ in TRUE_OF]), st.data())
def test_cut_and_damaged_packets(packet: bytes, data: st.DataObject) -> None:
    """Whatever they say, it is found alike, and within what was captured."""
    octets = bytearray(packet[: data.draw(st.integers(0, len(packet)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if octets:
            octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    expected = Machine(bytes(octets), {}, bytearray()).run(_EVERYTHING.program)
    assert _NATIVE.run(bytes(octets), {}, bytearray()) == expected


_EVERYTHING = check(f"RETURN {ALL};")
_NATIVE = Native(compile_native(_EVERYTHING).octets)


def test_only_what_is_needed_stands_before_a_program() -> None:
    """By what each name's program writes."""

    def files(text: str) -> list[str]:
        checked = check(f"RETURN {text};")
        return [part.file.removeprefix("prologue_").removesuffix(".fpl") for bank, part in parts("ethernet")
                if prologue({(bank + part.inner, part.finds[-1])}, "ethernet")[-1] in checked.program]  # fmt: skip

    assert check("RETURN PKT.B[12] + LEN + R[1];").program[:-1] == []
    assert files("ETH_TYPE") == ["ethernet"]
    assert files("IP_PROTO") == ["ethernet"]
    assert files("TCP_DPORT") == ["ethernet", "ip"]
    assert files("TCP_MSS") == ["ethernet", "ip", "tcp_options"]
    assert files("DNS_QTYPE") == ["ethernet", "ip", "payload", "dns", "dns_question"]
    assert files("INNER.TCP_DPORT") == ["ethernet", "ip", "tunnel", "ethernet", "ip"]


def test_every_name_that_is_found_is_found_by_a_part() -> None:
    found = {name for _, part in parts("ethernet") for name in part.finds}
    assert found == set(FOUND)
