# SPDX-License-Identifier: BSD-3-Clause
"""FPL-2's tables of cases, and its random programs, on FPL-1's interpreter: result and memory as its reference has."""

from __future__ import annotations

import random

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from fpl.fpl1.machine import Machine
from fpl.fpl1.object import TranslateError
from fpl.fpl1.translate import translate
from fpl.fpl2 import FplError, check
from fpl.fpl2.check import Policy
from fpl.fpl2.externals import External
from fpl.fpl2.random_programs import Programs
from fpl.fpl2.reference import Machine as Reference
from fpl.fpl2.test_back_ends import CASES, FACTS, FIELDS, MBUF, PACKETS


def results_of(text: str, packets: list[bytes], mbuf: int = MBUF) -> list[int]:
    """Of FPL-2's reference, which FPL-1 has to give too."""
    checked = check(text, mbuf_bytes=mbuf)
    machine = Machine(translate(checked))
    memory = bytearray(mbuf)
    results = []
    for packet in packets:
        expected = Reference(packet, FACTS, memory).run(checked.program)
        assert machine.run(packet, FACTS) == expected, (text, packet.hex())
        assert machine.data == bytes(memory), (text, packet.hex())
        results.append(expected)
    assert machine.exhausted == 0
    return results


@pytest.mark.parametrize(("text", "expected"), FIELDS, ids=[text for text, _ in FIELDS])
def test_fields(text: str, expected: list[int]) -> None:
    assert results_of(text, PACKETS)[:8] == expected


@pytest.mark.parametrize(("text", "packet", "result", "memory"), CASES, ids=[case[0] for case in CASES])
def test_cases(text: str, packet: bytes, result: int, memory: bytes) -> None:
    assert results_of(text, [packet]) == [result]
    machine = Machine(translate(check(text, mbuf_bytes=MBUF)))
    machine.run(packet, FACTS)
    assert machine.data == memory.ljust(MBUF, b"\0")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 64))
def test_random_programs(seed: int) -> None:
    text, chance = Programs(seed).program(), random.Random(seed)
    packets = [*chance.sample(PACKETS, 4), chance.randbytes(chance.randrange(90))]
    try:
        check(text, mbuf_bytes=MBUF)
    except FplError as error:
        assert error.message == "division by 0"
        return
    results = results_of(text, packets)
    event("some accepted" if any(results) else "all turned away")


@pytest.mark.parametrize("at", [60, 61])
def test_external_functions(at: int) -> None:
    """The last four octets, and beyond."""

    def port(packet: bytes, memory: bytearray, read_at: int, write_at: int) -> int:
        memory[write_at] = 7
        return 5004

    text = f'R[0] = {at}; MEM[0] = EXTERN("GetPort of=X", R[0], 9); EXTERN("getport of=X", 0, 1); RETURN MEM[0];'
    checked = check(text, mbuf_bytes=64, policy=Policy(externals=(External("getport of=X", 4, 1),)))
    program = translate(checked)
    assert program.externals == ["getport of=X"]
    machine, memory = Machine(program, [("getport of=X", 4, 1, port)]), bytearray(64)
    reference = Reference(b"abc", {}, memory, {"getport of=X": port}, checked.cost.calls)
    expected = reference.run(checked.program)
    assert (machine.run(b"abc"), machine.data) == (expected, bytes(memory))
    assert expected == (5004 & 0xFF | 7 << 8 if at == 60 else 0)


def test_what_is_too_large_is_refused() -> None:
    with pytest.raises(TranslateError, match="it has not 1 to 4096 instructions"):
        translate(check("R[0] += 1;" * 2000))
