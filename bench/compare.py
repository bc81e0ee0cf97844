# SPDX-License-Identifier: BSD-3-Clause
"""`python -m bench.compare`: the last run of the history beside the one before it on the same machine.

Shown are the figures that became others by a tenth at least (`--least`), and whose quartiles do not meet: whether more
is better depends on the figure. Runs must have benchmarks in common. Exit code 0, also where something became slower:
machines are shared, and a person judges.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from bench import figures, measure
from bench.figures import Change, Run

HISTORY = measure.ROOT / "build" / "bench" / "history.jsonl"


def pair(runs: list[Run]) -> tuple[Run, Run] | None:
    """The last run, and the one before it on the same machine that has a figure in common with it."""
    if not runs:
        return None
    now = runs[-1]
    for before in reversed(runs[:-1]):
        if before.machine == now.machine and figures.changes(before, now):
            return before, now
    return None


def row(change: Change) -> list[str]:
    def shown(value: float, low: float, high: float) -> str:
        return f"{value:g} [{low:g}..{high:g}]"

    before, now = change.before, change.now
    ratio = f"{change.ratio:.2f}" if change.ratio is not None else ""
    return [
        str(change.name),
        shown(before.median, before.low, before.high),
        shown(now.median, now.low, now.high),
        ratio,
    ]


def when(run: Run) -> str:
    return f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(run.time))} ({run.commit})"


def report(runs: list[Run], least: float) -> str:
    """What is printed; says so when there is nothing to compare."""
    found = pair(runs)
    if found is None:
        return "nothing to compare: `make bench` has not run twice on this machine"
    before, now = found
    all_of = figures.changes(before, now)
    others = figures.large(all_of, least)
    lines = [f"{when(now)} beside {when(before)}, {now.machine}"]
    drift = figures.drift(all_of)
    if drift is not None:
        lines.append(f"{len(all_of)} figures in common; the median ratio of all is {drift:.2f}")
    if others:
        table = measure.table(["figure", "before", "now", "now/before"], [row(change) for change in others])
        lines += ["", table]
    else:
        lines.append(f"none became another by {least:.0%} or more beyond its quartiles")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description="Compares the last two runs.")
    parser.add_argument("--history", type=Path, default=HISTORY, help="default: %(default)s")
    parser.add_argument("--least", type=float, default=0.1, help="share by which a median must differ")
    args = parser.parse_args()
    try:
        print(report(figures.history(args.history), args.least))
    except ValueError as error:
        print(f"{args.history}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
