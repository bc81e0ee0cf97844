# SPDX-License-Identifier: BSD-3-Clause
"""Many filters at once, each in a column: every column's bit is what the interpreter says of its filter, on real,
bent and cut packets.
"""

from __future__ import annotations

import random

import pytest

from bpf.engines import CannotCompileError, Insn, stock_compile
from bpf.filter_texts import MANUAL_PAGE
from bpf.programs import directed
from fpl.classify import Classifier, ClassifyRefused, bytecode
from fpl.classify.testing import Oracle, Packet, TestSource, octets_of

ETHERNET = 1
SEED = 11


def compare(source: TestSource, oracles: dict[int, Oracle], packet: Packet, classifier: Classifier) -> int:
    """How many columns accept."""
    bits, results = source.judge(packet)
    for column, oracle in oracles.items():
        expected = oracle(packet)
        assert bool(bits >> column & 1) == bool(expected), (column, classifier.info(column), packet)
        if expected:
            assert (source.result(column) or results[column]) == expected
    return bits.bit_count()


def test_filters_of_the_manual_page(source: TestSource, classifier: Classifier) -> None:
    print(f"seed={SEED}")
    rng = random.Random(SEED)
    programs: dict[int, list[Insn]] = {}
    oracles: dict[int, Oracle] = {}
    for text in dict.fromkeys(text for texts in MANUAL_PAGE.values() for text in texts):
        try:
            program = stock_compile(ETHERNET, text)
            column = len(programs) * 3
            classifier.set(column, octets_of(program))
        except (CannotCompileError, ClassifyRefused):
            continue
        programs[column], oracles[column] = program, Oracle(octets_of(program))
    assert len(programs) > 150
    accepted = 0
    for program in programs.values():
        octets = directed(program, rng, rng.randbytes(rng.randrange(14, 120)))
        accepted += compare(source, oracles, Packet(octets), classifier)
        cut = octets[: rng.randrange(len(octets) + 1)]
        accepted += compare(source, oracles, Packet(cut), classifier)
    assert accepted > 1000


def test_a_program_that_linux_would_not_attach_is_refused(source: TestSource, classifier: Classifier) -> None:
    for octets in (b"", b"1234", octets_of([(0x05, 0, 0, 0xFFFFFFFF)])):
        with pytest.raises(ClassifyRefused):
            classifier.set(0, octets)
    assert source.judge(Packet(bytes(60)))[0] == 0


def test_loads_behind_an_offset_in_memory_are_bounded() -> None:
    """As libpcap looks behind a VLAN tag: ngrep's and p0f's filters."""
    text = "tcp or (vlan and tcp)"
    add, load_m, index = 0x04, 0x61, 0x48  # add #k; ldx M[k]; ldh [x + k]
    program = [(0x00, 0, 0, 0), (0x02, 0, 0, 1), (add, 0, 0, 4), (0x02, 0, 0, 1), (load_m, 0, 0, 1), (index, 0, 0, 12)]
    assert bytecode.fetch_len(bytecode.decode(octets_of([*program, (0x06, 0, 0, 1)]))) == 18
    assert bytecode.fetch_len(bytecode.decode(octets_of(stock_compile(ETHERNET, text)))) < 100
    unknown = [(0x00, 0, 0, 0xFFFFFFF0), *program[1:], (0x06, 0, 0, 1)]
    with pytest.raises(ClassifyRefused, match="beyond"):
        bytecode.fetch_len(bytecode.decode(octets_of(unknown)))
