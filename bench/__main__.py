# SPDX-License-Identifier: BSD-3-Clause
"""`python -m bench [NAME ...] [OPTION ...]`: runs the named benchmarks, or all, in turn; options go to each.

What they print is shown as it comes, and kept: build/bench has report.txt, figures.json and a picture for each table
of the last run, and history.jsonl, to which each run adds a line (see bench.compare). What a benchmark that fails has
printed is kept, too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from bench import compare, figures, measure, plots
from bench.figures import Figure, Run

BENCHES = {
    "offline": "bench.offline",
    "filter_cost": "bench.filter_cost",
    "fpl2": "bench.fpl2",
    "fpl2_kernel": "bench.fpl2_kernel",
    "table1": "bench.table1",
    "live": "bench.live",
    "startup": "bench.startup",
    "feed": "bench.feed",
    "shared": "bench.shared",
    "framework": "bench.framework",
    "paper": "bench.paper",
    "classify": "bench.classify",
    "graph": "bench.graph",
    "embedded": "bench.embedded",
    "hook": "bench.hook",
    "python": "bench.python",
    "following": "bench.following",
    "patterns": "bench.patterns",
    "ixp_copy": "bench.ixp_copy",
    "ixp_rate": "bench.ixp_rate",
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs benchmarks, each in a process of its own.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; default: all")
    parser.add_argument("--keep", dest="folder", type=Path, default=compare.HISTORY.parent, metavar="FOLDER",
                        help="where report, figures, pictures and history are kept")  # fmt: skip
    args, options = parser.parse_known_args()
    unknown = set(args.names) - set(BENCHES)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    failed = 0
    said, found = [f"{measure.machine()}\n"], list[Figure]()
    for name in args.names or list(BENCHES):
        head = f"\n== {name}\n\n"
        print(head, end="", flush=True)
        code, output = shown(name, options)
        failed |= code
        said.append(head + output)
        found += figures.read(name, output)
    keep("".join(said), found, args.folder)
    return failed


def shown(name: str, options: list[str]) -> tuple[int, str]:
    """Runs one; what it prints appears at once. Its exit code, and what it printed on standard output."""
    env = {**os.environ, "PYTHONPATH": f"{measure.ROOT}:{measure.ROOT / 'csrc'}", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", BENCHES[name], *options]
    lines = []
    with subprocess.Popen(command, env=env, cwd=measure.ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return process.returncode, "".join(lines)


def keep(said: str, found: list[Figure], folder: Path) -> None:
    """The last run's report, figures and pictures, and the history's next line."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = ["git", "-C", str(measure.ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    run = Run(time.time(), measure.machine(), commit, tuple(found))
    (folder / "report.txt").write_text(said)
    (folder / "figures.json").write_text(run.line() + "\n")
    if not found:
        return
    figures.keep(folder / compare.HISTORY.name, run)
    drawn = plots.draw(found, folder / "plots")
    print(f"\n{len(found)} figures kept in {folder}, {len(drawn)} pictures in {folder / 'plots'}")


if __name__ == "__main__":
    sys.exit(main())
