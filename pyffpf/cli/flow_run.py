# SPDX-License-Identifier: BSD-3-Clause
"""What ffpf-flow does while flows run: lets packets pass in slices, follows a node, and listens to signals between."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from types import FrameType
from typing import TextIO

from pyffpf.cli import flow_follow, flow_show
from pyffpf.cli.flow_progress import Progress
from pyffpf.errors import FfpfError, NotSupported
from pyffpf.flow import Flow
from pyffpf.flow_node import Node, Readable
from pyffpf.graph import Graph
from pyffpf.remote_graph import RemoteGraph

SLICE_S = 0.1  # between two looks at signals and at the clock
SLICE_PACKETS = 65536  # offline, between two looks at the progress


class NoSuchNodeError(Exception):
    """--follow or --mbuf names nothing."""


class EndError(BaseException):
    """A signal ends the run: raised in the main thread, wherever it waits."""


def find_node(flows: list[Flow], words: str, option: str = "--follow") -> Readable:
    """A flow, FLOW.NAME, FLOW.NUMBER, or a name that one flow knows."""
    for flow in flows:
        if words == flow.name:
            return flow
    owner, _, rest = words.partition(".")
    among = [flow for flow in flows if not rest or flow.name == owner]
    sought = rest or owner
    found = [
        node
        for flow in among
        for node in flow.nodes
        if sought == (str(node.number) if rest and sought.isdecimal() else node.name) and (node.class_name or rest)
    ]
    if len(found) == 1:
        return found[0]
    known = [flow.name for flow in flows]
    known += [f"{flow.name}.{node.name or node.number}" for flow in flows for node in flow.nodes]
    problem = "is in several flows" if found else "is no node"
    raise NoSuchNodeError(f"{option}: {words!r} {problem}; there are {', '.join(known)}")


def with_mbufs(flows: list[Flow], named: list[str]) -> set[tuple[str, int]]:
    """The nodes of --mbuf: names of their flows, and positions. A flow stands for its last node."""
    found = set()
    for words in named:
        node = find_node(flows, words, "--mbuf")
        if isinstance(node, Flow):
            node = node[-1]
        assert isinstance(node, Node)
        try:
            _ = node.mbuf
        except NotSupported as error:
            raise NoSuchNodeError(f"--mbuf: {words!r}: {error}") from error
        found.add((node.flow.name, node.number))
    return found


class Asked:
    """SIGUSR1 asks for results, SIGUSR2 to pause and to go on: heard from the first moment on, since unheard they would
    end the process."""

    def __init__(self) -> None:
        self.now = False
        self.paused = False
        signal.signal(signal.SIGUSR1, self._ask)
        signal.signal(signal.SIGUSR2, self._toggle)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.now = True

    def _toggle(self, number: int, frame: FrameType | None) -> None:
        self.paused = not self.paused


class Run:
    """One run of the flows, from activation to the results."""

    def __init__(self, args: argparse.Namespace, graph: Graph, flows: list[Flow], asked: Asked) -> None:
        self._args = args
        self._graph = graph
        self._flows = flows
        self._followed = find_node(flows, args.follow) if args.follow else None
        self._mbufs = with_mbufs(flows, args.mbuf)
        self._asked = asked
        self._packets = 0
        self._began = time.monotonic()
        self._shown_at = self._began
        self._results: TextIO = sys.stderr if self._followed else sys.stdout

    def run(self) -> None:
        """Until the devices end, the count or the time is reached, or a signal says so."""
        before = {number: signal.signal(number, self._end) for number in (signal.SIGINT, signal.SIGTERM)}
        writer = self._writer()
        try:
            for flow in self._flows:
                flow.activate()
            if self._followed:
                self._followed.begin()
            with Progress(self._flows, hidden=self._args.quiet or self._output_is_terminal()) as progress:
                while self._slice(writer, progress):
                    pass
        except EndError:
            pass
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if writer:
                writer.close()
        self._stand_still()
        if not self._args.quiet:
            self._show()

    def _stand_still(self) -> None:
        """In ffpfd packets come while results are asked for: of nodes that are paused they agree, and with the picture.
        Who cannot be paused any more stands still."""
        if not isinstance(self._graph, RemoteGraph):
            return
        for flow in self._flows:
            with contextlib.suppress(FfpfError):
                if flow.state == "active":
                    flow.pause()

    def _output_is_terminal(self) -> bool:
        return self._followed is not None and sys.stdout.isatty()

    def _writer(self) -> flow_follow.Writer | None:
        if not self._followed:
            return None
        return flow_follow.writer(self._args.format, sys.stdout.buffer)

    def _slice(self, writer: flow_follow.Writer | None, progress: Progress) -> bool:
        """Some packets; False: it is over."""
        left = self._left()
        if left is not None and left <= 0:
            return False
        wait = SLICE_S if left is None else min(SLICE_S, left)
        if self._stands_still():
            time.sleep(wait)
            self._show_when_due()
            return True
        goes_on = self._follow(writer, wait) if writer else self._count(wait)
        progress.update(self._packets)
        self._show_when_due()
        return goes_on

    def _stands_still(self) -> bool:
        """Pauses the flows, or lets them go on, as was asked."""
        for flow in self._flows:
            if self._asked.paused and flow.state == "active":
                flow.pause()
            elif not self._asked.paused and flow.state == "paused":
                flow.activate()
        return self._asked.paused

    def _follow(self, writer: flow_follow.Writer, wait: float) -> bool:
        assert self._followed is not None
        room = self._args.count - self._packets if self._args.count else flow_follow.BATCH_ROWS
        batch = self._followed.read_batch(min(room, flow_follow.BATCH_ROWS), timeout=wait)
        if batch is None:
            return False
        writer.write(batch)
        self._packets += len(batch)
        return not self._args.count or self._packets < self._args.count

    def _count(self, wait: float) -> bool:
        most = 0 if isinstance(self._graph, RemoteGraph) else SLICE_PACKETS  # ffpfd is asked only if it matters
        if self._args.count:
            most = min(SLICE_PACKETS, self._args.count - self._packets)
        ran = self._graph.run(most, wait)
        self._packets += ran.packets
        return not ran.ended and (not self._args.count or self._packets < self._args.count)

    def _left(self) -> float | None:
        """Seconds until the run ends, or the next results are due."""
        if self._args.seconds is None:
            return None
        return float(self._args.seconds - (time.monotonic() - self._began))

    def _show_when_due(self) -> None:
        now = time.monotonic()
        if self._args.every and now - self._shown_at >= self._args.every:
            self._shown_at = now
            self._asked.now = True
        if self._asked.now:
            self._asked.now = False
            self._show()

    def _show(self) -> None:
        elapsed = time.monotonic() - self._began
        flow_show.show_results(
            self._graph, self._flows, elapsed, self._results, as_json=self._args.json, mbufs=self._mbufs
        )

    def _end(self, number: int, frame: FrameType | None) -> None:
        raise EndError
