# SPDX-License-Identifier: BSD-3-Clause
"""The figures of a run: read from the tables that the benchmarks print, kept in a history, compared.

A table is Markdown, as measure.table makes it. A figure is a cell that begins with a number: "48.3 [48.2..51.3]"
(median, and the quartiles in brackets), "1,234" or "3.2 us". It is named by its benchmark, the number of its table in
that, the row's first cell and those left of its first figure, and the column.

The history is a file of one JSON document a line, one for each run:

    {"time": seconds since 1970, "machine": text, "commit": text, "quick": true or false,
     "load": [load average at the start, at the end],
     "figures": [[benchmark, table, row, column, median, low, high], ...]}

Lines without "quick" and "load" are of runs before these were kept: no quick ones, of unknown load.
"""

from __future__ import annotations

import itertools
import json
import re
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NUMBER = r"-?\d[\d,]*(?:\.\d+)?"
CELL = re.compile(rf"({NUMBER})(?: \[({NUMBER})\.\.({NUMBER})\])?(?: ?(?:%|[a-zµA-Z/]+))?")
RULE = re.compile(r"\|[-|]+\|")
KEPT = (
    "insns",
    "octets",
    "readers",
    "place",
    "depth",
    "filters",
    "patterns",
    "flows",
    "tcpdumps",
)  # numbers that name a row


@dataclass(frozen=True)
class Name:
    """Which figure: see the module."""

    bench: str
    table: int
    row: str
    column: str

    def __str__(self) -> str:
        return f"{self.bench} {self.table}, {self.row or '(row)'}: {self.column}"


@dataclass(frozen=True)
class Figure:
    """Median and quartiles; where a cell has no quartiles, low and high are the median."""

    name: Name
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Run:
    """All figures of one run. time: seconds since 1970; machine: processors and kernel, what must be the same for
    figures to be comparable; quick: with the short options, which measure other things; load: averages of a minute, at
    the start and at the end; None: unknown."""

    time: float
    machine: str
    commit: str
    figures: tuple[Figure, ...]
    quick: bool = False
    load: tuple[float, float] | None = None

    def line(self) -> str:
        rows = [
            [one.name.bench, one.name.table, one.name.row, one.name.column, one.median, one.low, one.high]
            for one in self.figures
        ]
        said: dict[str, object] = {"time": self.time, "machine": self.machine, "commit": self.commit}
        said |= {"quick": self.quick} | ({"load": self.load} if self.load else {})
        return json.dumps(said | {"figures": rows})

    @classmethod
    def of(cls, line: str) -> Run:
        """ValueError for what is no line of a history."""
        try:
            said = json.loads(line)
            figures = tuple(Figure(Name(*row[:4]), *row[4:]) for row in said["figures"])
            load = said.get("load")
            known = (float(load[0]), float(load[1])) if load else None
            return cls(said["time"], said["machine"], said["commit"], figures, said.get("quick", False), known)
        except (KeyError, IndexError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"no run of benchmarks: {error}") from error


def number(text: str) -> float:
    return float(text.replace(",", ""))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def titles(output: str) -> list[str]:
    """The line above each table in a benchmark's output that has words; "" where there is none."""
    found, last = [], ""
    lines = output.splitlines()
    for at, line in enumerate(lines):
        if at and is_rule(lines, at):
            found.append(last)
        elif line.strip() and not line.startswith("|"):
            last = line.strip(" #")
    return found


def is_rule(lines: Sequence[str], at: int) -> bool:
    """Between the header of a table and its rows."""
    return bool(RULE.fullmatch(lines[at].strip())) and lines[at - 1].startswith("|")


def tables(output: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Header and rows of each table in a benchmark's output."""
    lines = output.splitlines()
    for at in range(len(lines)):
        if at and is_rule(lines, at):
            rows = []
            for row in lines[at + 1 :]:
                if not row.startswith("|"):
                    break
                rows.append(cells(row))
            yield cells(lines[at - 1]), rows


def read(bench: str, output: str) -> list[Figure]:
    """The figures of one benchmark. Rows that would have one name are numbered."""
    found = []
    for number_of, (header, rows) in enumerate(tables(output), 1):
        names: Counter[str] = Counter()
        for row in rows:
            if len(row) != len(header):
                continue
            values = [CELL.fullmatch(cell) for cell in row]
            names_it = [not at or value is None or header[at] in KEPT for at, value in enumerate(values)]
            label = ", ".join(
                cell for cell, _ in itertools.takewhile(lambda two: two[1], zip(row, names_it, strict=True))
            )
            names[label] += 1
            label += f" ({names[label]})" if names[label] > 1 else ""
            for column, value, naming in zip(header, values, names_it, strict=True):
                if value is None or naming:
                    continue
                median = number(value[1])
                low, high = (number(value[2]), number(value[3])) if value[2] else (median, median)
                found.append(Figure(Name(bench, number_of, label, column), median, low, high))
    return found


def history(path: Path) -> list[Run]:
    """All runs, oldest first; a file that is not there has none. ValueError for a line that is no run."""
    if not path.exists():
        return []
    return [Run.of(line) for line in path.read_text().splitlines() if line]


def keep(path: Path, run: Run) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(run.line() + "\n")


@dataclass(frozen=True)
class Change:
    """A figure that both runs have. apart: the quartiles of the two do not meet."""

    name: Name
    before: Figure
    now: Figure

    @property
    def ratio(self) -> float | None:
        return self.now.median / self.before.median if self.before.median else None

    @property
    def apart(self) -> bool:
        return self.now.low > self.before.high or self.now.high < self.before.low


def earlier(runs: Sequence[Run]) -> dict[Name, tuple[Figure, Run]]:
    """What the last run is compared with: of each of its figures the one before, on the same machine and of the same
    kind of run, as long ago as it is. A run of some benchmarks so hides nothing of the runs before it."""
    if not runs:
        return {}
    now = runs[-1]
    wanted = {one.name for one in now.figures}
    found: dict[Name, tuple[Figure, Run]] = {}
    for run in runs[:-1]:
        if (run.machine, run.quick) == (now.machine, now.quick):
            found |= {one.name: (one, run) for one in run.figures if one.name in wanted}
    return found


def changes(before: Mapping[Name, tuple[Figure, Run]], now: Run) -> list[Change]:
    """In the order of the later run."""
    return [Change(one.name, before[one.name][0], one) for one in now.figures if one.name in before]


def large(found: Sequence[Change], least: float) -> list[Change]:
    """Those whose median is another by that share at least (0.1: a tenth), and whose quartiles do not meet."""
    return [change for change in found if change.apart and change.ratio is not None and abs(change.ratio - 1) >= least]


def drift(found: Sequence[Change]) -> float | None:
    """The median ratio of all: what the machine itself did, rather than one change of the code."""
    ratios = [change.ratio for change in found if change.ratio is not None]
    return statistics.median(ratios) if ratios else None
