# SPDX-License-Identifier: BSD-3-Clause
"""Runs the regression matrix: `python -m compat_tests.regression`, as root.

Without options the quick part: the project's captures once, at one rate, in every engine. --all: each capture there is,
at three rates. Exit code 0: nothing differs; 1: something does, and the report tells what; 2: a wrong option.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from compat_tests import harness
from compat_tests.regression import report, tools, traffic
from compat_tests.regression.cell import Cell, Verdict, run_cell
from compat_tests.regression.engines import ENGINES
from compat_tests.regression.report import Result
from compat_tests.regression.tools import TOOLS, Tool

QUICK_PPS = 1500
ALL_PPS = (500, 5_000, 50_000)
GROUP_PACKETS = 3000  # of the long run: as many captures at a time


def plan(folder: Path, everything: bool, engines: Sequence[str]) -> list[Cell]:
    """The cells of a run; captures that are made lie in the folder."""
    groups, rates = traffic.families(folder), [QUICK_PPS]
    if everything:
        groups = [traffic.Group(one.name, (one,)) for group in groups for one in group.captures]
        groups += traffic.in_groups("shared captures", traffic.shared(), GROUP_PACKETS)
        rates = list(ALL_PPS)
    return [Cell(group, pps, engine) for engine in engines for group in groups for pps in rates]


def suits(tool: Tool, cell: Cell) -> bool:
    """Whether what the tool makes of that cell can be compared."""
    return (cell.group.whole or not tool.whole) and not (cell.engine == "ixp" and tool.asks)


def run(cells: Sequence[Cell], chosen: Sequence[Tool], told: Callable[[Verdict], None]) -> Result:
    """All cells, one after the other; told is called with each verdict as it comes."""
    begun = time.monotonic()
    present = [tool for tool in chosen if not tool.missing]
    verdicts = []
    for cell in cells:
        for verdict in run_cell(cell, [tool for tool in present if suits(tool, cell)]):
            told(verdict)
            verdicts.append(verdict)
    missing = [tool.name for tool in chosen if tool.missing]
    return Result(verdicts, missing, time.monotonic() - begun)


def with_progress(cells: Sequence[Cell], chosen: Sequence[Tool]) -> Result:
    """The same, with a bar on standard error when that is a terminal; what is not the same is printed at once."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=len(cells) * sum(not tool.missing for tool in chosen))

        def told(verdict: Verdict) -> None:
            progress.update(task, advance=1, description=str(verdict.cell))
            if not verdict.good:
                progress.console.print(report.story(verdict), markup=False, highlight=False)

        return run(cells, chosen, told)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m compat_tests.regression", description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="every capture, at three rates: an hour or so")
    parser.add_argument("--engine", action="append", choices=list(ENGINES), help="this one alone; may be repeated")
    parser.add_argument("--tool", action="append", metavar="NAME", help="this one alone; may be repeated")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="where report.txt and report.html go")
    args = parser.parse_args()
    try:
        args.tools = tools.named(args.tool) if args.tool else list(TOOLS)
    except ValueError as error:
        parser.error(str(error))
    return args


def main() -> int:
    args = arguments()
    with harness.scratch() as folder:
        result = with_progress(plan(folder, args.all, args.engine or list(ENGINES)), args.tools)
    if args.report:
        args.report.mkdir(parents=True, exist_ok=True)
        (args.report / "report.txt").write_text(report.text(result))
        (args.report / "report.html").write_text(report.page(result))
        print(f"written: {args.report / 'report.txt'}, {args.report / 'report.html'}")
    print(result.summary())
    return 1 if result.bad or not result.verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
