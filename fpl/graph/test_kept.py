# SPDX-License-Identifier: BSD-3-Clause
"""A stage goes on with what the one of another process left."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable

import pytest

from fpl.classify.testing import Packet
from fpl.graph import kept
from fpl.graph.kept import FORMAT, KeptError, KeptStage
from fpl.graph.node import Callee, Node, Read
from fpl.graph.testing import DEVICE, TestStage, bpf_node
from pyffpf.daemon import jsonform

ONE, TWO = Packet(bytes([1]) * 60), Packet(bytes([2]) * 100)
COUNTING = [DEVICE, bpf_node(0, 1), Node("packetcount", "", (1,)), Node("bytecount", "", (2,))]
DELIVERING = [DEVICE, bpf_node(0, 1), Node("sampler", "3", (1,)), bpf_node(1, 1, 2)]


def through_json(stage: KeptStage) -> KeptStage:
    return jsonform.decode(KeptStage, json.loads(json.dumps(jsonform.encode(stage))))


def adopt(made: TestStage, flows: dict[int, bool]) -> None:
    made.adopt(through_json(made.stage.kept()), made.hold(), flows)


def test_counters_memories_and_switches_go_on(made: TestStage) -> None:
    """A sampler that had counted two packets lets the first one after that out, as its third."""
    made.open(1, COUNTING)
    made.open(2, DELIVERING)
    made.open(3, [DEVICE, Node("packetcount", "", (0,), private=True)], on=False)
    for _ in range(2):
        assert made.send(ONE) == {}
    adopt(made, {1: True, 2: True, 3: False})
    assert made.counts(1) == [None, (2, 2), (2, 2), (2, 2)]
    assert made.send(ONE) == {2: 262144}
    assert made.send(TWO) == {}
    assert (made.u64(1, 2), made.u64(1, 3), made.u64(3, 1)) == (3, 180, 0)
    assert made.counts(2) == [None, (4, 3), (3, 1), (1, 1)]
    made.stage.switch(3, True)
    made.stage.switch(1, False)
    assert made.send(ONE) == {}
    assert (made.u64(1, 2), made.u64(3, 1)) == (3, 1)


def test_flows_come_and_go_afterwards(made: TestStage) -> None:
    made.open(1, COUNTING)
    made.send(ONE)
    adopt(made, {1: True})
    again = made.open(2, [*COUNTING, bpf_node(1, 2)])
    assert [where.shared for where in again.placed] == [True] * 4 + [False]
    made.send(ONE)
    assert made.u64(1, 2) == made.u64(2, 2) == 2
    made.close(1)
    made.send(ONE)
    assert made.u64(2, 3) == 180
    adopt(made, {2: True})
    made.send(ONE)
    assert made.u64(2, 3) == 240
    made.close(2)
    assert (made.stage.running, made.stage.program) == (0, (0, 0))


def test_nodes_that_only_others_had_are_gone(made: TestStage) -> None:
    """Of a client that nobody knows any more, or a flow that was half made."""
    made.open(1, COUNTING)
    made.open(2, DELIVERING)
    made.send(ONE)
    adopt(made, {1: True})
    assert made.stage.running == 3
    assert made.send(ONE) == {}
    assert made.u64(1, 2) == 2
    made.open(5, DELIVERING)  # as new: what the other's had counted is not in it
    assert [bool(made.send(ONE)) for _ in range(3)] == [False, False, True]


def test_killed_while_a_flow_was_added_or_removed(made: TestStage) -> None:
    """The state is that of before, whatever the maps have."""
    made.open(1, COUNTING)
    before, held = through_json(made.stage.kept()), made.hold()
    made.open(2, DELIVERING)
    made.send(ONE)
    made.adopt(before, held, {1: True})
    assert (made.stage.running, made.u64(1, 2)) == (3, 1)
    made.open(2, DELIVERING)
    before, held = through_json(made.stage.kept()), made.hold()
    columns = dict(made.flow_columns)
    made.close(2)
    made.send(ONE)
    made.flow_columns = columns
    made.adopt(before, held, {1: True, 2: True})
    assert made.u64(1, 2) == 2
    assert [bool(made.send(ONE)) for _ in range(3)] == [False, False, True]


def test_with_nobody_left_nothing_runs(made: TestStage) -> None:
    made.open(1, DELIVERING)
    adopt(made, {})
    assert (made.stage.running, made.stage.program) == (0, (0, 0))
    made.open(1, DELIVERING)
    assert [bool(made.send(ONE)) for _ in range(3)] == [False, False, True]


def test_what_programs_call_is_kept() -> None:
    node = Node("FPL-1", "call a", (0,), calls=(Callee("a", "BPF", "tcp"), Callee("b", "FPL-2", "RETURN 1;", 8)),
                reads=(Read("x", 0),))  # fmt: skip
    assert kept.node_of(kept.keep_node(node)) == node


def no_map(known: KeptStage) -> KeptStage:
    return dataclasses.replace(known, running=[dataclasses.replace(node, mbuf=0) for node in known.running])


def another_form(known: KeptStage) -> KeptStage:
    return dataclasses.replace(known, format=FORMAT + 1)


def no_node(known: KeptStage) -> KeptStage:
    return dataclasses.replace(known, running=known.running[:-1])


def order(known: KeptStage) -> KeptStage:
    return dataclasses.replace(known, running=known.running[::-1])


def no_class(known: KeptStage) -> KeptStage:
    (instance,) = known.instances
    nodes = [*instance.nodes[:-1], dataclasses.replace(instance.nodes[-1], kind="future")]
    return dataclasses.replace(known, instances=[dataclasses.replace(instance, nodes=nodes)])


def no_place(known: KeptStage) -> KeptStage:
    (instance,) = known.instances
    return dataclasses.replace(known, instances=[dataclasses.replace(instance, placed=instance.placed[1:])])


def no_base64(known: KeptStage) -> KeptStage:
    (instance,) = known.instances
    nodes = [instance.nodes[0], dataclasses.replace(instance.nodes[1], insns="!"), *instance.nodes[2:]]
    return dataclasses.replace(known, instances=[dataclasses.replace(instance, nodes=nodes)])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (another_form, "kept them in form"), (no_map, "lacks its column or its MBuf"), (no_node, "was not kept"),
        (order, "no node that this ffpfd can run"), (no_class, "no node that this ffpfd can run"),
        (no_place, "do not match"), (no_base64, "flow 1"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_not_gone_on_with(
    made: TestStage, damage: Callable[[KeptStage], KeptStage], said: str
) -> None:
    made.open(1, COUNTING)
    with pytest.raises(KeptError, match=said):
        kept.restored(damage(made.stage.kept()), {1})
    with pytest.raises(KeptError, match="of flow 7 were not kept"):
        kept.restored(made.stage.kept(), {1, 7})


def test_a_map_that_nobody_held_ends_them(made: TestStage) -> None:
    made.open(1, COUNTING)
    held = made.hold()
    lost = next(name for name in held if name.startswith("mbuf."))
    os.close(held.pop(lost))
    with pytest.raises(KeptError, match=f"the map {lost} was not kept"):
        made.adopt(made.stage.kept(), held, {1: True})
    assert (made.stage.running, made.stage.program, made.send(ONE)) == (0, (0, 0), {})
    made.open(1, COUNTING)
    made.send(ONE)
    assert made.u64(1, 2) == 1
