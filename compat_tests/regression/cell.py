# SPDX-License-Identifier: BSD-3-Clause
"""One cell of the matrix: a group of captures, a rate and an engine, all tools at once, each beside itself on stock.

Both runs of a tool see the same packets at the same time, stamped once, in a namespace of the cell's own. So they must
leave the same octets behind: packets, their order, their times, and what the tool says of its statistics. At rates at
which stock loses packets that cannot be asked, and how much each saw is in the report; FFPF alone may lose none.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from compat_tests import harness, live
from compat_tests.harness import Outcome, Run
from compat_tests.netns import Netns
from compat_tests.regression import decode, measure
from compat_tests.regression.engines import ENGINES, Served
from compat_tests.regression.measure import Measured
from compat_tests.regression.tools import Tool
from compat_tests.regression.traffic import MTU, Group

END_S = 30  # until a tool that was asked to end has ended
LOST = re.compile(rb"(\d+) packets? dropped by kernel|packets dropped by libpcap: (\d+)|^(\d+) packets? dropped", re.M)
SAME, LOSSES, DIFFERENT, FAILED = VERDICTS = ("same", "losses", "different", "failed")


@dataclass(frozen=True)
class Cell:
    """What is replayed, how fast (packets a second), and who serves FFPF's side."""

    group: Group
    pps: int
    engine: str

    def __str__(self) -> str:
        return f"{self.group.name} at {self.pps} packets/s, {self.engine}"


@dataclass(frozen=True)
class Verdict:
    """What became of one tool in one cell. detail: what differs, empty when nothing does; decoded: that packet."""

    cell: Cell
    tool: str
    verdict: str
    stock: Measured
    ffpf: Measured
    detail: str = ""
    decoded: str = ""
    repeat: str = ""

    @property
    def good(self) -> bool:
        return self.verdict in (SAME, LOSSES)


@dataclass
class Pair:
    """A tool on stock and on FFPF. left: the interface that stock captures on. failed: why nothing can be compared."""

    tool: Tool
    left: str
    runs: list[Run]
    outcomes: list[Outcome]
    failed: str = ""

    def attempt(self, step: Callable[[], None]) -> None:
        if not self.failed:
            try:
                step()
            except AssertionError as error:
                self.failed = str(error)


def run_cell(cell: Cell, tools: Sequence[Tool]) -> Iterator[Verdict]:
    """Runs it; a verdict for each tool.

    A tool whose runs differ is run once more, alone: most do not say what they lost, on stock either, and where they
    lose because all want the processors at once they do not then. What differs twice differs; what did once is told.
    """
    for verdict in run_once(cell, tools):
        if verdict.verdict != DIFFERENT:
            yield verdict
            continue
        (again,) = run_once(cell, [tool for tool in tools if tool.name == verdict.tool])
        if again.verdict == SAME:
            again = dataclasses.replace(again, detail=f"not in a first run: {verdict.detail}")
        yield again


def run_once(cell: Cell, tools: Sequence[Tool]) -> Iterator[Verdict]:
    with Netns(MTU) as ns, live.kernel_stamps(), ENGINES[cell.engine](ns) as served, ExitStack() as stack:
        pairs = [started(ns, tool, served, stack) for tool in tools]
        wait_all(ns, pairs)
        cell.group.replay(ns, cell.pps)
        time.sleep(live.SETTLE_S)
        for pair in pairs:
            for run in pair.runs:
                if pair.tool.case.stop is not None:
                    run.signal(pair.tool.case.stop)
        for pair in pairs:
            pair.attempt(lambda pair=pair: pair.outcomes.extend(run.finish(END_S) for run in pair.runs))  # type: ignore[misc]
    for pair in pairs:
        yield judged(cell, pair, served)


def started(ns: Netns, tool: Tool, served: Served, stack: ExitStack) -> Pair:
    argv = tuple(word.replace("{left}", served.device or ns.left) for word in tool.case.argv)
    ours = dataclasses.replace(tool.case, argv=argv)
    runs = [live.start(ns, tool.case, tool.case.stock), live.start(ns, ours, harness.FFPF, served.env)]
    for run in runs:
        stack.callback(run.discard)
    return Pair(tool, ns.left, runs, [])


def wait_all(ns: Netns, pairs: Sequence[Pair]) -> None:
    """Until every tool captures; those that say nothing have so long after their socket, or ffpfd's flow, is there."""
    for pair in pairs:
        for run in pair.runs:
            pair.attempt(lambda pair=pair, run=run: live.wait_ready(run, pair.tool.case.ready))  # type: ignore[misc]
    silent = [pair for pair in pairs if not pair.tool.case.ready]
    if silent:
        live.wait_sockets(ns, len(pairs))
        time.sleep(4 * live.READY_S)


def judged(cell: Cell, pair: Pair, served: Served) -> Verdict:
    tool = pair.tool
    if pair.failed:
        nothing = Measured()
        return Verdict(cell, tool.name, FAILED, nothing, nothing, pair.failed)
    for outcome in pair.outcomes:
        tool.prepared(outcome)
    stock, ffpf = pair.outcomes
    if served.device:
        called(ffpf, served.device, pair.left)
    sizes = (measure.measured(stock), measure.measured(ffpf))
    verdict = Verdict(cell, tool.name, SAME, *sizes, repeat=f"{stock.repeat}\n{ffpf.repeat}")
    expect = dataclasses.replace(tool.case.expect, engine=served.kind)
    try:
        harness.assert_served(ffpf, expect)
    except AssertionError as error:
        return dataclasses.replace(verdict, verdict=FAILED, detail=str(error))
    found = harness.differences(stock, ffpf, expect.normalise)
    if not found:
        return verdict
    losses = [lost(outcome) for outcome in (stock, ffpf)]
    words = f"lost on stock: {losses[0]}, on ffpf: {losses[1]}"
    if losses[0]:
        return dataclasses.replace(verdict, verdict=LOSSES, detail=words)
    decoded = decode.first_difference(stock, ffpf, cell.group)
    return dataclasses.replace(verdict, verdict=DIFFERENT, detail="\n".join([words, *found]), decoded=decoded)


def called(outcome: Outcome, device: str, name: str) -> None:
    """Puts another name of that length in the device's place wherever the tool has written it."""
    outcome.stdout, outcome.stderr, *contents = (
        content.replace(device.encode(), name.encode())
        for content in (outcome.stdout, outcome.stderr, *outcome.files.values())
    )
    outcome.files = dict(zip(outcome.files, contents, strict=True))


def lost(outcome: Outcome) -> int:
    """Packets that this run itself says it lost."""
    said = sum(int(number) for found in LOST.findall(outcome.stdout + outcome.stderr) for number in found if number)
    return said + outcome.total("dropped")
