# SPDX-License-Identifier: BSD-3-Clause
"""Which tests may run beside which, when several processes run tests at once.

    mark      the test                                      runs beside
    (none)    wants a processor, and time does not matter   others without a mark
    live      captures, or waits for what others do         other live ones
    alone     looks at what the whole machine shares        none

Each kind has a lock, which its tests hold shared; one that is to run alone holds all of them for itself. A process that
dies leaves nothing behind: the kernel takes its locks away. Order is a matter of the collection (`rank`): by kinds, so
that processes seldom wait for each other.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ORDINARY, LIVE, ALONE = KINDS = ("ordinary", "live", "alone")
VARIABLE = "FFPF_TEST_TURN"  # set while a test runs: its kind
POLL_S = 0.01


def rank(kind: str) -> int:
    return KINDS.index(kind)


@contextmanager
def locked(path: Path, how: int) -> Iterator[None]:
    """Holds the file's lock; BlockingIOError when LOCK_NB is asked for and another one has it."""
    with path.open("w") as file:
        fcntl.flock(file, how)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # now, even where a forked child has the file open, too


def enter(folder: Path, kind: str) -> ExitStack | None:
    """The locks of a test of that kind, or None while one that it does not go with is running."""
    others = KINDS if kind == ALONE else [other for other in KINDS if other != kind]
    with ExitStack() as held, locked(folder / "door", fcntl.LOCK_EX):
        try:
            for other in others:
                held.enter_context(locked(folder / other, fcntl.LOCK_EX | fcntl.LOCK_NB))
            if kind == ALONE:
                return held.pop_all()
            with ExitStack() as own:
                own.enter_context(locked(folder / kind, fcntl.LOCK_SH | fcntl.LOCK_NB))
                return own.pop_all()
        except BlockingIOError:
            return None


@contextmanager
def taken(folder: Path, kind: str) -> Iterator[None]:
    """Waits until a test of that kind may run; it may while inside."""
    folder.mkdir(parents=True, exist_ok=True)
    while (held := enter(folder, kind)) is None:
        time.sleep(POLL_S)
    with held:
        around = {name: os.environ[name] for name in (VARIABLE,) if name in os.environ}
        os.environ[VARIABLE] = kind
        try:
            yield
        finally:
            del os.environ[VARIABLE]
            os.environ.update(around)


def assert_live(what: str) -> None:
    """Fails in a test that was not marked, and so may run beside tests that take all processors."""
    kind = os.environ.get(VARIABLE, LIVE)  # unset: no test, but a program
    assert kind != ORDINARY, f"{what}: mark the test @pytest.mark.live (compat_tests/README.md)"
