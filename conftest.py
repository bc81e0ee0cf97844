# SPDX-License-Identifier: BSD-3-Clause
"""Rules for the whole test run: which tests run beside which, and that none is skipped where FFPF_NO_SKIP is set."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is slow to make examples, and that is no finding.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

ROOT = Path(__file__).resolve().parent
for folder in (ROOT, ROOT / "csrc"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

TURNS = Path(os.environ.get("FFPF_TURNS", ROOT / "build" / "turns"))  # of all test runs of this clone

from compat_tests import suite, turns  # noqa: E402 (the path is set above)

# A shell's background job, or nohup, starts its programs with signals ignored; programs under test would inherit that.
for number, action in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGTERM, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, action)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root."""
    return ROOT


def turn_of(item: pytest.Item) -> str:
    """The test's kind: its mark, else live where it asks for a namespace."""
    for kind in (turns.ALONE, turns.LIVE):
        if item.get_closest_marker(kind):
            return kind
    return turns.LIVE if "ns" in getattr(item, "fixturenames", ()) else turns.ORDINARY


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """By kinds; within one those marked long come first, else others would wait for them at its end."""
    items.sort(key=lambda item: (turns.rank(turn_of(item)), item.get_closest_marker("long") is None))


@pytest.hookimpl(tryfirst=True, wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """The wait comes before the test's own time begins."""
    # pypcap's reading puts a handler of its own in place in C, for good and unknown to Python: Ctrl-C would be lost.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with turns.taken(TURNS, turn_of(item)):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """For the process that reads the reports, where the tests themselves are not."""
    report = yield
    setattr(report, suite.AGAIN, report.outcome == "failed" and suite.may_run_again(turn_of(item), item))
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turns a run with skipped tests into a failure: on a machine with root, eBPF and namespaces all can run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    no_skip = bool(os.environ.get("FFPF_NO_SKIP"))
    skipped = [report for kind in ("skipped", "xfailed") if no_skip for report in reporter.stats.get(kind, [])]
    suite.write_failed([report for kind in ("failed", "error") for report in reporter.stats.get(kind, [])] + skipped)
    if skipped:
        reporter.write_line(f"{len(skipped)} tests were skipped, and FFPF_NO_SKIP says that none may be", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
