# SPDX-License-Identifier: BSD-3-Clause
"""Graphs as trees: what is drawn, in `ffpf status` and in `ffpf top`, and rates of nodes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyffpf.cli import graph_rows, rates, tables
from pyffpf.cli.test_ffpf import EXAMPLE
from pyffpf.cli.test_top import drawn
from pyffpf.cli.top import View
from pyffpf.daemon.status import GraphStatus, NodeStatus

NODES = [
    NodeStatus("device", "eth0", number=0),
    NodeStatus("BPF", "tcp", inputs=[0], number=1, shared=True, came=100, out=40),
    NodeStatus("BPF", "udp", inputs=[0], number=2, came=100, out=30),
    NodeStatus("packetcount", name="n", inputs=[1, 2], number=3, came=70, out=70, mbuf_bytes=128),
    NodeStatus("sampler", "10", inputs=[3], number=4, came=70, out=7),
    NodeStatus("rate", "1s", inputs=[1], level="userspace", reason="the kernel has no rate", worker=True, came=40,
               out=40),
    NodeStatus("dedup", inputs=[1], level="userspace", reason="evil\x1b[2J"),
]  # fmt: skip
GRAPH = GraphStatus(3, "eth0", 20, "dialout", 1000, "ann", 4711, "ffpf-flow", "active", nodes=NODES, delivered=[4])
STATUS = replace(EXAMPLE, graphs=[GRAPH, replace(GRAPH, id=4, gid=21, group="adm", nodes=[], state="populated")])
LATER = replace(
    STATUS,
    monotonic_ns=STATUS.monotonic_ns + 2 * 10**9,
    graphs=[replace(GRAPH, nodes=[NODES[0], replace(NODES[1], came=1100, out=440), *NODES[2:]])],
)


def test_the_picture() -> None:
    found = graph_rows.lines(STATUS, None)
    assert [line.words for line in found] == [
        "eth0",
        "  group adm",
        "    flow 4 ann ffpf-flow (4711)",
        "  group dialout",
        "    flow 3 ann ffpf-flow (4711)",
        "      (device,eth0)",
        "      ├─ (BPF,tcp)",
        "      │  ├─ n=(packetcount)",
        "      │  │  └─ (sampler,10)",
        "      │  ├─ (rate,1s)",
        "      │  └─ (dedup)",
        "      └─ (BPF,udp)",
    ]
    assert [(line.where, line.note) for line in found[6:11]] == [
        ("kernel", "shared"), ("kernel", "also from (BPF,udp)"), ("kernel", "delivers"),
        ("worker", "the kernel has no rate"), ("userspace", "evil\x1b[2J"),
    ]  # fmt: skip


def test_nobody_has_graphs() -> None:
    assert graph_rows.lines(EXAMPLE, None) == []
    assert not any(line == "Graphs" for line in tables.plain(EXAMPLE, None))


def test_status_has_counters_and_rates() -> None:
    lines = list(tables.plain(LATER, rates.between(STATUS, LATER)))

    def row(of: str) -> list[str]:
        return next(line for line in lines if of in line).split()

    assert row("(BPF,tcp)")[-6:] == ["kernel", "1,100", "440", "500", "200", "shared"]
    assert row("n=(packetcount)")[3:10] == ["kernel", "70", "70", "0", "0", "128", "B"]
    assert row("(dedup)")[-1] == "evil?[2J"
    assert not any("\x1b" in line for line in lines)


def test_top_has_them_until_a_key_hides_them() -> None:
    view = View()
    lines = drawn(LATER, rates.between(STATUS, LATER), view, 60)
    assert any(line.split()[-6:] == ["kernel", "1,100", "440", "500", "200", "shared"] for line in lines)
    view.key("g")
    assert not any("(BPF,tcp)" in line for line in drawn(LATER, None, view, 60))


@pytest.mark.parametrize("height", [12, 18, 24, 60])
def test_it_fits_the_terminal(height: int) -> None:
    lines = drawn(STATUS, None, View(), height)
    assert len(lines) <= height
    shown = sum(1 for line in lines if any(line.lstrip().startswith(words.words.strip())
                                          for words in graph_rows.lines(STATUS, None)[1:]))  # fmt: skip
    told = [int(line.split()[0]) for line in lines if line.endswith("more lines of graphs do not fit")]
    assert shown + sum(told) in (0, 11, 12)


def test_a_long_argument_is_shortened() -> None:
    words = graph_rows.label(NodeStatus("BPF", "host 10.0.0.1 or " * 20))
    assert len(words) == graph_rows.WORDS_MAX


@pytest.mark.parametrize("width", [110, 150])
def test_in_a_narrow_terminal_words_become_shorter_and_numbers_stay_whole(width: int) -> None:
    node = replace(NODES[1], argument="host 10.0.0.1 or " * 4, came=8_234_567_890, out=7_345_678_901,
                   mbuf_bytes=65_741, reason="it has memory, or calls functions")  # fmt: skip
    before = replace(STATUS, graphs=[replace(GRAPH, nodes=[NODES[0], node])])
    busy = replace(node, came=8_237_035_890, out=7_347_900_901)
    after = replace(
        before, monotonic_ns=before.monotonic_ns + 2 * 10**9, graphs=[replace(GRAPH, nodes=[NODES[0], busy])]
    )
    lines = drawn(after, rates.between(before, after), View(users=False), 40, width=width)
    [line] = [line for line in lines if "└─ (BPF,h" in line]
    assert len(line) <= width and "…" in line
    for number in ("8,237,035,890", "7,347,900,901", "1,234,000", "1,111,000", "64.2 KiB"):
        assert number in line
