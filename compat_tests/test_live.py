# SPDX-License-Identifier: BSD-3-Clause
"""What live comparisons know of the tools that they have started."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from compat_tests import harness, live
from compat_tests.harness import Run
from compat_tests.live import LiveCase, Pair
from compat_tests.netns import Netns, wait_until

WORK = "import time; end = time.process_time() + 1\nwhile time.process_time() < end: pass\nopen('done', 'w')"


def test_settling_waits_for_a_tool_that_is_still_at_work() -> None:
    """Also for what a shell began."""
    case = LiveCase(("sh", "-c", f'{sys.executable} -c "{WORK}"; sleep 600'), stop=None)
    runs = (Run(case.argv, harness.STOCK), Run(case.argv, harness.STOCK))
    try:
        wait_until(lambda: all(len(live.family(run.process.pid)) == 2 for run in runs), "both to work")
        live.settle_all([Pair(case, runs)], 120)
        assert all((run.directory / "done").exists() for run in runs)
    finally:
        for run in runs:
            for pid in reversed(live.family(run.process.pid)):
                os.kill(pid, signal.SIGKILL)
            run.discard()


@pytest.mark.live
def test_a_silent_tool_captures_when_it_has_its_socket(ns: Netns) -> None:
    runs = [
        Run(ns.command(words), harness.STOCK)
        for words in (["sleep", "600"], ["sh", "-c", f"ngrep -q -d {ns.left}; true"])
    ]
    try:
        wait_until(lambda: live.has_packet_socket(runs[1].process.pid), "ngrep's socket")
        assert not live.has_packet_socket(runs[0].process.pid)
    finally:
        for run in runs:
            run.discard()
    assert not live.has_packet_socket(runs[1].process.pid)
