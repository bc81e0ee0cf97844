# SPDX-License-Identifier: BSD-3-Clause
"""Emitted microcode, on the engine, gives what the reference gives: the tables of cases of the other back ends, random
programs; what is refused, and why; that it is the microcode which decides.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from fpl.fpl2 import FplError, check
from fpl.fpl2.compile import Checked
from fpl.fpl2.microengine import NotForBoardError
from fpl.fpl2.microengine_testing import OnEngine
from fpl.fpl2.random_programs import Programs
from fpl.fpl2.reference import Machine
from fpl.fpl2.test_back_ends import CASES, FACTS, FIELDS, MBUF, PACKETS
from fpl.fpl2.test_fields import TRUE_OF


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
