# SPDX-License-Identifier: BSD-3-Clause
"""Filters as code: any program that Linux would attach returns what the interpreter says, alone and beside others."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpf.engines import Insn
from bpf.programs import AD_OFF, chains, directed, packets, programs
from fpl.classify import Classifier, ClassifyRefused, Compiler, Compilers, Module, NotReady, bpf, chain, filter_bpf
from fpl.classify.symbolic import NotTable
from fpl.classify.testing import Oracle, Packet, TestSource, octets_of

SHARED = settings(max_examples=8, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
XOR_X = AD_OFF + 40


@pytest.fixture
def code_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise NotTable("this test is about code")

    monkeypatch.setattr(filter_bpf, "graph", refuse)


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
        assert not octet or results[9] == octet
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
    monkeypatch.setattr(chain, "SMALL_INSNS", 200)
    monkeypatch.setattr(chain, "PART_INSNS", 200)
    monkeypatch.setattr(chain, "PARTS_MAX", 7)
    monkeypatch.setattr(chain, "LARGE_MAX", 2)

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
    assert not classifier.set(1, test_of(1)).compiled
    assert classifier.prog_ids == before
    classifier.set(1, test_of(41))
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


def large(number: int, columns: int = 100) -> bytes:
    """A filter that is a part of its own: accepts when one of the first octets is the number."""
    tests = [((0x30, 0, 0, at % 60), (0x04, 0, 0, at), (0x15, 0, 1, at + number & 255), (0x06, 0, 0, 1))
             for at in range(columns)]  # fmt: skip
    return octets_of([*(insn for test in tests for insn in test), (0x06, 0, 0, 0)])


def test_a_large_filter_is_verified_once(source: TestSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made ready is what runs; another column that wants it, or one that does no more, compiles nothing."""
    compiler, others = Compiler(), Compiler()
    classifier = Classifier(source.maps, compiler=compiler, preparing=Compilers(others))
    loads: list[str] = []
    load = bpf.prog_load

    def counted(insns: bytes, name: str, kind: int, attach: int) -> int:
        loads.append(name)
        return load(insns, name, kind, attach)

    monkeypatch.setattr(bpf, "prog_load", counted)
    monkeypatch.setattr(chain, "SMALL_INSNS", 100)
    oracle, columns = Oracle(large(7)), [3, 70, 71, 1000]
    packets = [Packet(b"\7" * 60), Packet(bytes(60)), Packet(bytes(59) + b"\7"), Packet(bytes(range(7, 67)))]
    try:
        for count, column in enumerate(columns, 1):
            info = classifier.set(column, large(7))
            assert (info.kind, info.compiled, len(loads)) == ("code", count == 1, 1)
            for packet in packets:
                assert source.judge(packet)[0] == sum(1 << c for c in columns[:count]) * bool(oracle(packet))
        assert compiler.count == 1  # the empty tables
        classifier.set(70, None)
        assert source.judge(Packet(b""))[0] == 1 << 70
        for column in columns:
            classifier.clear(column)
        assert source.judge(packets[0])[0] == 0
        assert len(classifier.prog_ids) == 1
        assert len(loads) == 1
    finally:
        classifier.close()
        compiler.close()
        others.close()


def test_large_filters_join_when_their_parts_are_used(
    source: TestSource, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then a part has several; small ones have parts left; what goes leaves the others as they are."""
    monkeypatch.setattr(chain, "SMALL_INSNS", 100)
    monkeypatch.setattr(chain, "LARGE_MAX", 2)
    monkeypatch.setattr(chain, "PART_INSNS", 700)
    accepted = [(0x30, 0, 0, 5), (0x04, 0, 0, 1), (0x15, 0, 1, 8), (0x06, 0, 0, 1), (0x06, 0, 0, 0)]
    filters = {2 * number: large(number, 30) for number in range(5)} | {99: octets_of(accepted)}
    costs = [classifier.set(column, octets).insns for column, octets in filters.items()]
    assert min(costs[:5]) > 100 > costs[5]
    assert len(classifier.prog_ids) == 1 + 2 + 1
    rng = random.Random(5)

    def compare(columns: dict[int, bytes]) -> int:
        accepts = 0
        for octet in range(12):
            made = bytearray(rng.randbytes(60))
            made[rng.randrange(30)] = octet
            packet = Packet(bytes(made))
            expected = sum(bool(Oracle(octets)(packet)) << column for column, octets in columns.items())
            assert source.judge(packet)[0] == expected
            accepts += expected.bit_count()
        return accepts

    assert compare(filters) > 10
    while True:
        try:
            column = 200 + len(filters)
            classifier.set(column, large(len(filters), 30))
            filters[column] = large(len(filters), 30)
        except ClassifyRefused as refused:
            assert "full of large filters" in str(refused)
            break
    compare(filters)
    for column in (0, 4):
        classifier.clear(column)
        del filters[column]
    classifier.set(300, large(77, 30))
    filters[300] = large(77, 30)
    compare(filters)
    for column in filters:
        classifier.clear(column)
    assert len(classifier.prog_ids) == 1


def test_filters_are_prepared_beside_all_else(source: TestSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the compiler has one in hand, others are set, and the source may even go."""
    monkeypatch.setattr(chain, "SMALL_INSNS", 100)
    others = Compiler()
    classifier = Classifier(source.maps, preparing=Compilers(others))
    compiling, go_on = threading.Event(), threading.Event()
    work = others.compile

    def held(text: str, library: bytes, functions: Mapping[str, Module]) -> bytes:
        compiling.set()
        assert go_on.wait(20)
        return work(text, library, functions)

    monkeypatch.setattr(others, "compile", held)
    try:
        prepared = classifier.prepare(large(7))
        assert prepared.is_slow
        with pytest.raises(NotReady):
            classifier.set(0, prepared)
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(prepared.compile)
            assert compiling.wait(20)
            assert not classifier.set(4, None).compiled
            assert source.judge(Packet(b"\7" * 60))[0] == 1 << 4
            assert not done.done()
            go_on.set()
            done.result(20)
            assert not prepared.is_slow
            classifier.set(0, prepared)
            prepared.close()
            assert source.judge(Packet(b"\7" * 60))[0] == 1 << 4 | 1
            compiling.clear()
            go_on.clear()
            late = classifier.prepare(large(9))
            done = pool.submit(late.compile)
            assert compiling.wait(20)
            classifier.close()
            go_on.set()
            done.result(20)
            late.close()
            assert source.judge(Packet(b"\7" * 60))[0] == 1 << 4 | 1
            late.cancel()
    finally:
        go_on.set()
        others.close()
    with pytest.raises(ClassifyRefused, match="ended"):
        classifier.prepare(large(3)).compile()


def test_a_cancelled_filter_ends_its_compiler(source: TestSource) -> None:
    others = Compiler()
    classifier = Classifier(source.maps, preparing=Compilers(others))
    prepared = classifier.prepare(large(7, 900))
    try:
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(prepared.compile)
            while others.count == 0 and not done.done():
                pass
            prepared.cancel()
            with pytest.raises(ClassifyRefused, match=r"died|cancelled"):
                done.result(20)
        with pytest.raises(ClassifyRefused, match="cancelled"):
            prepared.compile()
        assert classifier.set(1, octets_of([(0x30, 0, 0, 3), (0x16, 0, 0, 0)])).compiled
    finally:
        prepared.close()
        classifier.close()
        others.close()
