# SPDX-License-Identifier: BSD-3-Clause
"""Which tests run beside which, and that a run in which a test was skipped is a failed one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from compat_tests import turns
from compat_tests.harness import ROOT

BESIDE = {
    ("ordinary", "ordinary"): True,
    ("ordinary", "live"): False,
    ("ordinary", "alone"): False,
    ("live", "ordinary"): False,
    ("live", "live"): True,
    ("live", "alone"): False,
    ("alone", "ordinary"): False,
    ("alone", "live"): False,
    ("alone", "alone"): False,
}


@pytest.mark.parametrize(("running", "coming"), BESIDE)
def test_who_runs_beside_whom(tmp_path: Path, running: str, coming: str) -> None:
    first = turns.enter(tmp_path, running)
    assert first is not None
    with first:
        second = turns.enter(tmp_path, coming)
        assert (second is not None) == BESIDE[running, coming]
        if second is not None:
            second.close()
    third = turns.enter(tmp_path, coming)
    assert third is not None, "the first one has gone"
    third.close()


HOLDER = """
import pathlib, sys
from compat_tests import turns
with turns.taken(pathlib.Path(sys.argv[1]), "alone"):
    print("in", flush=True)
    sys.stdin.read()
"""


def test_a_test_that_was_killed_is_in_nobodys_way(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"in\n"
        assert turns.enter(tmp_path, turns.ORDINARY) is None
        process.kill()
    with turns.taken(tmp_path, turns.ORDINARY):
        pass


def run_of(tmp_path: Path, text: str, *options: str, no_skip: bool = True, whole: bool = False) -> tuple[int, str]:
    """Exit code and words of a test run of one file, under the project's own rules; whole: as the test command does."""
    (tmp_path / "test_made.py").write_text(text)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "FFPF_"))}
    env.update(PYTHONPATH=str(ROOT), FFPF_TURNS=str(tmp_path / "turns"), **({"FFPF_NO_SKIP": "1"} if no_skip else {}))
    options = ("-q", "-c", str(ROOT / "pyproject.toml"), "-p", "conftest", *options)
    command = [sys.executable, "-m", *(("compat_tests.suite",) if whole else ("pytest", str(tmp_path))), *options]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


SKIPS = {
    "by a call": "import pytest\ndef test_a(): pytest.skip('why')\ndef test_b(): pass\n",
    "by a mark": "import pytest\n@pytest.mark.skipif(True, reason='why')\ndef test_a(): pass\ndef test_b(): pass\n",
    "a whole file": "import pytest\npytest.skip('why', allow_module_level=True)\n",
    "expected to fail": "import pytest\n@pytest.mark.xfail\ndef test_a(): assert False\ndef test_b(): pass\n",
}


@pytest.mark.parametrize("how", SKIPS)
def test_a_skipped_test_fails_the_run(tmp_path: Path, how: str) -> None:
    code, words = run_of(tmp_path, SKIPS[how])
    assert "1 tests were skipped, and FFPF_NO_SKIP says that none may be" in words, words
    assert code == 1, words
    assert run_of(tmp_path, SKIPS[how], no_skip=False)[0] in (0, pytest.ExitCode.NO_TESTS_COLLECTED)


@pytest.mark.parametrize("how", ["by a call", "a whole file"])
def test_a_skipped_test_fails_a_run_of_two_processes(tmp_path: Path, how: str) -> None:
    code, words = run_of(tmp_path, SKIPS[how], "-n", "2")
    assert "tests were skipped, and FFPF_NO_SKIP says that none may be" in words, words
    assert code == 1, words


@pytest.mark.parametrize("processes", [[], ["-n", "2"]], ids=["one process", "two"])
def test_the_last_line_is_pytests_count(tmp_path: Path, processes: list[str]) -> None:
    code, words = run_of(tmp_path, "def test_a(): pass\ndef test_b(): pass\n", *processes)
    assert code == 0
    assert words.splitlines()[-1].startswith("2 passed in "), words


ORDER = """
import pytest
from compat_tests.netns import Netns
from compat_tests import turns
import os

@pytest.mark.alone
def test_last(): assert os.environ[turns.VARIABLE] == "alone"

@pytest.mark.live
def test_third(): assert os.environ[turns.VARIABLE] == "live"

def test_fourth(ns): assert os.environ[turns.VARIABLE] == "live"

def test_first():
    with pytest.raises(AssertionError, match="mark the test @pytest.mark.live"), Netns(): pass

def test_second(): pass

@pytest.fixture
def ns(): return None
"""


def test_tests_come_by_kinds(tmp_path: Path) -> None:
    code, words = run_of(tmp_path, ORDER, "-vv")
    assert code == 0, words
    names = [line.split("::")[1].split()[0] for line in words.splitlines() if "::" in line]
    assert names == ["test_first", "test_second", "test_third", "test_fourth", "test_last"]


AGAIN = """
import os
import pathlib
import pytest
from hypothesis import given, strategies

def fails_at_first(name):
    mark = pathlib.Path(__file__).parent / name
    first = not mark.exists()
    mark.touch()
    assert not first, "not the first time"

@pytest.mark.live
def test_stalled(): fails_at_first("stalled")

@pytest.mark.alone
def test_alone_stalled(): fails_at_first("alone")

def test_good(): pass
"""
NEVER = {
    "fails twice": "@pytest.mark.live\ndef test_bad(): assert False\n",
    "has no mark": "def test_bad(): fails_at_first('bad')\n",
    "fuzzes": "@pytest.mark.live\ndef test_fuzz_bad(): fails_at_first('bad')\n",
    "has examples by chance": (
        "@pytest.mark.live\n@given(strategies.integers())\n"
        "def test_bad(number):\n    assert os.environ.get('FFPF_AGAIN') or number < 0\n"
    ),
    "ends its process": "@pytest.mark.live\ndef test_bad(): (pathlib.Path('bad').exists() or os._exit(3))\n",
    "cannot be collected": "import nothing_of_that_name\n",
    "was skipped": "@pytest.mark.live\ndef test_bad(): pytest.skip('why')\n",
    "one of six": "".join(f"@pytest.mark.live\ndef test_{i}(): fails_at_first('{i}')\n" for i in range(4)),
}


def test_what_failed_beside_others_runs_once_more_alone(tmp_path: Path) -> None:
    code, words = run_of(tmp_path, AGAIN, "-n", "2", whole=True)
    assert code == 0, words
    assert "2 failed, 1 passed in" in words and "2 failed beside others, and run once more, alone" in words, words
    assert "not the first time" in words, "the first failure is shown"
    assert [line.partition(": ")[2] for line in words.splitlines()[-2:]] == ["failed beside others, passed alone"] * 2


@pytest.mark.parametrize("which", NEVER)
def test_a_failed_run_stays_one_if_a_test(tmp_path: Path, which: str) -> None:
    code, words = run_of(tmp_path, AGAIN + NEVER[which], "-n", "2", whole=True)
    assert code != 0, words
    assert ("run once more" in words) == (which == "fails twice"), words
