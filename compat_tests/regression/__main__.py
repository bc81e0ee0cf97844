# SPDX-License-Identifier: BSD-3-Clause
"""Runs the regression matrix: `python -m compat_tests.regression`, as root.

Without options the quick part: the project's captures once, at one rate, in every engine. --all: each capture there is,
at three rates. Exit code 0: nothing differs; 1: something does, and the report tells what; 2: a wrong option.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from compat_tests import harness
from compat_tests.regression import report, tools, traffic
from compat_tests.regression.cell import Cell, Verdict, run_cell
from compat_tests.regression.engines import ENGINES
from compat_tests.regression.journal import Journal
from compat_tests.regression.report import Result
from compat_tests.regression.tools import TOOLS, Tool

QUICK_PPS = 1500
ALL_PPS = (500, 5_000, 50_000)
GROUP_PACKETS = 3000  # of the long run: as many captures at a time
NOTHING: Mapping[Cell, Sequence[Verdict]] = {}


def plan(folder: Path, everything: bool, engines: Sequence[str]) -> tuple[list[Cell], dict[str, str]]:
    """The cells of a run, and why captures are in none; captures that are made lie in the folder."""
    groups, rates = traffic.families(folder), [QUICK_PPS]
    left_out: dict[str, str] = {}
    if everything:
        shared, left_out = traffic.shared()
        groups += traffic.in_groups("shared captures", shared, GROUP_PACKETS)
        rates = list(ALL_PPS)
    return [Cell(group, pps, engine) for engine in engines for group in groups for pps in rates], left_out


def suits(tool: Tool, cell: Cell) -> bool:
    """Whether what the tool makes of that cell can be compared."""
    return (cell.group.whole or not tool.whole) and (ENGINES[cell.engine].interface or not tool.asks)


def run(
    cells: Sequence[Cell], chosen: Sequence[Tool], known: Mapping[Cell, Sequence[Verdict]] = NOTHING
) -> Iterator[tuple[Cell, list[Verdict]]]:
    """One cell after the other, with all its verdicts; what is known of it is not run again."""
    for cell in cells:
        verdicts = [verdict for verdict in known.get(cell, ()) if verdict.tool in {tool.name for tool in chosen}]
        done = {verdict.tool for verdict in verdicts}
        left = [tool for tool in chosen if suits(tool, cell) and not tool.missing and tool.name not in done]
        if left:
            verdicts += run_cell(cell, left)
        yield cell, verdicts


@contextlib.contextmanager
def progress(cells: int) -> Iterator[Callable[[Cell, Sequence[Verdict]], None]]:
    """To be told of each cell. A bar on standard error when that is a terminal, else a line for each cell; what is not
    the same is printed at once."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=cells)

        def told(cell: Cell, found: Sequence[Verdict]) -> None:
            bar.update(task, advance=1, description=str(cell))
            if bar.disable:
                done = bar.tasks[task].completed
                print(f"{done:.0f}/{cells} {cell}: {report.counted(found)}", file=sys.stderr, flush=True)
            for verdict in found:
                if not verdict.good:
                    bar.console.print(report.story(verdict), markup=False, highlight=False, soft_wrap=True)

        yield told


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m compat_tests.regression", description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="every capture, at three rates: an hour or so")
    parser.add_argument("--engine", action="append", choices=list(ENGINES), help="this one alone; may be repeated")
    parser.add_argument("--tool", action="append", metavar="NAME", help="this one alone; may be repeated")
    parser.add_argument("--first", action="store_true", help="end with the first cell that is not right")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="where report.txt and report.html go")
    parser.add_argument("--resume", action="store_true", help="go on with the run whose report is in that folder")
    args = parser.parse_args()
    if args.resume and not args.report:
        parser.error("--resume needs --report")
    try:
        args.tools = tools.named(args.tool) if args.tool else list(TOOLS)
    except ValueError as error:
        parser.error(str(error))
    return args


def main() -> int:
    args = arguments()
    with contextlib.ExitStack() as stack:
        cells, left_out = plan(stack.enter_context(harness.scratch()), args.all, args.engine or list(ENGINES))
        told = stack.enter_context(progress(len(cells)))
        result = Result([], [tool.name for tool in args.tools if tool.missing], 0.0, left_out)
        journal = stack.enter_context(Journal(args.report / "verdicts.jsonl", args.resume)) if args.report else None
        begun = time.monotonic() - (journal.seconds if journal else 0.0)
        for cell, found in run(cells, args.tools, journal.of(cells) if journal else NOTHING):
            told(cell, found)
            result = replace(result, verdicts=[*result.verdicts, *found], seconds=time.monotonic() - begun)
            if journal:
                journal.add(found, result.seconds)
                report.write(result, args.report)
            if args.first and result.bad:
                break
    print(result.summary())
    return 1 if result.bad or not result.verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
