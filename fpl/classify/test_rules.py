# SPDX-License-Identifier: BSD-3-Clause
"""Rules mean what the program means: they are judged here in Python, on a packet's fields, beside the interpreter."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpf.engines import CannotCompileError, Insn, stock_compile
from bpf.filter_texts import MANUAL_PAGE, long_text, or_ed
from bpf.programs import chains, directed, packets, programs
from fpl.classify import bytecode, intervals
from fpl.classify.intervals import Intervals
from fpl.classify.rules import Rule, rules_of
from fpl.classify.symbolic import Field, NotTable, graph
from fpl.classify.testing import Oracle, Packet, octets_of

ETHERNET = 1
SEED = 5


def value_of(field: Field, packet: Packet) -> int | None:
    source = field.source
    if source.kind == "length":
        raw = packet.whole_len
    elif source.kind == "captured":
        raw = len(packet.octets)
    elif not source.is_packet:
        tag = packet.vlan_tci
        raw = {
            "protocol": packet.protocol, "pkttype": packet.pkt_type, "ifindex": packet.ifindex, "hatype": packet.hatype,
            "vlan_tci": tag or 0, "vlan_present": int(tag is not None), "vlan_tpid": 0 if tag is None else 0x8100,
        }[source.kind]  # fmt: skip
    else:
        start = source.offset
        if source.base >= 0:
            if source.base >= len(packet.octets):
                return None
            start += 4 * (packet.octets[source.base] & 15)
        if start + source.size > len(packet.octets):
            return None
        raw = int.from_bytes(packet.octets[start : start + source.size], "big")
    return (raw & field.mask) >> field.shift


def holds(rule: Rule, packet: Packet) -> bool:
    for field, values in rule:
        value = value_of(field, packet)
        if value is None or not any(low <= value <= high for low, high in values):
            return False
    return True


def check(program: list[Insn], made: list[Packet]) -> int | None:
    """How many rules; None when it is no table. Every packet must be judged alike."""
    octets = octets_of(program)
    try:
        decoded = bytecode.decode(octets)
        rules = rules_of(graph(decoded))
    except (bytecode.ClassifyRefused, NotTable):
        return None
    oracle = Oracle(octets)
    for packet in made:
        assert any(holds(rule, packet) for rule in rules) == bool(oracle(packet)), (octets.hex(), packet, rules)
    return len(rules)


def bent(program: list[Insn], rng: random.Random, count: int) -> list[Packet]:
    """Packets on which about half of the program's tests hold, some of them cut."""
    made = []
    for number in range(count):
        octets = directed(program, rng, rng.randbytes(rng.randrange(14, 140)))
        cut = octets[: rng.randrange(len(octets) + 1)] if number % 3 == 2 else octets
        made.append(Packet(cut, ifindex=rng.randrange(4), pkt_type=rng.randrange(5), vlan_tci=rng.choice([None, 5, 7])))
    return made


def test_filters_of_the_manual_page_and_long_ones() -> None:
    print(f"seed={SEED}")
    rng = random.Random(SEED)
    texts = [text for texts in MANUAL_PAGE.values() for text in texts]
    texts += [long_text(rng, terms) for terms in (2, 3, 4, 6, 8) * 8]
    kinds = ("host", "port", "net", "dst port", "src net")
    texts += [or_ed(rng, kind, 100) for kind in kinds] + [f"not ({or_ed(rng, kind, 20)})" for kind in kinds]
    tables = 0
    for number, text in enumerate(dict.fromkeys(texts)):
        try:
            program = stock_compile(ETHERNET, text, optimize=number % 4 != 3)
        except CannotCompileError:
            continue
        tables += check(program, bent(program, rng, 6)) is not None
    assert tables > 300


@pytest.mark.parametrize("kind", ["host", "port", "net", "dst port", "src net"])
def test_a_hundred_or_ed_are_a_few_rules(kind: str) -> None:
    text = or_ed(random.Random(SEED), kind, 100)
    rules = rules_of(graph(bytecode.decode(octets_of(stock_compile(ETHERNET, text)))))
    assert len(rules) <= 8
    assert max(len(values) for rule in rules for _, values in rule) > 25


def test_negation_needs_its_octets() -> None:
    """The packet ends before the address that the filter must not find."""
    (rule,) = rules_of(graph(bytecode.decode(octets_of(stock_compile(ETHERNET, "ether[40] != 7")))))
    assert holds(rule, Packet(bytes(41)))
    assert not holds(rule, Packet(bytes(40)))


SHORT = settings(max_examples=150, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))


@SHORT
@given(programs(24) | chains(4, 12), st.integers(0, 2**32 - 1), st.lists(packets(), max_size=3))
def test_generated_programs(program: list[Insn], seed: int, made: list[bytes]) -> None:
    check(program, [*map(Packet, made), *bent(program, random.Random(seed), 4)])


PIECES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda p: (p[0], min(63, p[0] + p[1]))))


@SHORT
@given(PIECES, PIECES)
def test_intervals_are_sets(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    def members(values: Intervals) -> set[int]:
        return {value for low, high in values for value in range(low, high + 1)}

    a, b = intervals.normal(left), intervals.normal(right)
    for combined, expected in (
        (intervals.union(a, b), members(a) | members(b)), (intervals.intersection(a, b), members(a) & members(b)),
        (intervals.difference(a, b, 63), members(a) - members(b)),
        (intervals.complement(a, 63), set(range(64)) - members(a)),
    ):  # fmt: skip
        assert members(combined) == expected
        assert combined == intervals.normal(combined)
        assert intervals.count(combined) == len(expected)
