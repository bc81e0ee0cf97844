# SPDX-License-Identifier: BSD-3-Clause
"""Is what the quick part judges worth something? `python -m compat_tests.regression.broken`, as root.

For each fault of broken.toml: a copy of the sources, the fault put in, built; then the quick part with the tool and in
the engine that are named for it, which must find it. Before that each of these must pass without a fault. Exit code 0:
all were found. Twenty builds: half an hour.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from compat_tests import harness

LIST = Path(__file__).with_name("broken.toml")
LEFT_OUT = (".git", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".hypothesis")
FOUND, PASSED = 1, 0  # exit codes of the quick part


@dataclass(frozen=True)
class Fault:
    """In `file`, `old`, which stands there once, becomes `new`; `tool` in `engine` must differ then."""

    name: str
    file: str
    old: str
    new: str
    engine: str
    tool: str

    def put_in(self, root: Path) -> None:
        """AssertionError when the text is not there once: the list is to be brought up to date."""
        path = root / self.file
        text = path.read_text()
        assert text.count(self.old) == 1, (
            f"{self.name}: {self.old!r} stands {text.count(self.old)} times in {self.file}"
        )
        path.write_text(text.replace(self.old, self.new))


def faults() -> list[Fault]:
    with LIST.open("rb") as file:
        return [Fault(**entry) for entry in tomllib.load(file)["fault"]]


@contextmanager
def copied() -> Iterator[Path]:
    """The sources and what was built of them, with their times: only what the fault changes is built anew."""
    with harness.scratch("ffpf-broken-") as folder:
        root = folder / "project"
        shutil.copytree(harness.ROOT, root, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
        yield root


def run(root: Path, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Python with the modules of the copy."""
    env = {**os.environ, "PYTHONPATH": f"{root}:{root / 'csrc'}"}
    env.pop("FFPF_LIBRARY", None)
    return subprocess.run(
        [sys.executable, *words], cwd=root, env=env, capture_output=True, text=True, check=False, timeout=900
    )


def quick(root: Path, fault: Fault) -> subprocess.CompletedProcess[str]:
    words = ["-m", "compat_tests.regression", "--first", "--engine", fault.engine, "--tool", fault.tool]
    return run(root, words)


def tried(fault: Fault) -> str:
    """Empty when the fault was found; else what happened."""
    with copied() as root:
        fault.put_in(root)
        built = run(root, ["setup.py", "-q", "build_ext", "--inplace"])
        if built.returncode:
            return f"does not build:\n{built.stderr[-2000:]}"
        try:
            done = quick(root, fault)
        except subprocess.TimeoutExpired as late:
            return f"no end after {late.timeout} s"
    return (
        "" if done.returncode == FOUND else f"exit code {done.returncode}:\n{done.stdout[-1000:]}{done.stderr[-1000:]}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m compat_tests.regression.broken", description="Tries the matrix.")
    parser.add_argument("--only", metavar="TEXT", default="", help="faults whose names have this in them")
    chosen = [fault for fault in faults() if parser.parse_args().only in fault.name]
    bad = 0
    for engine, tool in dict.fromkeys((fault.engine, fault.tool) for fault in chosen):
        done = quick(harness.ROOT, next(fault for fault in chosen if (fault.engine, fault.tool) == (engine, tool)))
        if done.returncode != PASSED:
            print(f"differs without a fault: {tool} in {engine}\n{done.stdout[-2000:]}", flush=True)
            bad += 1
    for fault in chosen:
        why = tried(fault)
        print(
            f"{'found' if not why else 'NOT FOUND'}: {fault.name} ({fault.tool}, {fault.engine}) {why}".rstrip(),
            flush=True,
        )
        bad += bool(why)
    print(f"{len(chosen)} faults, {bad} complaints")
    return 1 if bad or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
