# SPDX-License-Identifier: BSD-3-Clause
"""Filters as code: any program that Linux would attach returns what the interpreter says, alone and beside others."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpf.engines import Insn
from bpf.programs import AD_OFF, chains, directed, packets, programs
from fpl.classify import Classifier, ClassifyRefused, chain
from fpl.classify import classifier as classifier_module
from fpl.classify.symbolic import NotTable
from fpl.classify.testing import Oracle, Packet, TestSource, octets_of

SHARED = settings(max_examples=8, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
XOR_X = AD_OFF + 40


@pytest.fixture
def code_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise NotTable("this test is about code")

    monkeypatch.setattr(classifier_module, "graph", refuse)


def known_to_both(program: list[Insn]) -> bool:
    """No ancillary load that the hook serves and a packet descriptor does not."""
    strange = {AD_OFF + at for at in (20, 24, 32, 36, 40)}
    return not any(insn.code & 0xE7 == 0x20 and insn.k in strange for insn in program)


@SHARED
@given(st.lists(programs(30) | chains(3, 12), min_size=1, max_size=6), st.integers(0, 2**32 - 1), packets())
def test_generated_programs(
    source: TestSource, code_only: None, made: list[list[Insn]], seed: int, plain: bytes
) -> None:
    rng = random.Random(seed)
    classifier = Classifier(source.maps)
    try:
        oracles = {}
        for column, program in enumerate(filter(known_to_both, made)):
            try:
                info = classifier.set(column * 70, octets_of(program))
            except ClassifyRefused:
                continue
            assert info.kind == "code"
            oracles[column * 70] = Oracle(octets_of(program))
        bent = [Packet(directed(program, rng, rng.randbytes(rng.randrange(100)))) for program in made for _ in range(3)]
        for packet in [Packet(plain), Packet(plain, wire_len=len(plain) + 9), *bent]:
            bits, results = source.judge(packet)
            for column, oracle in oracles.items():
                expected = oracle(packet)
                assert bool(bits >> column & 1) == bool(expected)
                if expected:
                    assert (source.result(column) or results[column]) == expected
    finally:
        classifier.close()


def test_results_that_differ_lie_in_the_scratch(source: TestSource, classifier: Classifier) -> None:
    info = classifier.set(9, octets_of([(0x30, 0, 0, 3), (0x16, 0, 0, 0)]))  # ldb [3]; ret a
    assert (info.result, info.kind) == (0, "code")
    for octet in (0, 1, 200):
        bits, results = source.judge(Packet(bytes([0, 0, 0, octet])))
        assert bits >> 9 & 1 == (octet != 0)
        assert results[9] == octet
    assert source.judge(Packet(bytes(3)))[0] == 0


def test_a_ways_xor_x(source: TestSource, classifier: Classifier) -> None:
    """A ^= X is an ancillary load of the kernel's."""
    classifier.set(0, octets_of([(0x01, 0, 0, 12), (0x30, 0, 0, 0), (0x20, 0, 0, XOR_X), (0x15, 0, 1, 5),
                                 (0x06, 0, 0, 1), (0x06, 0, 0, 0)]))  # fmt: skip
    assert source.judge(Packet(bytes([9])))[0] == 1
    assert source.judge(Packet(bytes([5])))[0] == 0


def test_parts_fill_and_go(
    source: TestSource, code_only: None, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small parts: many programs, each replaced alone; what no part takes is refused, and nobody else is harmed."""
    monkeypatch.setattr(chain, "SMALL_INSNS", 110)
    monkeypatch.setattr(chain, "PART_INSNS", 110)
    monkeypatch.setattr(chain, "PARTS_MAX", 5)

    def test_of(octet: int) -> bytes:
        return octets_of([(0x30, 0, 0, octet), (0x15, 0, 1, 7), (0x06, 0, 0, 1), (0x06, 0, 0, 0)])

    everything = Packet(b"\7" * 60)
    placed = 0
    with pytest.raises(ClassifyRefused, match="full"):
        for octet in range(40):
            classifier.set(octet, test_of(octet))
            placed += 1
    assert placed >= 10
    assert source.judge(everything)[0] == (1 << placed) - 1
    assert len(classifier.prog_ids) == 1 + 5
    before = classifier.prog_ids
    classifier.set(1, test_of(1))
    after = classifier.prog_ids
    assert sum(before[slot] != after[slot] for slot in before) == 1
    for column in range(placed):
        classifier.clear(column)
    assert len(classifier.prog_ids) == 1
    assert source.judge(everything)[0] == 0


def test_a_filter_over_its_own_limit(
    source: TestSource, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "ALONE_STEPS", 20)
    with pytest.raises(ClassifyRefused, match="steps"):
        classifier.set(0, octets_of([(0x30, 0, 0, 3), (0x16, 0, 0, 0)]))
    assert source.judge(Packet(bytes(9)))[0] == 0
