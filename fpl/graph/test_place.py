# SPDX-License-Identifier: BSD-3-Clause
"""Which nodes a group's worker runs, and which the application."""

from __future__ import annotations

from collections.abc import Sequence

from fpl.graph import place
from fpl.graph.node import DEVICE, Level, Node, Placed

EVERY = "the kernel has none"


def where(nodes: Sequence[Node], kernel: int = 1) -> tuple[str, list[int]]:
    """For each node k(ernel), w(orker) or a(pplication), and positions of those in the kernel that deliver to the
    application; the first `kernel` nodes are in the kernel."""
    placed = [Placed(Level.KERNEL) if at < kernel else Placed(Level.USERSPACE, EVERY) for at in range(len(nodes))]
    found = place.to_worker(nodes, placed, lambda node: "it is the user's" if node.kind == "file" else "")
    letters = ["k" if one.level is Level.KERNEL else "w" if one.by_worker else "a" for one in found]
    assert all(bool(one.here) is (letter == "a") for one, letter in zip(found, letters, strict=True))
    return "".join(letters), place.delivered(nodes, found)


def test_what_only_counts_is_the_workers() -> None:
    assert where([Node(DEVICE), Node("dedup", "", (0,)), Node("distinct", "", (1,))]) == ("kww", [])


def test_what_is_read_is_the_applications_and_so_is_all_that_leads_there() -> None:
    ends = [Node(DEVICE), Node("dedup", "", (0,)), Node("FPL-2", "", (1,))]
    assert where(ends) == ("kaa", [0])
    both = [*ends, Node("distinct", "", (1,)), Node("rate", "", (0,))]
    assert where(both) == ("kaaaw", [0])


def test_what_joins_something_of_the_applications_is_its_own_too() -> None:
    """The last one draws its other input along, and what that leads to."""
    nodes = [Node(DEVICE), Node("dedup", "", (0,)), Node("file", "", (0,)), Node("distinct", "", (1, 2)),
             Node("rate", "", (1,))]  # fmt: skip
    assert where(nodes) == ("kaaaa", [0])


def test_a_flow_that_shares_nothing_runs_its_nodes_itself() -> None:
    assert where([Node(DEVICE), Node("distinct", "", (0,), private=True)]) == ("ka", [0])


def test_each_of_the_kernels_delivers_to_whom_it_leads() -> None:
    nodes = [Node(DEVICE), Node("BPF", "tcp", (0,)), Node("distinct", "", (0,)), Node("dedup", "", (1,))]
    assert where(nodes, 2) == ("kkwa", [1])
