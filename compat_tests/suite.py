# SPDX-License-Identifier: BSD-3-Clause
"""The whole test run: every test beside others; then, alone, those that failed for reasons that may be the machine's.

Tests marked live or alone wait for what kernels, daemons and tools do, some eight hundred, on a machine that may
stand still for seconds when others use it. One that fails is run once more, by itself, after all others. If it fails
there too, the run has failed; if it passes, the run has passed and ends with its name: what failed beside others stays
in the output, whole, and is to be looked into, since a race looks the same.

Not run again: tests without a mark, property tests and fuzzers (what chance found once is found), a test whose process
died, and any if more than MOST failed.

    python -m compat_tests.suite [OPTION OF PYTEST ...]        # exit code: pytest's
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from compat_tests import turns

MOST = 5
VARIABLE = "FFPF_FAILED"  # names the file that a run writes: nodes that failed, and whether each may be run again
AGAIN = "may_run_again"  # the attribute of a report, which a worker's report keeps


def may_run_again(kind: str, item: pytest.Item) -> bool:
    """kind: the test's, of `turns`."""
    by_chance = getattr(getattr(item, "obj", None), "is_hypothesis_test", False) or "fuzz" in item.nodeid
    return kind != turns.ORDINARY and not by_chance


def write_failed(reports: Sequence[object]) -> None:
    """Where VARIABLE names a file. reports: of what failed, was skipped and may not be, or could not be set up."""
    if path := os.environ.get(VARIABLE):
        failed: dict[str, bool] = {}
        for report in reports:
            node = str(getattr(report, "nodeid", ""))
            failed[node] = failed.get(node, True) and bool(getattr(report, AGAIN, False))
        Path(path).write_text(json.dumps(failed))


def again(code: int, failed: Mapping[str, bool]) -> list[str]:
    """Which to run once more; none where that could not make a run that ended with this code a good one."""
    if code != pytest.ExitCode.TESTS_FAILED or not all(failed.values()) or len(failed) > MOST:
        return []
    return list(failed)


def run(options: Sequence[str]) -> tuple[int, dict[str, bool]]:
    """pytest's exit code, and what failed."""
    with tempfile.NamedTemporaryFile(prefix="ffpf-failed-") as file:
        command = [sys.executable, "-m", "pytest", *options]
        done = subprocess.run(command, env=os.environ | {VARIABLE: file.name}, check=False)
        return done.returncode, json.loads(file.read() or b"{}")


def main(options: Sequence[str]) -> int:
    code, failed = run(options)
    nodes = again(code, failed)
    if not nodes:
        return code
    print(f"==> {len(nodes)} failed beside others, and run once more, alone", flush=True)
    code, failed = run([*options, "-n", "0", *nodes])
    for node in nodes:
        print(f"{node}: failed beside others, {'failed' if node in failed or code else 'passed'} alone", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
