# SPDX-License-Identifier: BSD-3-Clause
"""The ring protocol's Promela models, checked by spin: every state, and a broken variant of each that must fail.

By hand: `spin -a -DBROKEN srp.pml && cc -O2 -o pan pan.c && ./pan && spin -t -p -DBROKEN srp.pml`.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

MODELS = Path(__file__).resolve().parent / "model"
STATES_AT_LEAST = {"srp": 10_000, "frp": 500, "wake": 500, "merge": 500}


@dataclass(frozen=True)
class Verdict:
    """What pan printed: errors found, and states stored."""

    errors: int
    states: int
    complete: bool
    words: str


def explore(model: str, folder: Path, *defines: str) -> Verdict:
    """Assertions, and states in which a process hangs for good, over all interleavings."""
    subprocess.run(["spin", "-a", *defines, str(MODELS / f"{model}.pml")], cwd=folder, check=True, capture_output=True)
    compile_it = ["cc", "-O2", "-w", "-DSAFETY", "-DMEMLIM=1024", "-o", "pan", "pan.c"]
    subprocess.run(compile_it, cwd=folder, check=True, capture_output=True)
    done = subprocess.run(["./pan", "-m200000"], cwd=folder, capture_output=True, text=True, timeout=120)
    errors = re.search(r"errors: (\d+)", done.stdout)
    states = re.search(r"(\d+) states, stored", done.stdout)
    assert errors and states, done.stdout + done.stderr
    complete = "Search not completed" not in done.stdout and "max search depth too small" not in done.stdout
    return Verdict(int(errors[1]), int(states[1]), complete, done.stdout)


def test_every_model_is_checked() -> None:
    assert {path.stem for path in MODELS.glob("*.pml")} == set(STATES_AT_LEAST)


@pytest.mark.parametrize("model", STATES_AT_LEAST)
def test_model_holds(model: str, tmp_path: Path) -> None:
    verdict = explore(model, tmp_path)
    assert verdict.errors == 0, verdict.words
    assert verdict.complete, verdict.words
    assert verdict.states >= STATES_AT_LEAST[model], verdict.words


@pytest.mark.parametrize("model", STATES_AT_LEAST)
def test_broken_model_is_found_out(model: str, tmp_path: Path) -> None:
    verdict = explore(model, tmp_path, "-DBROKEN")
    assert verdict.errors > 0, verdict.words
