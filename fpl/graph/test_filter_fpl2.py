# SPDX-License-Identifier: BSD-3-Clause
"""FPL-2 as filters of classify: in tables and as code, beside BPF, with the verdicts and results of the reference."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from fpl.classify import chain
from fpl.classify.testing import Oracle, Packet
from fpl.fpl2 import FplError, check
from fpl.fpl2.random_programs import Filters, Programs
from fpl.fpl2.test_back_ends import PACKETS
from fpl.fpl2.test_decide import shown, values_of
from fpl.graph.node import Level, Node, Placed
from fpl.graph.testing import DEVICE, TestStage, bpf_node, octet_is
from fpl.graph.testing_fpl2 import KernelPrograms, expected

BPF_COLUMNS = range(200, 206)
WEB = Packet(PACKETS[0])
AS_CODE = "RETURN TCP_DPORT == 80;"


def placed(made: TestStage, text: str, flow: int = 1, mbuf: int | None = None) -> Placed:
    return made.open(flow, [DEVICE, Node("FPL-2", text, (0,), mbuf)]).placed[1]


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("RETURN IP_PROTO == 6;", "in tables"),
        (AS_CODE, "as code of "),
        ("RETURN PKT.B[0];", "instructions: it returns several values"),
        ("MEM[0]++; RETURN 1;", "in the program of all nodes: it has memory, or calls functions"),
        ('RETURN EXTERN("GetDynTCPDPortFromRTSP", 0, 0);', "in the program of all nodes: it has memory, or calls"),
    ],
)  # fmt: skip
def test_where_a_program_runs(made: TestStage, text: str, how: str) -> None:
    found = placed(made, text, mbuf=64 if "MEM" in text else None)
    assert found.level is Level.KERNEL
    assert how in found.how


def test_equal_filters_are_one_for_everybody_and_cost_nothing_more(made: TestStage) -> None:
    """They keep nothing: also for flows of other groups, and flows that share nothing else."""
    placed(made, AS_CODE)
    programs, compiled = made.classifier.prog_ids, made.compiler.count
    other = made.open(2, [DEVICE, Node("FPL-2", AS_CODE, (0,), private=True)], "other").placed[1]
    assert other.shared
    assert (made.classifier.prog_ids, made.compiler.count - compiled) == (programs, 1)  # the program that delivers
    assert made.send(WEB) == {1: 1, 2: 1}
    made.close(1)
    assert made.send(WEB) == {2: 1}
    assert made.send(Packet(PACKETS[1])) == {}


def test_behind_other_nodes_and_before_others(made: TestStage) -> None:
    """Code, which is not run for packets that do not come to it, and tables."""
    flow = made.open(1, [DEVICE, bpf_node(0, WEB.octets[0]), Node("FPL-2", "RETURN PKT.U8[23];", (1,)),
                         Node("packetcount", "", (2,), deliver=True),
                         Node("FPL-2", "RETURN IS_IP;", (2,))])  # fmt: skip
    assert [where.how for where in flow.placed[1:]] == [
        "in tables", "in the program of all nodes: it returns several values, and it comes behind other nodes", "",
        "in tables",
    ]  # fmt: skip
    assert made.send(WEB) == {1: 3}
    assert made.send(Packet(b"\xee" + WEB.octets[1:])) == {}
    assert made.counts(1) == [None, (2, 1), (1, 1), (1, 1), (1, 1)]


def test_what_a_table_looks_at_is_less_than_what_its_code_may(made: TestStage) -> None:
    assert placed(made, "RETURN IP_PROTO == 6;").how == "in tables"
    column = made.stage.columns[0]
    info = made.classifier.info(column)
    assert info is not None
    assert info.fetch_len == 40
    assert placed(made, AS_CODE, 2).level is Level.KERNEL
    code = made.classifier.info(made.stage.columns[1])
    assert code is not None
    assert code.fetch_len == 65536


def test_beyond_the_budget_a_program_runs_with_all_nodes(made: TestStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "ALONE_INSNS", 100)
    found = placed(made, AS_CODE)
    assert found.level is Level.KERNEL
    assert "in the program of all nodes: " in found.how
    assert "the limits are 100" in found.how
    assert [made.send(Packet(octets)) for octets in PACKETS[:2]] == [{1: 1}, {}]


def test_a_large_one_is_a_program_of_its_own(made: TestStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "SMALL_INSNS", 100)
    for flow in (1, 2):
        assert "as code" in placed(made, f"RETURN TCP_DPORT == {80 * flow};", flow).how
    assert len(made.classifier.prog_ids) == 1 + 2
    assert made.send(WEB) == {1: 1}


def test_filters_go_on_in_the_stage_of_a_later_process(made: TestStage) -> None:
    texts = ["RETURN IP_PROTO == 6;", AS_CODE, "RETURN PKT.B[23];", "MEM[0]++; RETURN 3;"]
    for flow, text in enumerate(texts, 1):
        placed(made, text, flow, 64 if "MEM" in text else None)
    before = made.send(WEB)
    assert before == {1: 1, 2: 1, 3: 6, 4: 3}
    made.adopt(made.stage.kept(), made.hold(), dict.fromkeys(range(1, 5), True))
    assert made.send(WEB) == before
    assert made.counts(3)[1] == (2, 2)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 1 << 64))
def test_random_filters_beside_bpf_do_what_the_reference_does(shared: TestStage, seed: int) -> None:
    """Filters in tables and as code, programs with loops and strings, and BPF: all at once, on each packet."""
    chance, texts = random.Random(seed), list[str]()
    for number in range(8):
        one = seed * 8 + number
        text = (Programs(one, memory=False) if number % 3 == 2 else Filters(one, values_of)).program()
        try:
            check(text)
            texts.append(text)
        except FplError as error:
            event(f"refused: {error.message}")
    judges = {column: octet_is(chance.randrange(30), chance.randrange(256)) for column in BPF_COLUMNS}
    for column, octets in judges.items():
        shared.classifier.set(column, octets)
    packets = shown(chance, 12)
    loaded = KernelPrograms(shared, texts, 0)
    try:
        assert loaded.refused == {}, texts
        together = loaded.run_together(range(len(texts)), packets)
        for number, text in enumerate(texts):
            event(loaded.how[number][:8])
            assert together[number] == expected(text, packets, 0)[0], (text, packets)
        for each in packets:
            bits, _ = shared.source.judge(each.packet)
            assert all(bits >> column & 1 == bool(Oracle(octets)(each.packet)) for column, octets in judges.items())
    finally:
        loaded.close()
        for column in judges:
            shared.classifier.clear(column)
