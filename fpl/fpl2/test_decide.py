# SPDX-License-Identifier: BSD-3-Clause
"""Programs as tests on fields mean what the programs mean: judged here in Python, beside the reference."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

import pytest

from fpl.classify import symbolic
from fpl.classify.rules import rules_of
from fpl.classify.symbolic import Field, Leaf, Need, Node, NotTable
from fpl.classify.test_rules import holds, value_of
from fpl.fpl2 import FplError, check, decide
from fpl.fpl2.compile import Checked
from fpl.fpl2.random_programs import Filters
from fpl.fpl2.reference import Machine
from fpl.fpl2.test_back_ends import PACKETS
from fpl.graph.testing_fpl2 import Seen, seen

SEED = 7


def result(node: Node, each: Seen) -> int:
    while not isinstance(node, Leaf):
        if isinstance(node, Need):
            there = value_of(Field(node.source, node.source.full), each.packet) is not None
            node = node.then if there else Leaf(0, 0)
        else:
            assert isinstance(node, symbolic.Test)
            value = value_of(node.field, each.packet)
            assert value is not None
            node = node.yes if any(low <= value <= high for low, high in node.values) else node.no
    return node.result


def shown(chance: random.Random, count: int) -> list[Seen]:
    """Packets, some of them bent, cut, or with a tag beside them."""
    found = []
    for _ in range(count):
        octets = bytearray(chance.choice(PACKETS))
        for _ in range(chance.randrange(3)):
            if octets:
                octets[chance.randrange(len(octets))] = chance.choice((0, 1, 6, 8, 0x45, 0x81, chance.randrange(256)))
        cut = bytes(octets[: chance.randrange(len(octets) + 1)] if chance.random() < 0.3 else octets)
        tag = chance.choice((None, None, 0x64, chance.randrange(1 << 16)))
        found.append(seen(cut, tag, ifindex=chance.randrange(5), pkt_type=chance.randrange(5)))
    return found


@lru_cache(maxsize=256)
def values_of(field: str) -> Sequence[int]:
    """In packets that shown() begins with."""
    program = check(f"RETURN {field} & 0xffffffff;").program
    return sorted({Machine(octets, {"IFINDEX": 3, "PKTTYPE": 4}, bytearray()).run(program) for octets in PACKETS})


def compared(checked: Checked, packets: Sequence[Seen]) -> bool:
    """Whether it is a table. Every packet must be judged alike."""
    try:
        node, fetch_len = decide.graph(checked)
    except NotTable:
        return False
    wanted = [Machine(each.octets, each.facts, bytearray()).run(checked.program) for each in packets]
    for each, expected in zip(packets, wanted, strict=True):
        assert result(node, each) == expected, (checked.source.text, each)
        assert result(node, seen_so_far(each, fetch_len)) == expected, (checked.source.text, each, fetch_len)
    try:
        rules = rules_of(node)
    except NotTable:
        return False
    for each, expected in zip(packets, wanted, strict=True):
        assert any(holds(rule, each.packet) for rule in rules) == bool(expected), (checked.source.text, each, rules)
    return True


def seen_so_far(each: Seen, octets: int) -> Seen:
    """With no more fetched than this."""
    packet = each.packet
    return Seen(type(packet)(packet.octets[:octets], packet.whole_len, packet.ifindex, packet.pkt_type,
                             vlan_tci=packet.vlan_tci), b"", {})  # fmt: skip


def test_random_filters_are_tables_that_do_what_the_reference_does() -> None:
    print(f"seed={SEED}")
    tables = total = 0
    for number in range(150):
        chance = random.Random(SEED * 1000 + number)
        try:
            checked = check(Filters(SEED * 1000 + number, values_of).program())
        except FplError:
            continue
        total += 1
        tables += compared(checked, shown(chance, 24))
    print(f"{tables} of {total} are tables")
    assert tables > total // 3


@pytest.mark.parametrize(
    ("text", "rules", "octets"),
    [
        ("RETURN PKT.B[0] == 5;", 1, 16),
        ("RETURN IP_PROTO == 17;", 5, 40),
        ("RETURN ETH_SRC == 00:11:22:33:44:55;", 2, 16),
        ("RETURN IS_IP && TCP_DPORT == 80;", 5, 94),
        ("RETURN SRC IN {10.0.0.0/8, 2001:db8::/32};", 15, 54),
        ("RETURN IS_QINQ;", 2, 18),
        ("RETURN 0;", 0, 16),
    ],
)
def test_tables(text: str, rules: int, octets: int) -> None:
    """How many rules, and octets that they look at."""
    checked = check(text)
    assert compared(checked, shown(random.Random(text), 100))
    node, fetch_len = decide.graph(checked)
    assert (len(rules_of(node)), fetch_len) == (rules, octets)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("RETURN TCP_DPORT == 80;", "it computes with fields"),  # behind IPv6's extension headers
        ("RETURN PKT.B[0] == PKT.B[1];", "it compares two fields"),
        ("RETURN PKT.B[0];", "it returns a value of the packet"),
        ("RETURN PKT.S8[0] < 0;", "it takes octets as signed"),
        ("RETURN PKT.D[3] == 0x81000064;", "it loads across the border of a VLAN tag"),
        ("RETURN PKT.B[PKT.B[0]] == 1;", "it loads at a place that it computes"),
        ("RETURN HASH(0, 6, 4) == 1;", "it has more than numbers and fields"),
        ("RETURN CAPLEN > 60;", "it asks for CAPLEN"),
        ("R[PKT.B[0]] = 1; RETURN R[1];", "it writes to memory, or to a part of a register"),
        ("RETURN PKT.B[0] + PKT.B[1] == 3;", "it computes with fields"),
        ("FOR (R[0] = 0; R[0] < 40; R[0]++) IF (PKT.B[R[0]] == 0) THEN R[1]++; FI ROF RETURN R[1] == 7;",
         "too many ways"),
    ],
)  # fmt: skip
def test_what_is_no_table(text: str, reason: str) -> None:
    with pytest.raises(NotTable, match=reason):
        decide.graph(check(text))
