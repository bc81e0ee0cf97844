# SPDX-License-Identifier: BSD-3-Clause
"""Which nodes a group's worker runs, and which the application."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fpl.graph import deliver
from fpl.graph.node import DEVICE, Callee, GraphError, Level, Node, Pins, Placed, Read, in_userspace
from fpl.graph.place import why_not

EVERY = "the kernel has none"


def where(nodes: Sequence[Node], kernel: int = 1) -> tuple[str, list[int], list[int]]:
    """For each node k(ernel), w(orker) or a(pplication), and positions of those whose packets come to the application,
    by the kernel, and by the worker; the first `kernel` nodes are in the kernel."""
    placed = [Placed(Level.KERNEL) if at < kernel else Placed(Level.USERSPACE, EVERY) for at in range(len(nodes))]
    found = deliver.to_worker(nodes, placed, lambda node: "it is the user's" if node.kind == "file" else "")
    letters = ["k" if one.level is Level.KERNEL else "w" if one.by_worker else "a" for one in found]
    assert all(bool(one.here) is (letter == "a") for one, letter in zip(found, letters, strict=True))
    return "".join(letters), deliver.delivered(nodes, found), deliver.relayed(nodes, found)


def test_what_only_counts_is_the_workers() -> None:
    assert where([Node(DEVICE), Node("dedup", "", (0,)), Node("distinct", "", (1,))]) == ("kww", [], [])


def test_what_is_read_comes_from_the_worker() -> None:
    ends = [Node(DEVICE), Node("dedup", "", (0,)), Node("FPL-2", "", (1,))]
    assert where(ends) == ("kww", [], [2])
    both = [*ends, Node("distinct", "", (1,)), Node("rate", "", (0,))]
    assert where(both) == ("kwwww", [], [2])


def test_what_the_kernel_lets_out_comes_the_same_way_if_something_comes_from_the_worker() -> None:
    """Else a packet that both let out would come twice."""
    nodes = [Node(DEVICE), Node("BPF", "tcp", (0,)), Node("dedup", "", (0,))]
    assert where(nodes, 2) == ("kkw", [], [1, 2])
    counted = [*nodes, Node("rate", "", (2,))]
    assert where(counted, 2) == ("kkww", [1], [])


def test_what_the_application_runs_reads_from_the_worker_and_gives_nothing_back() -> None:
    nodes = [Node(DEVICE), Node("dedup", "", (0,)), Node("file", "", (0,)), Node("distinct", "", (1, 2)),
             Node("rate", "", (1,))]  # fmt: skip
    assert where(nodes) == ("kwaaw", [], [0, 1])


def test_a_flow_that_shares_nothing_runs_its_nodes_itself() -> None:
    assert where([Node(DEVICE), Node("distinct", "", (0,), private=True)]) == ("ka", [0], [])


def test_each_of_the_kernels_delivers_to_whom_it_leads() -> None:
    nodes = [Node(DEVICE), Node("BPF", "tcp", (0,)), Node("distinct", "", (0,)), Node("file", "", (1,))]
    assert where(nodes, 2) == ("kkwa", [1], [])


def test_who_reads_memory_and_whose_it_is_are_in_one_process() -> None:
    """Also where what is read would be the worker's, and stands far before."""
    nodes = [Node(DEVICE), Node("distinct", "", (0,)), Node("rate", "", (1,)), Node("file", "", (0,)),
             Node("FPL-2", "MEM@d[0]", (3,), reads=(Read("d", 1),))]  # fmt: skip
    assert where(nodes) == ("kaaaa", [0], [])
    assert where([*nodes[:2], replace(nodes[4], inputs=(0,), reads=(Read("d", 1),))]) == ("kww", [], [2])
    no_pins: Pins = {}
    assert "userspace, reads its MBuf" in why_not(1, nodes, [Placed(Level.KERNEL)] * 5, no_pins)
    assert "it reads the MBuf of (distinct)" in why_not(4, nodes, [Placed(Level.KERNEL)] * 5, no_pins)


def test_what_is_pinned_to_the_kernel_is_not_called() -> None:
    node = Node("FPL-2", "EXTERN(a,0,0);", (0,), calls=(Callee("a", "BPF", "tcp"),))
    assert in_userspace(node, "it calls a", {"sampler": Level.KERNEL}).level is Level.USERSPACE
    with pytest.raises(GraphError, match="wants BPF in the kernel, where it cannot run: it calls a"):
        in_userspace(node, "it calls a", {"BPF": Level.KERNEL})
