# SPDX-License-Identifier: BSD-3-Clause
"""`python -m bench.compare`: the last run of the history beside what ran before it on the same machine.

A machine is its processors, their model and the kernel; quick runs are compared with quick ones. Each figure stands
beside the last one before it, whichever run that was in. Shown are those that became others by a tenth at least
(`--least`), and whose quartiles do not meet: whether more is better depends on the figure.

Exit code 0, also where something became slower, or where there is nothing to compare: machines are shared, and a person
judges. With `--exit-code` it is 3 where a figure is shown. 1: the history cannot be read; 2: wrong options.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from bench import figures, measure
from bench.figures import Change, Run

HISTORY = measure.ROOT / "build" / "bench" / "history.jsonl"


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
    load = f", load average {run.load[0]:.1f} to {run.load[1]:.1f}" if run.load else ""
    return f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(run.time))} ({run.commit}{load})"


def compared(runs: list[Run], least: float) -> tuple[str, bool]:
    """What is printed, which says so when there is nothing to compare; and whether a figure became another."""
    before = figures.earlier(runs)
    if not before:
        return "nothing to compare: `make bench` has not run twice on this machine", False
    now = runs[-1]
    peers = sorted({run.time: run for _, run in before.values()}.values(), key=lambda run: run.time, reverse=True)
    all_of = figures.changes(before, now)
    others = figures.large(all_of, least)
    lines = [f"{when(now)}, {now.machine}{', quick' if now.quick else ''}", "beside"]
    lines += [f"    {when(run)}: {sum(one is run for _, one in before.values())} figures" for run in peers]
    drift = figures.drift(all_of)
    if drift is not None:
        lines.append(f"{len(all_of)} figures in common; the median ratio of all is {drift:.2f}")
    if others:
        table = measure.table(["figure", "before", "now", "now/before"], [row(change) for change in others])
        lines += ["", table]
    else:
        lines.append(f"none became another by {least:.0%} or more beyond its quartiles")
    return "\n".join(lines), bool(others)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description="Compares the last two runs.")
    parser.add_argument("--history", type=Path, default=HISTORY, help="default: %(default)s")
    parser.add_argument("--least", type=float, default=0.1, help="share by which a median must differ")
    parser.add_argument("--exit-code", action="store_true", help="3 when a figure became another")
    args = parser.parse_args()
    try:
        text, changed = compared(figures.history(args.history), args.least)
    except ValueError as error:
        print(f"{args.history}: {error}", file=sys.stderr)
        return 1
    print(text)
    return 3 if changed and args.exit_code else 0


if __name__ == "__main__":
    sys.exit(main())
