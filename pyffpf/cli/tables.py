# SPDX-License-Identifier: BSD-3-Clause
"""The tables of `ffpf status`: made as plain cells, shown with rich on a terminal and as aligned text elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pyffpf.cli import graph_rows
from pyffpf.cli.graph_rows import Line
from pyffpf.cli.rates import Rate, Rates, flow_key, group_key, source_key
from pyffpf.daemon.status import SourceStatus, Status

NO_VALUE = "-"


@dataclass(frozen=True)
class Column:
    title: str
    right: bool = False  # numbers


@dataclass(frozen=True)
class Cells:
    """One table before it is shown."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]


def tables(status: Status, rates: Rates | None) -> list[Cells]:
    """Sources, their programs, groups, flows and workers; columns with rates when there are two samples."""
    shown = [_sources(status, rates), _programs(status), _groups(status, rates), _flows(status, rates)]
    return [*shown, _graphs(status, rates), *([_workers(status)] if status.workers else [])]


def headline(status: Status) -> str:
    adopted = f", {status.adoptions} adopted" if status.adoptions else ""
    return (
        f"{status.server}  pid {status.pid}  up {duration(status.uptime_s)}  "
        f"{len(status.sources)} sources, {len(status.groups)} groups, {len(status.flows)} flows  "
        f"holder: {status.holder}{adopted}"
    )


def _kind(source: SourceStatus) -> str:
    """With the hook's form where that is not the best, and why."""
    form = f", {source.form}" if source.form not in ("", "context") else ""
    return source.kind + form + (f" ({source.reason})" if source.reason else "")


def _sources(status: Status, rates: Rates | None) -> Cells:
    columns = [Column("source"), Column("kind"), Column("state"), Column("lanes", True), Column("link type"),
               Column("fetch", True), Column("packets", True), *_rate_columns(rates, "packets/s"),
               Column("lost before flows")]  # fmt: skip
    rows = [
        [source.name, _kind(source), source.state, str(source.lanes), source.link_type_name or str(source.link_type),
         octets(source.fetch_bytes), count(source.packets),
         *_rate_cells(rates, rates.sources.get(source_key(source)) if rates else None, "seen"),
         causes(source.dropped)]
        for source in status.sources
    ]  # fmt: skip
    return Cells("Sources", columns, rows)


def _programs(status: Status) -> Cells:
    columns = [Column("source"), Column("program"), Column("slot", True), Column("instructions", True),
               Column("filters", True)]  # fmt: skip
    rows = [
        [source.name, program.name, str(program.slot) if program.slot >= 0 else "socket", count(program.instructions),
         str(program.filters)]
        for source in status.sources for program in source.programs
    ]  # fmt: skip
    return Cells("Programs", columns, rows)


def _groups(status: Status, rates: Rates | None) -> Cells:
    columns = [Column("source"), Column("group"), Column("bms"), Column("lanes", True), Column("buffer", True),
               Column("flows", True), Column("stored", True), *_rate_columns(rates, "stored/s"),
               Column("moves", True)]  # fmt: skip
    rows = [
        [group.source, group.name or str(group.gid), group.bms, str(group.lanes), octets(group.buffer_bytes),
         str(group.flows), count(group.records),
         *_rate_cells(rates, rates.groups.get(group_key(group)) if rates else None, "seen"), str(group.moves)]
        for group in status.groups
    ]  # fmt: skip
    return Cells("Groups", columns, rows)


def _graphs(status: Status, rates: Rates | None) -> Cells:
    """Drawn as trees: the nodes of flows that are graphs."""
    columns = [Column("graph"), Column("where"), Column("in", True), Column("out", True),
               *_rate_columns(rates, "in/s", "out/s"), Column("MBuf", True), Column("")]  # fmt: skip
    rows = [
        [line.words, line.where, _count(line.came), _count(line.out),
         *(graph_rates(rates, line)), octets(line.mbuf_bytes) if line.mbuf_bytes else "", line.note]
        for line in graph_rows.lines(status, rates)
    ]  # fmt: skip
    return Cells("Graphs", columns, rows)


def graph_rates(rates: Rates | None, line: Line) -> list[str]:
    """What came and went in a second; nothing where nobody counts."""
    if rates is None:
        return []
    seen, let_out = (f"{line.rate.seen:,.0f}", f"{line.rate.delivered:,.0f}") if line.rate else (NO_VALUE, NO_VALUE)
    return [seen if line.came is not None else "", let_out if line.out is not None else ""]


def _count(number: int | None) -> str:
    return "" if number is None else count(number)


def _workers(status: Status) -> Cells:
    """What runs the nodes that only userspace can run."""
    columns = [Column("group"), Column("pid", True), Column("flows", True), Column("nodes", True),
               Column("CPU s", True)]  # fmt: skip
    rows = [
        [worker.group or str(worker.gid), str(worker.pid), str(worker.flows), str(worker.nodes), f"{worker.cpu_s:.2f}"]
        for worker in status.workers
    ]
    return Cells("Workers", columns, rows)


def _flows(status: Status, rates: Rates | None) -> Cells:
    columns = [Column("flow", True), Column("source"), Column("group"), Column("user"), Column("pid", True),
               Column("program"), Column("level"), Column("state"), Column("seen", True), Column("filtered", True),
               Column("delivered", True), *_rate_columns(rates, "delivered/s", "dropped/s"), Column("waiting", True),
               Column("dropped")]  # fmt: skip
    rows = []
    for flow in status.flows:
        level = flow.level if not flow.reason else f"{flow.level} ({flow.reason})"
        rate = rates.flows.get(flow_key(flow)) if rates else None
        rows.append(
            [str(flow.id), flow.source, flow.group or str(flow.gid), flow.user or str(flow.uid), str(flow.pid),
             flow.program, level, flow.state, count(flow.seen), count(flow.filtered), count(flow.delivered),
             *_rate_cells(rates, rate, "delivered", "dropped"), count(flow.waiting), causes(flow.dropped)]
        )  # fmt: skip
    return Cells("Flows", columns, rows)


def _rate_columns(rates: Rates | None, *titles: str) -> list[Column]:
    return [Column(title, True) for title in titles] if rates else []


def _rate_cells(rates: Rates | None, rate: Rate | None, *fields: str) -> list[str]:
    if rates is None:
        return []
    return [f"{getattr(rate, field):,.0f}" if rate else NO_VALUE for field in fields]


def causes(dropped: Mapping[str, int]) -> str:
    """Drops by cause, those that happened: "pbuf 12, ibuf 3"."""
    return ", ".join(f"{cause} {count(number)}" for cause, number in sorted(dropped.items()) if number) or NO_VALUE


def count(number: int) -> str:
    return f"{number:,}"


def octets(number: int) -> str:
    """With a binary unit where that is exact enough to be read: "64 MiB", "1.5 GiB"."""
    size, units = float(number), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.1f}".removesuffix(".0") + f" {units[0]}"


def duration(seconds: float) -> str:
    whole = int(seconds)
    days, rest = divmod(whole, 86400)
    hours, minutes, left = rest // 3600, rest % 3600 // 60, rest % 60
    return f"{days}d {hours:02}:{minutes:02}:{left:02}" if days else f"{hours:02}:{minutes:02}:{left:02}"


def plain(status: Status, rates: Rates | None) -> Iterator[str]:
    """Lines of aligned text."""
    yield printable(headline(status))
    for cells in tables(status, rates):
        if cells.rows:
            yield ""
            yield from plain_cells(cells)


def plain_cells(cells: Cells) -> Iterator[str]:
    """One table as lines of aligned text, its title first."""
    yield cells.title
    grid = [[column.title for column in cells.columns], *([printable(cell) for cell in row] for row in cells.rows)]
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    for row in grid:
        padded = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(row, widths, cells.columns, strict=True)
        ]
        yield "  ".join(padded).rstrip()


def rich(status: Status, rates: Rates | None) -> RenderableType:
    """The same for a terminal."""
    shown = [rich_cells(cells) for cells in tables(status, rates) if cells.rows]
    return Group(Text(printable(headline(status)), style="bold"), *shown)


def rich_cells(cells: Cells) -> RenderableType:
    table = Table(title=cells.title, title_justify="left", header_style="bold", expand=False)
    for column in cells.columns:
        table.add_column(column.title, justify="right" if column.right else "left")
    for row in cells.rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def printable(text: str) -> str:
    """Names come from other users' programs: nothing in them may steer a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)
