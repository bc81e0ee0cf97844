# SPDX-License-Identifier: BSD-3-Clause
"""Every back end gives what the reference gives: result and MBuf, on random programs, and on cases written by hand."""

from __future__ import annotations

import random
import struct
import threading

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from fpl.fpl2 import FplError, check, compile_native
from fpl.fpl2.native import TARGETS
from fpl.fpl2.packets import ethernet, ip4, ip6, tcp, udp
from fpl.fpl2.random_programs import Programs
from fpl.fpl2.reference import Machine
from fpl.fpl2.testing import Native

FACTS = {"IFINDEX": 3, "VLAN_TCI": 0x2005, "VLAN_PRESENT": 1, "PKTTYPE": 4}
MBUF = 64


WEB = ethernet(ip4(6, tcp(40000, 80, b"GET / HTTP/1.1\r\n")))
PACKETS = [
    WEB,
    ethernet(ip4(17, udp(53, 1234, bytes.fromhex("abcd8183000100020000000003777777")), options=b"\1\1\1\0")),
    ethernet(ip4(6, b"x" * 30, fragment=0x2001)),
    ethernet(ip6(0, b"\x2b\0" + bytes(6) + b"\x06\0" + bytes(6) + tcp(1, 443)), 0x86DD),
    ethernet(ip6(44, b"\x11\0\0\x00" + bytes(4) + udp(5, 6)), 0x86DD),
    ethernet(ip6(44, b"\x11\0\0\x08" + bytes(4) + udp(5, 6)), 0x86DD),
    ethernet(ip4(6, tcp(22, 23)), 0x0800, ((0x88A8, 0x2064), (0x8100, 0x6007))),
    ethernet(struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + bytes(range(20)), 0x0806),
    b"", b"\0", WEB[:20], WEB[:34], WEB[:37],
]  # fmt: skip


def run_all(text: str, packets: list[bytes], mbuf: int = MBUF, link: str = "ethernet") -> list[int]:
    """Results of the reference, which native code has to give too."""
    checked = check(text, mbuf_bytes=mbuf, link=link)
    native = Native(compile_native(checked).octets)
    here, there = bytearray(mbuf), bytearray(mbuf)
    results = []
    for packet in packets:
        expected = Machine(packet, FACTS, here).run(checked.program)
        assert native.run(packet, FACTS, there) == expected, (text, packet.hex())
        assert here == there, (text, packet.hex())
        results.append(expected)
    return results


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 64))
def test_native_code_does_what_the_reference_does(seed: int) -> None:
    text, chance = Programs(seed).program(), random.Random(seed)
    packets = [*chance.sample(PACKETS, 4), chance.randbytes(chance.randrange(90))]
    try:
        check(text, mbuf_bytes=MBUF)
    except FplError as error:
        event(f"refused: {error.message}")
        assert error.message == "division by 0", f"{text}\n{error}"
        return
    results = run_all(text, packets)
    event("some accepted" if any(results) else "all turned away")


# program, results for PACKETS' first eight
FIELDS = [
    ("RETURN PKT.IP_PROTO;", [6, 17, 6, 0, 0, 0, 6, 0]),
    ("RETURN PROTO;", [6, 17, 6, 6, 17, 17, 6, 0]),
    ("RETURN PKT.TCP_DPORT;", [80, 0, 0, 443, 0, 0, 23, 0]),
    ("RETURN DPORT;", [80, 1234, 0, 443, 6, 0, 23, 0]),
    ("RETURN PKT.VLAN_ID;", [0, 0, 0, 0, 0, 0, 0x64, 0]),
    ("RETURN PKT.VLAN_PCP;", [0, 0, 0, 0, 0, 0, 1, 0]),
    ("RETURN PKT.IP_IHL;", [5, 6, 5, 0, 0, 0, 5, 0]),
    ("RETURN PKT.IP_MF + PKT.IP_FRAG * 2;", [0, 0, 3, 0, 0, 0, 0, 0]),
    ("RETURN PKT.DNS_ANSWERS;", [0, 2, 0, 0, 0, 0, 0, 0]),
    ("RETURN PKT.DNS_RCODE;", [0, 3, 0, 0, 0, 0, 0, 0]),
    ("RETURN PKT.ARP_OP;", [0, 0, 0, 0, 0, 0, 0, 2]),
    ("RETURN PKT.IP6_HOPS;", [0, 0, 0, 64, 64, 64, 0, 0]),
    ('RETURN PKT.TCP_PAYLOAD CONTAINS "HTTP";', [1, 0, 0, 0, 0, 0, 0, 0]),
    ("RETURN PKT.IP_SRC IN {10.0.0.0/8};", [1, 1, 1, 0, 0, 0, 1, 0]),
    ("RETURN PKT.IP_SRC NOT IN {10.0.0.1, 10.0.0.9} && IS_IP;", [0, 0, 0, 0, 0, 0, 0, 0]),
    ("RETURN PKT.TCP_FLAGS == 0x18 && PKT.TCP_ACK && !PKT.TCP_SYN;", [1, 0, 0, 1, 0, 0, 1, 0]),
    (
        "RETURN (TCP_DPORT IN {80, 443..450}) + 2 * (UDP_DPORT NOT IN {7, 53}) + 4 * (IP_TTL IN {0, 9});",
        [3, 2, 2, 7, 6, 6, 2, 6],
    ),
]


@pytest.mark.parametrize(("text", "expected"), FIELDS, ids=[text for text, _ in FIELDS])
def test_fields(text: str, expected: list[int]) -> None:
    assert run_all(text, PACKETS)[:8] == expected


# program, packet, result, MBuf behind it (as far as it is not 0)
CASES = [
    ("RETURN (7);", b"", 7, b""),
    ("RETURN TRUE;", b"", 1, b""),
    ("", b"x", 0, b""),
    ("R[0] = 5; R[0]++; ++R[0]; R[0] *= 3; RETURN R[0];", b"", 21, b""),
    ("RETURN PKT.B[1].U4[0];", b"\x00\xab", 0xA, b""),
    ("RETURN PKT.B[1].U4[1];", b"\x00\xab", 0xB, b""),
    ("RETURN PKT.B[0].U1[0];", b"\x80", 1, b""),
    ("RETURN PKT.B[0].U1[7];", b"\x80", 0, b""),
    ("RETURN PKT.W[1].U8[0];", b"\0\0\x12\x34", 0x12, b""),
    ("RETURN PKT.W[1];", b"\0\0\x12\x34", 0x1234, b""),
    ("RETURN PKT.D[0];", b"\x80\0\x12\x34", 0x80001234, b""),
    ("RETURN PKT.U16[1];", b"\0\x12\x34", 0x1234, b""),
    ("RETURN PKT.S8[0] < 0;", b"\xff", 1, b""),
    ("RETURN PKT.S8[0] == PKT.S16[0];", b"\xff\xff", 1, b""),
    ("RETURN -PKT.S8[0] / 2;", b"\x85", 61, b""),
    ("RETURN (PKT.S8[0] / 2) == PKT.S8[1];", b"\x85\xc3", 1, b""),
    ("RETURN PKT.S8[0] >> 1 == PKT.S8[1];", b"\x85\xc2", 1, b""),
    ("RETURN 1 << 40;", b"", 0xFFFFFFFF, b""),
    ("RETURN 1 << 64;", b"", 1, b""),
    ("RETURN 10 / PKT.B[0];", b"\0", 0, b""),
    ("RETURN 80 / ((PKT.B[0] == 0) << PKT.B[1]) + 99 % (1 << PKT.B[1]);", b"\0\3", 13, b""),
    ("MEM[0] = 1; RETURN 10 % PKT.B[0];", b"\0", 0, b"\1"),
    ("MEM[0] = 1; R[0] = PKT.B[1]; MEM[0] = 2; RETURN 1;", b"\0", 0, b"\1"),
    ("MEM[1]++; MEM[1] += 4; RETURN MEM[1];", b"", 5, b"\0\0\0\0\5"),
    ("MEM.B[3] = 0x1ff; RETURN MEM[0];", b"", 0xFF000000, b"\0\0\0\xff"),
    ("MEM.U16[3] = 0x0102; RETURN MEM.B[2];", b"", 2, b"\0\0\2\1"),
    ("MEM[16] = 9; RETURN MEM[0];", b"", 9, b"\x09"),  # 64 octets: it begins anew
    ("MEM.Q[0] = 0 - 1; MEM.Q[0].U8[0] = 1; RETURN MEM.B[7];", b"", 1, b"\xff\xff\xff\xff\xff\xff\xff\1"),
    (
        "MEM.B[1] -= 1; MEM.W[1]++; MEM.W[1] *= 3; MEM.S8[4] = 9; MEM.S8[4] /= -2; RETURN MEM[0];",
        b"",
        0x3FF00,
        b"\0\xff\3\0\xfc",
    ),
    (
        "MEM.U8[3] = 0x81; MEM.U8[3] <<= 1; MEM.U8[2] |= 5; MEM.U8[2] ^= 1; MEM.U16[0] %= 7; RETURN 1;",
        b"",
        1,
        b"\0\0\4\2",
    ),
    ("MEM.Q[0] -= 1; MEM.Q[0] >>= 60; MEM.B[0] /= PKT.B[0]; RETURN 1;", b"\0", 0, b"\x0f"),
    ("R[R[0] + 1] = 3; RETURN R[1];", b"", 3, b""),
    ("R[1] = 17; R[R[1]] = 4; RETURN R[1];", b"", 4, b""),
    ("FOR (R[1] = 0; R[1] < 5; R[1]++) R[0] += R[1]; ROF RETURN R[0];", b"", 10, b""),
    ("FOR (R[1] = 5; R[1] > 2; R[1]--) R[0] += R[1]; ROF RETURN R[0];", b"", 12, b""),
    ("FOR (R[1] = 0; R[1] < 100; R[1] += 10) IF R[1] == 50 THEN BREAK; FI R[0]++; ROF RETURN R[0];", b"", 5, b""),
    ("FOR (R[1] = 0; R[1] < LEN; R[1]++) MAX 3 R[0]++; ROF RETURN R[0];", b"12345678", 3, b""),
    ("R[2] = 3; FOR (R[1] = 0; R[1] < R[2]; R[1]++) R[2] = 9; R[0]++; ROF RETURN R[0];", b"", 3, b""),
    ("RETURN 3 IN {1, 2, 3} && 4 NOT IN {1..3};", b"", 1, b""),
    ('RETURN 0 CONTAINS "b\\x00c";', b"aab\0c", 1, b""),
    ('RETURN 3 CONTAINS "b\\x00c";', b"aab\0c", 0, b""),
    ("MACRO PORT WHEN LEN > 1 = PKT.W[0]; RETURN PORT + 1;", b"\0\5", 6, b""),
    ("MACRO PORT WHEN LEN > 1 = PKT.W[0]; RETURN PORT + 1;", b"\0", 1, b""),
    ("R[0] = 2; IF R[0] == 1 THEN RETURN 1; ELSE IF R[0] == 2 THEN RETURN 22; FI FI RETURN 3;", b"", 22, b""),
    ("RETURN 0 && PKT.B[9];", b"", 0, b""),
    ("RETURN 1 || PKT.B[9];", b"", 1, b""),
    ("RETURN 2 + 3 * 4 == 14 && (1 | 2) == 3;", b"", 1, b""),
    ("RETURN IFINDEX;", b"", 3, b""),
]


@pytest.mark.parametrize(("text", "packet", "result", "memory"), CASES, ids=[case[0] for case in CASES])
def test_cases(text: str, packet: bytes, result: int, memory: bytes) -> None:
    checked = check(text, mbuf_bytes=MBUF)
    room = bytearray(MBUF)
    assert Machine(packet, FACTS, room).run(checked.program) == result
    assert bytes(room) == memory.ljust(MBUF, b"\0")
    assert run_all(text, [packet]) == [result]
    assert run_all(f"PERCPU MEM MERGE sum; {text}", [packet]) == [result]


def test_figure_6_counts_packets_of_each_tcp_flow() -> None:
    """The paper's listing, with the offset that the notes correct: 26 is where the addresses begin."""
    text = "IF (PKT.IP_PROTO == PROTO_TCP)\nTHEN\nR[0] = Hash(26,12,256);\nMEM[ R[0] ]++;\nFI"
    checked = check(text, mbuf_bytes=1024)
    native = Native(compile_native(checked).octets)
    memory = bytearray(1024)
    other = ethernet(ip4(6, tcp(40001, 80)))
    for packet in (WEB, WEB, other, PACKETS[1]):
        assert native.run(packet, FACTS, memory) == 0
    assert sorted(struct.unpack("256I", memory))[-3:] == [0, 1, 2]


def test_as_listed_figure_6_does_not_tell_flows_apart() -> None:
    """HASH(14,12,...) takes the IP header's first octets, which say nothing of ports."""
    checked = check("RETURN HASH(14, 12, 65536) + 1;", mbuf_bytes=0)
    first, second = (Machine(packet, FACTS, bytearray()).run(checked.program)
                     for packet in (WEB, ethernet(ip4(6, tcp(40001, 80, b"GET / HTTP/1.1\r\n")))))  # fmt: skip
    assert first == second


def test_external_functions_are_called_with_packet_and_memory() -> None:
    from fpl.fpl2.check import Policy
    from fpl.fpl2.externals import External

    seen = []

    def port(packet: bytes, memory: bytearray, read_at: int, write_at: int) -> int:
        seen.append((packet, read_at, write_at))
        memory[write_at] = 7
        return 5004

    text = 'MEM[R[0]] = EXTERN("GetPort", 4, 9); EXTERN(getport, 0, 1); RETURN MEM[0];'
    checked = check(text, mbuf_bytes=64, policy=Policy(externals=(External("GetPort", 4, 1),)))
    memory = bytearray(64)
    assert Native(compile_native(checked).octets).run(b"abc", {}, memory, [port]) == 5004 & 0xFF | 7 << 8
    assert memory[9] == 7
    assert seen == [(b"abc", 4, 9), (b"abc", 0, 1)]
    here = bytearray(64)
    assert Machine(b"abc", {}, here, {"getport": port}, checked.cost.calls).run(checked.program) == 5004 & 0xFF | 7 << 8
    assert here == memory


@pytest.mark.parametrize(
    ("at", "called"), [("0, R[0]", True), ("R[0] + 60, 0", True), ("R[0] + 61, 0", False), ("0, 63 - R[0]", True),
                       ("0, 64 + R[0]", False), ("R[0] - 1, 0", False), ("0, R[0] - 1", False)],
)  # fmt: skip
def test_a_call_that_would_leave_memory_ends_the_filter(at: str, called: bool) -> None:
    from fpl.fpl2.check import Policy
    from fpl.fpl2.externals import External

    calls = []

    def note(packet: bytes, memory: bytearray, read_at: int, write_at: int) -> int:
        calls.append((read_at, write_at))
        return 1

    checked = check(f"MEM[3] = 9; EXTERN(\"Note x=Y\", {at}); RETURN 1;", mbuf_bytes=64,
                    policy=Policy(externals=(External("note x=Y", 4, 1),)))  # fmt: skip
    assert checked.cost.externals == ("note x=Y",)
    native, memory = Native(compile_native(checked).octets), bytearray(64)
    assert native.run(b"abc", {}, memory, [note]) == int(called)
    assert memory[12] == 9
    assert len(calls) == int(called)
    assert Machine(b"abc", {}, memory, {"note x=Y": note}, checked.cost.calls).run(checked.program) == int(called)
    assert len(calls) == 2 * int(called)


@pytest.mark.parametrize("link", ["raw", "sll", "sll2"])
def test_other_link_headers(link: str) -> None:
    head = {"raw": b"", "sll": bytes(14) + b"\x08\0", "sll2": b"\x08\0" + bytes(18)}[link]
    packets = [head + ip4(6, tcp(1, 80)), head[:-1], head + ip4(17, udp(2, 53))]
    assert run_all("RETURN DPORT;", packets, link=link) == [80, 0, 53]


# of places that lie in one word, each changed as often as the others; all back ends run it on two processors
CHANGES = (
    "MEM.B[0]++; MEM.B[1] -= 3; MEM.W[1] += 5; MEM.B[4] ^= 1; MEM.W[3] <<= 0; MEM.B[5] *= 1; MEM[2]++; MEM.Q[2] *= 3;"
)
SHARED = f"FOR (R[1] = 0; R[1] < 500; R[1]++) {CHANGES} ROF RETURN 1;"


def changed(rounds: int) -> bytes:
    """MBuf behind so many runs of SHARED, whoever ran them."""
    n = 500 * rounds
    return struct.pack("<BBHBBHIIQ", n & 0xFF, -3 * n & 0xFF, 5 * n & 0xFFFF, n & 1, 0, 0, n, 0, 0)


def test_assignment_operators_of_several_processors_lose_nothing() -> None:
    code = Native(compile_native(check(SHARED, mbuf_bytes=32)).octets)
    room = code.room(32)
    threads = [threading.Thread(target=lambda: [room.run(b"") for _ in range(200)]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert room.octets()[:24] == changed(400)


@pytest.mark.parametrize("target", TARGETS)
def test_code_needs_nothing_but_itself(target: str) -> None:
    for text, *_ in (*CASES, *FIELDS):
        code = compile_native(check(str(text), mbuf_bytes=MBUF), target)
        assert 0 < len(code.octets) < 20000
