# SPDX-License-Identifier: BSD-3-Clause
"""A soak of ffpfd: see compat_tests/soak/README.md. As root. Exit code 0: nothing was found, 1: something was."""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from compat_tests.netns import Netns
from compat_tests.shared import PATIENCE_S, Ffpfd
from compat_tests.soak import report
from compat_tests.soak.kinds import configuration
from compat_tests.soak.scenario import Plan, Result, Soak
from compat_tests.soak.traffic import Traffic

INSIDE = "FFPF_SOAK_INSIDE"
MOUNTS = ("tmpfs /dev/shm", "tmpfs /run/netns", "bpf /sys/fs/bpf")
# The shell stays the first process, and takes care of orphans.
SET_UP = " && ".join([*(f"mount -t {kind} none {at}" for kind, at in map(str.split, MOUNTS)), '"$@"; exit $?'])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m compat_tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of all that is random")
    parser.add_argument("--round", type=float, default=45.0, metavar="SECONDS", help="of one round (default: 45)")
    parser.add_argument("--patience", type=float, default=PATIENCE_S, metavar="SECONDS", help="until what left is gone")
    parser.add_argument(
        "--report", type=Path, default=Path("build/soak"), metavar="FOLDER", help="(default: build/soak)"
    )
    parser.add_argument("--fault", choices=("descriptor", "packet"), default="", help="done on purpose, to be found")
    return parser.parse_args()


def in_namespaces() -> int:
    """The same command in namespaces of its own, for processes, mounts and System V's things."""
    Path("/run/netns").mkdir(parents=True, exist_ok=True)
    argv = ["unshare", "--mount", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
    argv += ["sh", "-c", SET_UP, "soak", sys.executable, "-m", "compat_tests.soak", *sys.argv[1:]]
    return subprocess.run(argv, env={**os.environ, INSIDE: "1"}, check=False).returncode


def soak(plan: Plan, folder: Path, reports: Path) -> Result:
    with Netns() as ns, Ffpfd(ns, configuration(folder)) as ffpfd, Traffic(ns) as traffic:
        result = Soak(ffpfd, traffic, folder, plan, lambda line: print(line, flush=True)).run()
        (reports / "ffpfd.log").write_text(ffpfd.said())
    result.findings += report.memory_findings(result.samples)
    return result


def main() -> int:
    args = arguments()
    if INSIDE not in os.environ:
        return in_namespaces()
    print(f"seed={args.seed}", flush=True)
    args.report.mkdir(parents=True, exist_ok=True)
    plan = Plan(args.seed, args.minutes * 60, args.round, args.patience, args.fault)
    with tempfile.TemporaryDirectory(prefix="ffpf-soak-") as name:
        Path(name).chmod(0o755)
        tempfile.tempdir = os.environ["TMPDIR"] = name  # whatever is left there is a finding
        result = soak(plan, Path(name), args.report)
    report.write(result, args.report)
    print(report.text(result))
    return 1 if result.findings else 0


if __name__ == "__main__":
    sys.exit(main())
