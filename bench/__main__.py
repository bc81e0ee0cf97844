# SPDX-License-Identifier: BSD-3-Clause
"""`python -m bench [NAME ...] [OPTION ...]`: runs the named benchmarks, or all, in turn; options go to each."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from bench import measure

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
    "patterns": "bench.patterns",
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs benchmarks, each in a process of its own.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; default: all")
    args, options = parser.parse_known_args()
    unknown = set(args.names) - set(BENCHES)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    env = {**os.environ, "PYTHONPATH": f"{measure.ROOT}:{measure.ROOT / 'csrc'}"}
    failed = 0
    for name in args.names or BENCHES:
        print(f"\n== {name}\n", flush=True)
        failed |= subprocess.run([sys.executable, "-m", BENCHES[name], *options], env=env, cwd=measure.ROOT).returncode
    return failed


if __name__ == "__main__":
    sys.exit(main())
