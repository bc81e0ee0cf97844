# SPDX-License-Identifier: BSD-3-Clause
"""ffpf top: what ffpfd runs, live in the terminal: sources, users, flows, their rates and drops by cause.

Keys: s and S sort by the next and the previous column, r turns the order round, p holds the picture still, u shows or
hides the users, g the graphs, q ends. What is shown is made of two status documents (rates) by functions that know no
terminal; `Screen` is all that does.
"""

from __future__ import annotations

import contextlib
import os
import select
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pyffpf.cli import graph_rows, rates, tables
from pyffpf.cli.control import Control, ControlError
from pyffpf.cli.graph_rows import Line
from pyffpf.cli.rates import Rate, Rates
from pyffpf.daemon.status import FlowStatus, Status

NO_RATE = Rate(0.0)
LEVEL_STYLES = {"kernel": "green", "worker": "cyan", "userspace": "yellow", "paused": "yellow", "populated": "yellow"}


@dataclass(frozen=True)
class Row:
    """A flow, with its rates: zeros where there are none yet."""

    flow: FlowStatus
    rate: Rate
    known: bool  # the rates are measured

    @property
    def lost(self) -> int:
        return sum(self.flow.dropped.values())

    @property
    def owner(self) -> str:
        return self.flow.user or str(self.flow.uid)


@dataclass(frozen=True)
class Sort:
    key: Callable[[Row], float | str]
    largest_first: bool


SORTS = {
    "delivered/s": Sort(lambda row: row.rate.delivered, True),
    "dropped/s": Sort(lambda row: row.rate.dropped, True),
    "dropped": Sort(lambda row: row.lost, True),
    "seen/s": Sort(lambda row: row.rate.seen, True),
    "waiting": Sort(lambda row: row.flow.waiting, True),
    "user": Sort(lambda row: row.owner, False),
    "program": Sort(lambda row: row.flow.program, False),
    "flow": Sort(lambda row: row.flow.id, False),
}


@dataclass
class View:
    """What the keys change."""

    sort: str = "delivered/s"
    reverse: bool = False
    paused: bool = False
    users: bool = True
    graphs: bool = True
    ended: bool = False

    def key(self, char: str) -> None:
        """A key that means nothing does nothing."""
        names = list(SORTS)
        if char in ("q", "Q", "\x03", "\x04"):
            self.ended = True
        elif char in ("s", "S"):
            self.sort = names[(names.index(self.sort) + (1 if char == "s" else -1)) % len(names)]
        elif char == "r":
            self.reverse = not self.reverse
        elif char == "p":
            self.paused = not self.paused
        elif char == "u":
            self.users = not self.users
        elif char == "g":
            self.graphs = not self.graphs


def rows(status: Status, since: Rates | None, view: View) -> list[Row]:
    """All flows in the view's order; equal ones by their number."""
    found = []
    for flow in sorted(status.flows, key=lambda flow: flow.id):
        rate = since.flows.get(rates.flow_key(flow)) if since else None
        found.append(Row(flow, rate or NO_RATE, rate is not None))
    order = SORTS[view.sort]
    return sorted(found, key=order.key, reverse=order.largest_first != view.reverse)


def users(of: Sequence[Row]) -> list[tuple[str, int, float, float, int]]:
    """Of each user: flows, packets delivered and dropped a second, packets dropped; who gets most comes first."""
    by_name: dict[str, list[Row]] = {}
    for row in of:
        by_name.setdefault(row.owner, []).append(row)
    summed = [
        (name, len(mine), sum(row.rate.delivered for row in mine), sum(row.rate.dropped for row in mine),
         sum(row.lost for row in mine))
        for name, mine in by_name.items()
    ]  # fmt: skip
    return sorted(summed, key=lambda one: (-one[2], one[0]))


def render(status: Status, since: Rates | None, view: View, height: int, trouble: str = "") -> RenderableType:
    """The picture for a terminal of so many lines: flows that do not fit are counted."""
    shown = rows(status, since, view)
    parts: list[RenderableType] = [Text(tables.printable(tables.headline(status)), style="bold"), _keys(view)]
    if trouble:
        parts.append(Text(tables.printable(trouble), style="bold red"))
    left = height - len(parts)
    sources = _source_table(status, since)
    parts.append(sources)
    left -= sources.row_count + 2
    if view.users and shown:
        table = _user_table(shown)
        if left - table.row_count - 2 >= 4:  # the flows matter more
            parts.append(table)
            left -= table.row_count + 2
    graphs = graph_rows.lines(status, since) if view.graphs else []
    graph_room = max(0, (left // 2 if shown else left) - 3)  # with its title, and how many lines are hidden
    left -= min(len(graphs), graph_room) + 3 if graphs and graph_room else 0
    room = max(1, left - 2)
    hidden = max(0, len(shown) - room)
    if hidden:
        hidden = len(shown) - max(1, room - 1)
    parts.append(_flow_table(shown[: len(shown) - hidden], view))
    if hidden:
        parts.append(Text(f"{hidden} more flows do not fit", style="dim"))
    if not shown:
        parts.append(Text("no flows", style="dim"))
    if graphs and graph_room:
        parts.append(_graph_table(graphs[:graph_room], since))
        if len(graphs) > graph_room:
            parts.append(Text(f"{len(graphs) - graph_room} more lines of graphs do not fit", style="dim"))
    return Group(*parts)


def _keys(view: View) -> Text:
    line = Text("  ").join(
        Text.assemble((key, "bold cyan"), " ", words)
        for key, words in (
            ("q", "quit"),
            ("s", f"sort: {view.sort}"),
            ("r", "reverse"),
            ("u", "users"),
            ("g", "graphs"),
            ("p", "pause"),
        )
    )
    if view.paused:
        line.append("  paused", style="bold yellow")
    return line


def _table(*titles: str, left: Sequence[str] = (), sorted_by: str = "") -> Table:
    """Numbers, but for the columns named in left: in a narrow terminal words become shorter, and numbers stay whole."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles:
        words = title in left
        header = Text(title, "bold reverse" if title == sorted_by else "", no_wrap=True, overflow="ellipsis")
        # rich takes what is missing from columns that may wrap; their cells say themselves that they do not
        table.add_column(header, justify="left" if words else "right", no_wrap=not words, overflow="ellipsis")
    return table


def _source_table(status: Status, since: Rates | None) -> Table:
    table = _table("source", "state", "packets", "packets/s", "lost before flows",
                   left=("source", "state", "lost before flows"))  # fmt: skip
    for source in status.sources:
        rate = since.sources.get(rates.source_key(source)) if since else None
        table.add_row(_text(source.name), _text(source.state), tables.count(source.packets), _rate(rate, "seen"),
                      _lost(tables.causes(source.dropped)))  # fmt: skip
    return table


def _user_table(of: Sequence[Row]) -> Table:
    table = _table("user", "flows", "delivered/s", "dropped/s", "dropped", left=("user",))
    for name, flows, delivered, dropped, lost in users(of):
        table.add_row(_text(name), str(flows), f"{delivered:,.0f}", f"{dropped:,.0f}", tables.count(lost))
    return table


def _flow_table(shown: Sequence[Row], view: View) -> Table:
    table = _table("flow", "user", "program", "pid", "source", "level", "state", "seen/s", "delivered/s", "dropped/s",
                   "waiting", "dropped", left=("user", "program", "source", "level", "state", "dropped"),
                   sorted_by=view.sort)  # fmt: skip
    for row in shown:
        flow, rate = row.flow, row.rate if row.known else None
        table.add_row(
            str(flow.id), _text(row.owner), _text(flow.program), str(flow.pid), _text(flow.source), _text(flow.level),
            _text(flow.state, "" if flow.state == "live" else "yellow"), _rate(rate, "seen"), _rate(rate, "delivered"),
            _rate(rate, "dropped", "red"), tables.count(flow.waiting), _lost(tables.causes(flow.dropped)),
        )  # fmt: skip
    return table


def _graph_table(shown: Sequence[Line], since: Rates | None) -> Table:
    table = _table("graph", "where", "in", "out", "in/s", "out/s", "MBuf", "", left=("graph", "where", ""))
    for line in shown:
        seen, let_out = tables.graph_rates(since, line) if since else ("", "")
        table.add_row(
            _text(line.words), _text(line.where, LEVEL_STYLES.get(line.where, "")),
            "" if line.came is None else tables.count(line.came), "" if line.out is None else tables.count(line.out),
            seen, let_out, tables.octets(line.mbuf_bytes) if line.mbuf_bytes else "", _text(line.note, "dim"),
        )  # fmt: skip
    return table


def _text(words: str, style: str = "") -> Text:
    return Text(tables.printable(words), style=style, no_wrap=True, overflow="ellipsis")


def _lost(causes: str) -> Text:
    return _text(causes, "" if causes == tables.NO_VALUE else "red")


def _rate(rate: Rate | None, field: str, style: str = "") -> Text:
    if rate is None:
        return Text(tables.NO_VALUE)
    value = getattr(rate, field)
    return Text(f"{value:,.0f}", style=style if value else "")


class Documents:
    """Status documents, one after the other, over a connection that is made anew when ffpfd was away."""

    def __init__(self, connect: Callable[[], Control], fetch: Callable[[Control], Status]) -> None:
        self._connect = connect
        self._fetch = fetch
        self._control: Control | None = None

    def take(self) -> Status:
        """ControlError when ffpfd is not there, or refuses: the next call tries again."""
        try:
            if self._control is None:
                self._control = self._connect()
            return self._fetch(self._control)
        except ControlError:
            self.close()
            raise

    def close(self) -> None:
        if self._control is not None:
            self._control.__exit__(None, None, None)
            self._control = None


class Screen:
    """The terminal: keys one by one, without echo, and given back as it was."""

    def __init__(self, keyboard: int, output: TextIO) -> None:
        self.keyboard = keyboard
        self.console = Console(file=output)

    @contextlib.contextmanager
    def taken(self) -> Iterator[Live]:
        before = termios.tcgetattr(self.keyboard)
        try:
            tty.setcbreak(self.keyboard, termios.TCSANOW)
            with Live(console=self.console, screen=True, auto_refresh=False) as live:
                yield live
        finally:
            termios.tcsetattr(self.keyboard, termios.TCSANOW, before)

    def keys(self, seconds: float) -> str:
        """The keys that are pressed in that time, as soon as there are some; q when the terminal is gone."""
        ready, _, _ = select.select([self.keyboard], [], [], max(0.0, seconds))
        if not ready:
            return ""
        try:
            pressed = os.read(self.keyboard, 64)
        except OSError:
            return "q"
        if pressed.startswith(b"\x1b"):
            return ""  # an arrow, or another key that sends several octets: none of ours
        return pressed.decode(errors="ignore") if pressed else "q"


def run(documents: Documents, screen: Screen, interval_s: float, view: View) -> None:
    """Until a key ends it. ControlError when ffpfd does not answer at first; later it is waited for."""
    latest, since, trouble = documents.take(), None, ""
    with screen.taken() as live:
        due = time.monotonic() + interval_s
        while not view.ended:
            live.update(render(latest, since, view, screen.console.size.height, trouble), refresh=True)
            for char in screen.keys(due - time.monotonic()):
                view.key(char)
            if time.monotonic() < due:
                continue
            due = time.monotonic() + interval_s
            if view.paused:
                continue
            try:
                later = documents.take()
            except ControlError as error:
                trouble, since = f"{error}; trying again", None
                continue
            trouble, since, latest = "", rates.between(latest, later) if later.pid == latest.pid else None, later
