# SPDX-License-Identifier: BSD-3-Clause
"""A graph of the core as Python has it: who holds it, what is put off until it returns, and how long one waits."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pyffpf._core import ffi, lib


class Deadline:
    """From seconds, None for ever, to what the core's waits take, again and again."""

    def __init__(self, seconds: float | None) -> None:
        if seconds is not None and seconds < 0:
            raise ValueError(f"{seconds} seconds are over already")
        self._end = None if seconds is None else time.monotonic() + seconds

    def milliseconds(self) -> int:
        """Until then, rounded up; -1 for ever."""
        if self._end is None:
            return -1
        return max(0, min(2**31 - 1, int((self._end - time.monotonic()) * 1000 + 0.999)))

    def over(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end


class Core:
    """A graph of the core, and what Python owes it. Whoever needs the graph holds this: it is freed with the last."""

    def __init__(self, pointer: Any) -> None:
        self.pointer = ffi.gc(pointer, lib.ffpf_engine_destroy)
        self.failures: list[BaseException] = []  # of callbacks and filters: whoever drives the graph raises them
        self.kept: list[Any] = []  # what the core may use as long as it lives
        self._holder: int | None = None
        self._later: list[Callable[[], None]] = []

    @contextmanager
    def held(self) -> Iterator[None]:
        """The calling thread is in a filter: the core holds the graph, and waits for it."""
        before, self._holder = self._holder, threading.get_ident()
        try:
            yield
        finally:
            self._holder = before

    def when_free(self, call: Callable[[], None]) -> None:
        """Calls it now, or, when garbage is collected in the middle of a filter, when the core has returned."""
        if self._holder == threading.get_ident():
            self._later.append(call)
        else:
            call()

    def returned(self) -> None:
        """The core has returned to Python: does what was put off, and raises what callbacks raised."""
        while self._later:
            self._later.pop()()
        if self.failures:
            raise self.failures.pop(0)


def warn_unclosed(words: str, source: object) -> None:
    """Of something that is collected before it was closed."""
    warnings.warn(f"{words} was not closed", ResourceWarning, source=source, stacklevel=3)
