# SPDX-License-Identifier: BSD-3-Clause
"""Emitted microcode, on the engine, gives what the reference gives: the tables of cases of the other back ends, random
programs; what is refused, and why; that it is the microcode which decides.
"""

from __future__ import annotations

import os
import random
import re
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from fpl.fpl2 import FplError, check
from fpl.fpl2.check import Policy
from fpl.fpl2.compile import Checked
from fpl.fpl2.externals import External
from fpl.fpl2.microengine import MBUF_MAX, NotForBoardError, emit
from fpl.fpl2.microengine_testing import OnEngine
from fpl.fpl2.packets import ethernet, ip4, tcp, udp
from fpl.fpl2.random_programs import Programs
from fpl.fpl2.reference import Machine
from fpl.fpl2.test_back_ends import CASES, FACTS, FIELDS, MBUF, PACKETS, WEB
from fpl.fpl2.test_fields import TRUE_OF
from fpl.fpl2.test_figure_5 import EXPRESSIONS, PACKET, PLACES, STATEMENTS
from ixp_driver import framework
from ixp_driver.microengine import isa


def run_all(checked: Checked, packets: list[bytes]) -> list[int]:
    """Results of the reference, which the engine has to give too."""
    engine = OnEngine(checked)
    here, there = bytearray(checked.mbuf_bytes), bytearray(checked.mbuf_bytes)
    results = []
    for packet in packets:
        expected = Machine(packet, FACTS, here).run(checked.program)
        assert engine.run(packet, FACTS, there) == expected, packet.hex()
        assert here == there, packet.hex()
        results.append(expected)
    return results


@pytest.mark.parametrize(("text", "packet", "result", "memory"), CASES, ids=[case[0] for case in CASES])
def test_cases(text: str, packet: bytes, result: int, memory: bytes) -> None:
    engine, room = OnEngine(check(text, mbuf_bytes=MBUF)), bytearray(MBUF)
    assert engine.run(packet, FACTS, room) == result
    assert bytes(room) == memory.ljust(MBUF, b"\0")


@pytest.mark.parametrize(("text", "expected"), FIELDS, ids=[text for text, _ in FIELDS])
def test_fields(text: str, expected: list[int]) -> None:
    assert run_all(check(text, mbuf_bytes=MBUF), PACKETS)[:8] == expected


@pytest.mark.parametrize(("packet", "text"), TRUE_OF, ids=[text[:50] for _, text in TRUE_OF])
def test_what_names_say(packet: bytes, text: str) -> None:
    """Each of these programs, or that it is more than an engine holds."""
    checked = check(f"RETURN {text};")
    try:
        engine = OnEngine(checked)
    except NotForBoardError as error:
        assert "microwords" in str(error)
        for term in text.split(" && ")[:2]:
            assert OnEngine(check(f"RETURN {term};")).run(packet, {}, bytearray())
        return
    assert engine.run(packet, {}, bytearray()) == Machine(packet, {}, bytearray()).run(checked.program)


class Small(Programs):
    """Programs of which most fit an engine's store."""

    def program(self) -> str:
        return f"{self._block(1, ())}\nRETURN {self._expression(False, 1)};"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 64))
def test_random_programs(seed: int) -> None:
    text, chance = Small(seed).program(), random.Random(seed)
    packets = [*chance.sample(PACKETS, 4), chance.randbytes(chance.randrange(90))]
    try:
        checked = check(text, mbuf_bytes=MBUF)
        results = run_all(checked, packets)
    except FplError as error:
        assert error.message == "division by 0", f"{text}\n{error}"
        return
    except NotForBoardError as error:
        event(f"refused: {str(error).split()[-4:]}")
        assert "microwords; an engine's store has 1024" in str(error), f"{text}\n{error}"
        return
    except AssertionError as error:
        raise AssertionError(f"seed {seed}:\n{text}\n{error}") from error
    event("some accepted" if any(results) else "all turned away")


@pytest.mark.parametrize("link", ["raw", "sll", "sll2"])
def test_other_link_headers(link: str) -> None:
    head = {"raw": b"", "sll": bytes(14) + b"\x08\0", "sll2": b"\x08\0" + bytes(18)}[link]
    packets = [head + ip4(6, tcp(1, 80)), head[:-1], head + ip4(17, udp(2, 53))]
    assert run_all(check("RETURN DPORT;", link=link), packets) == [80, 0, 53]


# of what finds headers, as much as an engine holds at once
FOUND = (
    "L3 + L4 + L5 + VLAN_TAGS + DNS_ASKED + OPTION_MSS + IP_OPTIONS",
    "EXTENSIONS + FRAGMENT6 + INNER.L3 + INNER.L4",
)


@lru_cache(maxsize=2)
def finder(text: str) -> OnEngine:
    return OnEngine(check(f"RETURN {text};"))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([packet for packet, _ in TRUE_OF]), st.data())
def test_cut_and_damaged_packets(packet: bytes, data: st.DataObject) -> None:
    octets = bytearray(packet[: data.draw(st.integers(0, len(packet)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if octets:
            octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    for text in FOUND:
        found = finder(text)
        assert found.run(bytes(octets), {}, bytearray()) == Machine(bytes(octets), {}, bytearray()).run(
            found.checked.program), text  # fmt: skip


# ---- the paper's figures, and others: what is emitted, and what it costs ----

GOLDEN = Path(__file__).parent / "golden"
FIGURE_6 = "IF (PKT.IP_PROTO == PROTO_TCP) THEN R[0] = HASH(26, 12, 256); MEM[R[0]]++; FI"
# the paper's Figure 7 learns its ports by an external function, which is the host's: this is what is left on the board
FIGURE_7 = """
IF (PKT.IP_PROTO == PROTO_TCP) THEN
    FOR (R[1] = 1; R[1] <= MEM[0]; R[1]++) MAX 63
        IF (PKT.TCP_DPORT == M[R[1]]) THEN
            RETURN TRUE;
        FI
    ROF
FI
RETURN FALSE;
"""
# name: program, what it says of WEB, the most words that it may be, main loop and all
COMMON = {
    "figure_6": (FIGURE_6, 0, 300),
    "figure_7": (FIGURE_7, 0, 420),
    "tcp_port_80": ("RETURN IS_TCP && (SPORT == 80 || DPORT == 80);", 1, 440),
    "host": ("RETURN IP_SRC == 10.0.0.1 || IP_DST == 10.0.0.1;", 1, 260),
    "networks": ("RETURN SRC IN {10.0.0.0/8, 192.168.0.0/16, 2001:db8::/32};", 1, 420),
    "hundred_hosts": (f"RETURN IP_SRC IN {{{', '.join(f'10.0.{n}.1' for n in range(0, 200, 2))}}};", 1, 1000),
    "payload": ('RETURN PAYLOAD CONTAINS "HTTP";', 1, 400),
    "quad_words": ("MEM.Q[1] += LEN; MEM.Q[1] >>= 1; RETURN MEM.Q[1] % 1000;", 35, 300),
}


@pytest.mark.parametrize("name", COMMON)
def test_what_is_emitted_is_what_was_looked_at(name: str) -> None:
    """FFPF_GOLDEN=write writes the files anew: look at what changed in them."""
    text, path = emit(check(COMMON[name][0], mbuf_bytes=1024)), GOLDEN / f"{name}.microc"
    if os.environ.get("FFPF_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", COMMON)
def test_common_filters_fit_with_the_framework_around_them(name: str) -> None:
    text, result, most = COMMON[name]
    checked = check(text, mbuf_bytes=1024)
    whole = framework.program(emit(checked))
    assert len(whole.words) <= most
    assert OnEngine(checked).run(WEB, FACTS, bytearray(1024)) == result


def test_figure_7_delivers_what_goes_to_the_ports_in_memory() -> None:
    engine, memory = OnEngine(check(FIGURE_7, mbuf_bytes=256)), bytearray(256)
    memory[:12] = struct.pack("<3I", 2, 5004, 80)
    other = ethernet(ip4(6, tcp(1, 81)))
    assert [engine.run(packet, FACTS, memory) for packet in (WEB, other, PACKETS[1])] == [1, 0, 0]


def test_what_runs_is_the_microcode() -> None:
    """An operator that is changed in the emitted C changes verdict and cycles; so does one word of the microcode."""
    checked = check("R[0] = PKT.U16[16]; R[1] = 3; IF (R[0] > 40) THEN R[1] = R[0] + 4; FI RETURN R[1];")
    text = emit(checked)

    def played(changed: str) -> tuple[int, int]:
        engine = OnEngine(checked, changed)
        return engine.run(WEB, FACTS, bytearray()), engine.cycles

    result, cycles = played(text)
    assert result == 56 + 4
    assert played(text.replace("+ 4u", "* 4u")) != (result, cycles)
    other, shorter = played(text.replace("> 40u", "< 40u"))
    assert other == 3
    assert shorter != cycles
    engine = OnEngine(checked)
    (add,) = (at for at, word in enumerate(engine.object.words)
              if word >> 26 == isa.OPERATIONS["ADD"] and isa.decode(word).fields["b"] == isa.SMALL + 4)  # fmt: skip
    engine.change(add, isa.OPERATIONS["SUB"] << 26 | engine.object.words[add] & 0x3FFFFFF)
    assert engine.run(WEB, FACTS, bytearray()) == 56 - 4


def twice(text: str) -> Checked:
    return check(text, mbuf_bytes=64, policy=Policy(externals=(External("twice", 4, 4),)))


@pytest.mark.parametrize(
    ("checked", "why"),
    [
        (lambda: twice("RETURN EXTERN(twice, 0, 4);"), "calls no external functions, such as twice"),
        (lambda: check("RETURN MEM[0];", mbuf_bytes=2 * MBUF_MAX), "262144 of SRAM at most"),
        (lambda: check("".join(f"MEM[{n}] = HASH({n}, 4, 99) / LEN;" for n in range(99)), mbuf_bytes=512), "has 1024"),
    ],
)
def test_what_is_refused_says_why(checked: Callable[[], Checked], why: str) -> None:
    with pytest.raises(NotForBoardError, match=why):
        OnEngine(checked())


@pytest.mark.parametrize(
    ("kind", "elements"),
    [
        ("U32", [(16 * n * n + 0x12340000, 16 * n * n + 0x12340000 + n % 3) for n in range(1, 12)]),
        ("U32", [(n << 27, (n << 27) + n) for n in range(32)]),
        ("U16", [(n * 300, n * 300) for n in range(20)]),
        ("S16", [(n * 300, n * 300 + 7) for n in range(20)]),
        ("U64", [(n << 40, (n << 40) + 1) for n in range(1, 12)]),
    ],
)
def test_long_sets_are_searched(kind: str, elements: list[tuple[int, int]]) -> None:
    octets = int(kind[1:]) // 8
    checked = check(f"RETURN PKT.{kind}[0] IN {{{', '.join(f'{low}..{high}' for low, high in elements)}}};")
    numbers = {end + off for ends in elements for end in ends for off in (-1, 0, 1)} | {0, (1 << 8 * octets) - 1}
    packets = [n.to_bytes(octets, "big") for n in sorted(numbers) if 0 <= n < 1 << 8 * octets]
    results = run_all(checked, packets)
    assert 0 < sum(results) < len(results)


def test_a_filter_has_as_much_memory_as_the_board_gives() -> None:
    header = (Path(framework.FOLDER).parent / "board" / "memory.h").read_text()
    found = re.search(r"#define BOARD_MBUF_BYTES +(\w+)u", header)
    assert found
    assert int(found[1], 16) == MBUF_MAX
    engine, memory = OnEngine(check("MEM.B[LEN - 1]++; RETURN MEM.B[LEN - 1];", mbuf_bytes=1024)), bytearray(1024)
    assert engine.run(b"x", {"LEN": 1024}, memory) == 1
    assert memory[1023] == 1


def test_contexts_that_count_in_one_place_lose_nothing() -> None:
    """Octets and words beside each other, and a quad word, changed by four contexts that take turns."""
    changes = "MEM.B[0]++; MEM.B[1] -= 3; MEM.W[1] += 5; MEM[1]++; MEM.Q[1] *= 3; MEM[4] ^= PKT.B[0];"
    engine, memory = OnEngine(check(changes, mbuf_bytes=32)), bytearray(32)
    memory[8] = 1
    engine.run(b"\1", FACTS, memory, contexts=4)
    assert memory[:20] == struct.pack("<BBHIQI", 4, -12 & 0xFF, 20, 4, 81, 0)


@pytest.mark.parametrize(("table", "of"), [(EXPRESSIONS, "RETURN {};"), (PLACES, "{}"), (STATEMENTS, "{}")],
                         ids=["expressions", "places", "statements"])  # fmt: skip
def test_the_papers_figure_5(table: list[tuple[str, int]], of: str) -> None:
    for text, expected in table:
        if "EXTERN" not in text:  # is refused, as above
            engine = OnEngine(check(f"R[0] = 3; {of.format(text)}", mbuf_bytes=MBUF))
            assert engine.run(PACKET, {}, bytearray(MBUF)) == expected, text
