# SPDX-License-Identifier: BSD-3-Clause
"""Addresses of 64 and 128 bits, sets of them and of what files list, byte strings at a place, names of interfaces."""

from __future__ import annotations

import ipaddress
import itertools
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpl.fpl2 import FplError, check, compile_native
from fpl.fpl2.compile import Checked, interface_number
from fpl.fpl2.files import BYTES_MAX, Folders
from fpl.fpl2.packets import ethernet, ip4, ip6, tcp, udp
from fpl.fpl2.reference import Machine
from fpl.fpl2.report import Source
from fpl.fpl2.sets import merged
from fpl.fpl2.testing import Native

LOOPBACK = {"lo": 1, "eth0": 7}


def result(text: str, packet: bytes, facts: dict[str, int] | None = None, files: Folders | None = None) -> int:
    checked = check(text, files=files, interface=LOOPBACK.get)
    expected = Machine(packet, facts or {}, bytearray()).run(checked.program)
    assert Native(compile_native(checked).octets).run(packet, facts or {}, bytearray()) == expected, text
    return expected


def from4(address: str) -> bytes:
    return ethernet(ip4(6, tcp(1, 2, b"GET /index Host: x"), src=ipaddress.IPv4Address(address).packed))


def from6(address: str) -> bytes:
    return ethernet(ip6(17, udp(1, 2), src=ipaddress.IPv6Address(address).packed), 0x86DD)


# term, what it says of packets from these addresses
TERMS: list[tuple[str, dict[str, int]]] = [
    ("IP6_SRC == 2001:db8::1", {"2001:db8::1": 1, "2001:db8::2": 0, "2001:db9::1": 0, "10.0.0.1": 0}),
    ("2001:db8::1 != IP6_SRC", {"2001:db8::1": 0, "2001:db8::2": 1, "2001:db9::1": 1}),
    ("IP6_SRC IN {2001:db8::/32, fe80::/10}", {"2001:db8:ffff::9": 1, "2001:db9::": 0, "febf::1": 1, "fec0::1": 0}),
    ("IP6_SRC IN {2001:db8::/96}", {"2001:db8::ffff:ffff": 1, "2001:db8::1:0:0": 0}),
    ("IP6_SRC NOT IN {2001:db8::/96}", {"2001:db8::ffff:ffff": 0, "2001:db8::1:0:0": 1}),
    ("IP6_SRC IN {1::5..3::7}", {"1::4": 0, "1::5": 1, "2:ffff::": 1, "3::7": 1, "3::8": 0, "1:0:0:1::": 1}),
    ("IP6_SRC IN {::/0}", {"::": 1, "ffff::": 1}),
    ("IP6_SRC IN {}", {"::1": 0}),
    ("IP6_SRC NOT IN {}", {"::1": 1}),
    ("IP6_SRC IN {::1, IP6_DST, PKT.U128[22]}", {"2::": 1}),
    ("SRC IN {10.0.0.0/8, 2001:db8::/32, ::ffff:9.9.9.9}",
     {"10.1.2.3": 1, "11.0.0.0": 0, "9.9.9.9": 1, "2001:db8::": 1, "::a00:1": 0}),
    ("SRC == 10.0.0.1", {"10.0.0.1": 1, "10.0.0.2": 0, "::a00:1": 0, "::ffff:10.0.0.1": 1}),
    ("SRC == PAIR(0, 0xffff << 32 | IP_SRC)", {"1.2.3.4": 1, "::1": 0}),
    ("SRC == DST", {"10.0.0.2": 1, "10.0.0.3": 0}),
    ("IP_SRC IN {10.0.0.0/8, 192.168.1.7, 11.0.0.5..11.0.0.7}",
     {"10.255.255.255": 1, "11.0.0.4": 0, "11.0.0.6": 1, "192.168.1.7": 1, "192.168.1.6": 0, "::1": 0}),
    ("IP_SRC == PKT.U32[26] && IP_SRC != IP_DST", {"10.0.0.1": 1, "10.0.0.2": 0}),
    ("ETH_SRC IN {02:00:00:00:00:02, 00:11:22:00:00:00..00:11:22:ff:ff:ff}", {"1.1.1.1": 1}),
    ("PKT.U8[29] IN {1..2, 4..5, 7..8, 10..11, 13..14, 16..17, 19..20, 22..23, 25..26, 30..200, 9}",
     {"1.1.1.1": 1, "1.1.1.3": 0, "1.1.1.9": 1, "1.1.1.14": 1, "1.1.1.15": 0, "1.1.1.26": 1, "1.1.1.27": 0,
      "1.1.1.30": 1, "1.1.1.201": 0, "1.1.1.0": 0}),
    ("PKT.S8[29] IN {1..2, 4..5, 7..8, 10..11, 13..14, 16..17}", {"1.1.1.255": 0, "1.1.1.5": 1, "1.1.1.129": 0}),
    ("PKT.S8[26] IN {5, 127}", {"127.0.0.1": 1, "255.0.0.1": 0, "5.5.5.5": 1}),
    ("PKT.S8[26] IN {18446744073709551614, 18446744073709551600..18446744073709551610, 3}",
     {"254.0.0.1": 1, "255.0.0.1": 0, "241.0.0.0": 1, "3.0.0.0": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("term", "said"), TERMS, ids=[term[:50] for term, _ in TERMS])
def test_addresses(term: str, said: dict[str, int]) -> None:
    for address, expected in said.items():
        packet = from6(address) if ":" in address else from4(address)
        assert result(f"RETURN {term};", packet) == expected, address


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 64))
def test_random_sets_say_what_the_networks_of_python_say(seed: int) -> None:
    chance = random.Random(seed)
    base = [chance.getrandbits(128) for _ in range(3)]

    def near() -> int:
        return chance.choice(base) ^ (1 << chance.randrange(128)) * chance.randrange(2)

    networks = []
    for _ in range(chance.randrange(1, 12)):
        bits = chance.choice((0, 1, 32, 63, 64, 65, 96, 127, 128))
        networks.append(ipaddress.IPv6Network((near(), bits), strict=False))
    checked = check(f"RETURN IP6_SRC IN {{{', '.join(map(str, networks))}}};")
    native = Native(compile_native(checked).octets)
    for address in (ipaddress.IPv6Address(near()) for _ in range(10)):
        packet, expected = from6(str(address)), any(address in network for network in networks)
        assert Machine(packet, {}, bytearray()).run(checked.program) == expected
        assert native.run(packet, {}, bytearray()) == expected


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), max_size=10))
def test_merged_spans_have_the_same_numbers_in_order(drawn: list[tuple[int, int]]) -> None:
    spans = [(low, low + more) for low, more in drawn]
    found = merged(spans)
    assert {n for low, high in found for n in range(low, high + 1)} == {
        n for low, high in spans for n in range(low, high + 1)
    }
    assert all(before[1] + 1 < after[0] for before, after in itertools.pairwise(found))


STRINGS = [
    ('PAYLOAD STARTS WITH "GET /index"', 1),
    ('PAYLOAD STARTS WITH "get /INDEX"', 0),
    ('PAYLOAD STARTS WITH "get /INDEX"i', 1),
    ('PAYLOAD STARTS WITH "GET0"i', 0),
    ('PAYLOAD STARTS WITH "GET\\x00"i', 0),  # a space with its bit for small letters away
    ('PAYLOAD STARTS WITH "GET /index Host: x"', 1),
    ('PAYLOAD STARTS WITH "GET /index Host: xx"', 0),  # beyond the end
    ('PAYLOAD NOT STARTS WITH "POST"', 1),
    ('PAYLOAD CONTAINS "host"', 0),
    ('PAYLOAD CONTAINS "HOST:"i', 1),
    ('PAYLOAD NOT CONTAINS "host"', 1),
    ('UDP_PAYLOAD CONTAINS "GET"', 0),  # it has none, and so nothing is in it
    ('UDP_PAYLOAD NOT CONTAINS "GET"', 1),
    ('(UDP_PAYLOAD STARTS WITH "\\x02")', 0),
    ('LEN STARTS WITH "a"', 0),
    ('(0 - 1) STARTS WITH "a"', 0),
    ('(0 - 1) CONTAINS "a"', 0),
    ('0 STARTS WITH "\\x02\\0\\x00"', 1),
    ('0 CONTAINS "\\"\\\\\\n"', 0),
]


@pytest.mark.parametrize(("term", "expected"), STRINGS, ids=[term for term, _ in STRINGS])
def test_strings(term: str, expected: int) -> None:
    assert result(f"RETURN {term};", from4("1.2.3.4")) == expected


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=12), st.binary(max_size=30), st.booleans())
def test_strings_in_random_packets(wanted: bytes, packet: bytes, any_case: bool) -> None:
    text = '"' + "".join(f"\\x{octet:02x}" for octet in wanted) + '"' + "i" * any_case
    packet += bytes(octet ^ (0x20 if any_case and chr(octet).isalpha() and octet < 128 else 0) for octet in wanted)
    for op, expected in (("CONTAINS", wanted in packet), ("STARTS WITH", packet.startswith(wanted))):
        if any_case:
            low = packet.lower()
            expected = wanted.lower() in low if op == "CONTAINS" else low.startswith(wanted.lower())
        assert result(f"RETURN 0 {op} {text};", packet) == expected


def test_interfaces_are_named() -> None:
    assert result('RETURN INTERFACE == "eth0";', b"x", {"IFINDEX": 7}) == 1
    assert result('RETURN INTERFACE IN {"lo", "eth0"};', b"x", {"IFINDEX": 1}) == 1
    assert result('RETURN "eth0" != IFINDEX;', b"x", {"IFINDEX": 7}) == 0
    with pytest.raises(FplError, match="packets of savefiles have no interface of this machine"):
        check('RETURN INTERFACE == "eth0";', interface=None)
    assert interface_number("lo") == 1
    assert interface_number("no-such-interface") is interface_number("l\0o") is None


REFUSED = [
    ('RETURN INTERFACE == "eth9";', "1:21: there is no interface eth9", "`ip link` lists"),
    ('RETURN LEN == "eth0";', "1:15: a string can only be compared with INTERFACE", "PAYLOAD CONTAINS"),
    ('RETURN "eth0";', "1:8: a string is no number", "One is looked for"),
    ('RETURN "eth0" IN {1};', "1:8: a string is no number", ""),
    ('RETURN INTERFACE == "lo"i;', "1:21: a name has one case", "Leave out the i"),
    ("RETURN IP6_SRC;", "1:8: 128 bits are compared, by == != and IN", "Their halves"),
    ("RETURN IP6_SRC + 1;", "1:8: 128 bits are compared", "Their halves"),
    ("RETURN IP6_SRC < ::1;", "1:8: 128 bits are compared", "Their halves"),
    ("RETURN IP6_SRC == 5;", "1:8: 128 bits and 64 meet", "Compare with an address"),
    ("RETURN IP_SRC == ::1;", "1:8: 128 bits and 64 meet", "Compare with an address"),
    ("RETURN IP_SRC IN {::1};", "1:8: 128 bits and 64 meet", "IPv6 addresses are compared"),
    ("RETURN IP_SRC IN {IP6_SRC};", "1:8: 128 bits and 64 meet", "IPv6 addresses are compared"),
    ("RETURN IP6_SRC IN {5};", "1:8: 128 bits and 64 meet", "Addresses are in a set"),
    ("RETURN IP6_SRC IN {IP6_SRC..::5};", "1:20: a range of 128 bits is between addresses", ""),
    ("RETURN SRC IN {::5..::3};", "1:16: a range of 128 bits is between addresses", ""),
    ("RETURN SRC IN {10.0.0.5..10.0.0.3};", "1:16: a range", ""),
    ("RETURN SRC == 10.0.0.0/8;", "1:15: 10.0.0.0/8 is no number", "A network stands in a set: IN {10.0.0.0/8}."),
    ("RETURN IP_SRC == 10.0.0.0/8;", "1:18: 10.0.0.0/8 is no number", "A network stands in a set: IN {10.0.0.0/8}."),
    ("RETURN SRC == 2001:db8::/32;", "1:15: 2001:db8::/32 is no number", "A network stands in a set"),
    ("RETURN IP_SRC IN {10.1.0.0/8};", "1:19: 10.1.0.0/8 is no network", "Is it 10.0.0.0/8?"),
    ("RETURN SRC IN {2001:db8::1/32};", "1:16: 2001:db8::1/32 is no network", "Is it 2001:db8::/32?"),
    ("RETURN SRC IN {::/129};", "1:16: ::/129 is no network", "129"),
    ("RETURN SRC == 1:2;", "1:16: ':' cannot stand here", ""),
    ("RETURN SRC == 1::2::3;", "1:15: 1::2::3 is no address", "At most one '::'"),
    ("R[0] = PKT.U128[1].U8[0];", "1:8: only the packet has U128", ""),
    ("R[0] = MEM.U128[1];", "1:8: only the packet has U128", ""),
    ("PKT.U128[1] = 5;", "1:1: a filter cannot change the packet", ""),
    ("MACRO U128 = 5;", "1:1: U128 has a meaning of its own", ""),
    ("MACRO INNER = 5;", "1:1: INNER has a meaning of its own", ""),
    ("MACRO A = 5; MACRO a = 6;", "1:14: a is defined already", "A name has one meaning in a text."),
    ("MACRO AT = 5;", "1:1: AT has a meaning of its own", ""),
    ("RETURN INNER.INNER.INNER.IP_SRC;", "1:8: more than 2 packets within each other", ""),
    ("RETURN INNER.PKT.B[1];", "1:14: PKT.B is not known", ""),
    ("RETURN INNER.IP_SR;", "1:14: IP_SR is not known", "Is it IP_SRC"),
    ("RETURN AT;", "1:8: AT is not known", ""),
    ('RETURN PAYLOAD STARTS WITH "";', "1:8: a byte string has 1 to 64 octets", ""),
    ('RETURN EXTERN(x,0,0) STARTS WITH "a";', "1:8: EXTERN cannot stand in what is compared", "It would be called"),
    ("RETURN PKT.U128[EXTERN(x,0,0)] == ::1;", "1:8: EXTERN cannot stand in what is compared", "It would be called"),
    ("RETURN PKT.U128[EXTERN(x,0,0)] IN {::1};", "1:8: EXTERN cannot stand in what is compared", "It would be called"),
    ('USE "a.fpl";', "1:1: no files may be used here", "Set FFPF_FPL_PATH"),
    ('RETURN LEN IN {USE "a"};', "1:16: no files may be used here", "Set FFPF_FPL_PATH"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "report", "hint"), REFUSED, ids=[text[:60] for text, _, _ in REFUSED])
def test_refusals(text: str, report: str, hint: str) -> None:
    with pytest.raises(FplError) as caught:
        check(text, interface=LOOPBACK.get)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"<fpl-2>:{report}"), caught.value
    assert lines[2].index("^") == caught.value.column + 1
    if hint:
        assert hint in lines[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own.fpl").write_text("MACRO TELNET = TCP_DPORT == BASE + 3; // the old one\nMACRO BASE = 20;\n")
    (tmp_path / "hosts.txt").write_text(
        "# bad ones\n10.0.0.0/8\n\n  192.168.0.1 # he\n2001:db8::/32\n::5-::7\n1.1.1.1 .. 1.1.1.3"
    )
    (tmp_path / "ports.txt").write_text("80\n0x1bb\n8000..8080\n00:00:00:00:00:07\n")
    return tmp_path


def checked_with(text: str, folder: Path) -> Checked:
    return check(text, files=Folders((folder / "not-there", folder)))


def test_files_of_macros(folder: Path) -> None:
    files = Folders((folder,))
    packet = ethernet(ip4(6, tcp(1, 23)))
    assert result('USE "own.fpl"; RETURN TELNET;', packet, files=files) == 1
    # a macro sees what its own text defines, and what is before it
    assert (
        result('USE "own.fpl"; MACRO BASE = 1; MACRO IS_TCP = 0; RETURN TELNET && BASE == 1;', packet, files=files) == 1
    )
    with pytest.raises(FplError, match="TELNET is not known"):
        checked_with('RETURN TELNET; USE "own.fpl";', folder)
    (folder / "bad.fpl").write_text("MACRO A = 1;\nRETURN A;")
    with pytest.raises(FplError, match=r"^bad.fpl:2:1: 'RETURN' cannot stand here"):
        checked_with('USE "bad.fpl";', folder)
    (folder / "bad.fpl").write_text("MACRO LEN = 1;")
    with pytest.raises(FplError, match=r"^bad.fpl:1:1: LEN has a meaning"):
        checked_with('USE "bad.fpl";', folder)


def test_files_of_sets(folder: Path) -> None:
    files = Folders((folder,))
    for address, expected in (("10.9.9.9", 1), ("192.168.0.1", 1), ("192.168.0.2", 0), ("1.1.1.2", 1), ("9.9.9.9", 1)):
        text = 'RETURN SRC IN {USE "hosts.txt", 9.9.9.9};'
        assert result(text, from4(address), files=files) == expected
    assert result('RETURN SRC NOT IN {USE "hosts.txt"};', from6("2001:db8::5"), files=files) == 0
    assert result('RETURN SRC IN {USE "hosts.txt"};', from6("::6"), files=files) == 1
    for port, expected in ((80, 1), (443, 1), (8081, 0), (8080, 1), (7, 1), (6, 0)):
        assert result('RETURN DPORT IN {USE "ports.txt"};', ethernet(ip4(6, tcp(1, port))), files=files) == expected
    with pytest.raises(FplError, match="128 bits and 64 meet"):
        checked_with('RETURN IP_SRC IN {USE "hosts.txt"};', folder)


@pytest.mark.parametrize(
    ("entry", "report"),
    [("x", r"2:2: x is no entry of a set"), ("1..2..3", "2:2: 1..2..3 is no entry"), ("5-3", "2:2: a range that ends"),
     ("010", "2:2: '010' begins with 0"), ("1" * 5000, "2:2: 1+... needs more than 64 bits"),
     ("::g", "2:2: ::g is no address"),
     ("10.0.0.1/8", "2:2: 10.0.0.1/8 is no network"), ("::1-5", "2:2: ::1-5 is no entry"), ("-", "2:2:  is no entry")],
)  # fmt: skip
def test_bad_entries(entry: str, report: str, folder: Path) -> None:
    (folder / "bad.txt").write_text(f"5\n {entry} # c\n")
    with pytest.raises(FplError, match=f"^bad.txt:{report}"):
        checked_with('RETURN LEN IN {USE "bad.txt"};', folder)


def test_files_that_may_not_be_read(folder: Path) -> None:
    (folder / "large").write_bytes(b"1\n" * (BYTES_MAX // 2 + 1))
    (folder / "bytes").write_bytes(b"\xff")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    for name, words in (
        ("../etc/passwd", "a file is named without its folder"), ("/etc/passwd", "a file is named without"),
        ("", "a file is named without"), (".hidden", "a file is named without"), ("a\\x00b", "a file is named without"),
        ("none", "there is no file none"), ("pipe", "pipe is no ordinary file"), ("folder", "folder cannot be read"),
        ("large", f"large has more than {BYTES_MAX} octets"), ("bytes", "bytes is no text"),
        ("x" * 300, "cannot be read"),
    ):  # fmt: skip
        with pytest.raises(FplError, match=words):
            checked_with(f'RETURN LEN IN {{USE "{name}"}};', folder)


def test_folders_of_the_environment(folder: Path) -> None:
    assert Folders.of_environment({"FFPF_FPL_PATH": f"relative:{folder}::"}).folders == (folder,)
    assert Folders.of_environment({}).folders == ()


def test_a_set_of_ten_thousand(folder: Path) -> None:
    """One switch, or one search: not a comparison for each."""
    chance = random.Random(5)
    hosts = sorted({chance.getrandbits(32) for _ in range(10000)})
    (folder / "many.txt").write_text("".join(f"{ipaddress.IPv4Address(host)}\n" for host in hosts))
    checked = checked_with('RETURN IP_SRC IN {USE "many.txt"};', folder)
    native = Native(compile_native(checked).octets)
    for host in chance.sample(hosts, 50):
        for near in (host, host ^ 1):
            packet = ethernet(ip4(6, b"", src=near.to_bytes(4, "big")))
            assert native.run(packet, {}, bytearray()) == (near in hosts)


def test_a_set_of_a_thousand_ranges(folder: Path) -> None:
    ends = sorted(random.Random(6).sample(range(1 << 32), 2000))
    (folder / "many.txt").write_text(
        "".join(f"{low}..{high}\n" for low, high in zip(ends[::2], ends[1::2], strict=True))
    )
    checked = checked_with('RETURN PKT.D[0] IN {USE "many.txt", 7, LEN};', folder)
    native = Native(compile_native(checked).octets)
    near = {end + more for end in ends[:40] + ends[-40:] for more in (-1, 0, 1)} | {4, 7, 0, (1 << 32) - 1}
    for value in near:
        expected = value in (4, 7) or any(low <= value <= high for low, high in zip(ends[::2], ends[1::2], strict=True))
        assert native.run(value.to_bytes(4, "big"), {}, bytearray()) == expected, value


def test_sources_of_own_fields_see_those_before_them() -> None:
    fields = [Source("MACRO A = 5;", "a"), Source("MACRO SIX = A + 1;", "b")]
    checked = check("MACRO A = 7; RETURN A * 10 + SIX;", fields=fields)
    assert Machine(b"", {}, bytearray()).run(checked.program) == 76
