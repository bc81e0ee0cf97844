# SPDX-License-Identifier: BSD-3-Clause
"""What ffpf-flow prints: classes, places, counters and what filters found out, as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TextIO

import numpy as np

from pyffpf.cli.tables import printable
from pyffpf.filter_classes import FilterClass, classes
from pyffpf.flow import Flow
from pyffpf.flow_node import Node
from pyffpf.graph import Graph, GraphInstance

WIDTH = 100


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> Iterator[str]:
    """Lines of columns; those in `right` are numbers."""
    grid = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    for row in grid:
        cells = [
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


# ---- classes ----


class NoSuchClassError(Exception):
    """The text is for the user."""


def show_classes(name: str, output: TextIO) -> None:
    """All, or the one of that name."""
    known = classes()
    if name:
        found = [one for one in known if one.name == name]
        if not found:
            names = ", ".join(one.name for one in known)
            raise NoSuchClassError(f"there is no class {name!r}; there are {names}")
        print(*_class_page(found[0]), sep="\n", file=output)
        return
    rows = [["class", "runs in", "what it does"]]
    rows += [[one.name, ", ".join(one.levels), one.summary] for one in known]
    print(*aligned(rows), sep="\n", file=output)


def _class_page(one: FilterClass) -> Iterator[str]:
    yield f"{one.name}: {one.summary}"
    yield f"  arguments  {one.arguments or 'none'}"
    yield f"  runs in    {', '.join(one.levels)}"
    size = f"{one.mbuf_bytes:,} octets, when the text asks for no other size" if one.mbuf_bytes else ""
    yield f"  MBuf       {size or 'none, or as its arguments need it'}"


# ---- places ----


def show_places(graph: Graph, flows: Sequence[Flow], output: TextIO, *, as_json: bool) -> None:
    """Where each node runs, why, and with whom it is shared."""
    serving = {one.id: one for one in graph.instances()}
    if as_json:
        print(json.dumps({"flows": [_flow_places(flow, serving) for flow in flows]}), file=output)
        return
    for number, flow in enumerate(flows):
        if number:
            print(file=output)
        print(f"{flow.name}  {printable(flow.text)}", file=output)
        rows = [["node", "filter", "instance", "level", "why"]]
        for node in flow.nodes:
            one = serving[node.instance]
            shared = f", shared by {one.flows} flows" if one.flows > 1 else ""
            rows.append([str(node.number), title(node), str(one.id), one.where, one.reason + shared])
        print(*("  " + line for line in aligned(rows)), sep="\n", file=output)


def _flow_places(flow: Flow, serving: dict[int, GraphInstance]) -> dict[str, Any]:
    nodes = []
    for node in flow.nodes:
        one = serving[node.instance]
        nodes.append({"node": node.number, "name": node.name, "class": one.class_name, "arguments": one.arguments,
                      "instance": one.id, "level": one.level, "by": one.by, "reason": one.reason,
                      "flows": one.flows})  # fmt: skip
    return {"name": flow.name, "text": flow.text, "nodes": nodes}


def title(node: Node) -> str:
    """ "web=(BPF,tcp)", or the name of another flow's node."""
    if not node.class_name:
        return node.name
    words = node.class_name + (f",{node.expression}" if node.expression else "")
    return f"{node.name}=({words})" if node.name else f"({words})"


# ---- results ----


def double_words(node: Node) -> dict[int, int]:
    """Those of its MBuf that are not 0, by their number: MEM[n] of a program."""
    octets = node.mbuf.tobytes()
    words = np.frombuffer(octets + bytes(-len(octets) % 4), np.uint32)
    return {int(at): int(words[at]) for at in np.flatnonzero(words)}


def show_results(
    graph: Graph,
    flows: Sequence[Flow],
    elapsed: float,
    output: TextIO,
    *,
    as_json: bool,
    mbufs: Collection[tuple[str, int]] = (),
) -> None:
    """Counters of every node, and what the classes tell. mbufs: flows' names and nodes' positions, whose MBufs are
    shown as well."""
    if as_json:
        document = {"seconds": round(elapsed, 6), "flows": [_flow_results(flow, graph, mbufs) for flow in flows]}
        print(json.dumps(document), file=output, flush=True)
        return
    for number, flow in enumerate(flows):
        if number:
            print(file=output)
        print(f"{flow.name}  {printable(flow.text)}", file=output)
        rows = [["node", "filter", "in", "out", "filtered", "dropped"]]
        for node in flow.nodes:
            counters = node.counters
            lost = ", ".join(f"{cause} {count:,}" for cause, count in counters.dropped.items() if count) or "-"
            rows.append([str(node.number), title(node), f"{counters.packets_in:,}", f"{counters.packets_out:,}",
                         f"{counters.filtered:,}", lost])  # fmt: skip
        print(*("  " + line for line in aligned(rows, right=(2, 3, 4))), sep="\n", file=output)
        for node in flow.nodes:
            told = node.report_text().splitlines()
            if (flow.name, node.number) in mbufs:
                told += [f"MEM[{at}] {word}" for at, word in double_words(node).items()] or ["MEM is all zeros"]
            if told:
                print(f"  {title(node)}", *("    " + line for line in told), sep="\n", file=output)
    output.flush()


def _flow_results(flow: Flow, graph: Graph, mbufs: Collection[tuple[str, int]]) -> dict[str, Any]:
    serving = {one.id: one for one in graph.instances()}
    nodes = []
    for node in flow.nodes:
        one, counters = serving[node.instance], node.counters
        nodes.append(
            {
                "node": node.number, "name": node.name, "class": one.class_name, "arguments": one.arguments,
                "level": one.level, "in": counters.packets_in, "out": counters.packets_out,
                "filtered": counters.filtered,
                "dropped": {cause: count for cause, count in counters.dropped.items() if count},
                "report": node.report(),
            } | ({"mbuf": double_words(node)} if (flow.name, node.number) in mbufs else {})
        )  # fmt: skip
    return {"name": flow.name, "text": flow.text, "state": flow.state, "nodes": nodes}
