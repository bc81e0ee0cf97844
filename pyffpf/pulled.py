# SPDX-License-Identifier: BSD-3-Clause
"""What is read from a reader of the core, whatever it is one of: waits, memory that batches share, packets in place."""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pyffpf._core import ffi, lib
from pyffpf.batch import Batch, Octets
from pyffpf.errors import BadFile, FfpfError, check, exception_of, new_error


class Pulled:
    """A `struct ffpf_pull *` (csrc/columns/pull.h), and what is kept from one read to the next.

    times_out: reads end when their time is over; in_place: packets can be left where they are; linger: seconds that a
    read waits for company of packets that come fast (csrc/columns/pull.h). at_end is called when the packets have
    ended, or end too early.
    """

    def __init__(
        self,
        pull: Any,
        name: str,
        *,
        times_out: bool,
        in_place: bool,
        linger: float = 0.0,
        at_end: Sequence[Callable[[], None]] = (),
    ) -> None:
        self.pull = pull
        self.name = name
        self.times_out = times_out
        self.can_be_in_place = in_place
        self.linger_ns = int(linger * 1e9)
        self.link_type = int(self.info().link_type)  # of the packets read last
        self._at_end = at_end
        self._arenas: dict[str, npt.NDArray[Any]] = {}
        self._lent: weakref.ref[Batch] | None = None

    def call(self, function: Any, *arguments: Any) -> int:
        """A function of csrc/columns/pull.h on our pull, checked."""
        error = new_error()
        return check(function(self.pull, *arguments, error), error, self.name)

    def info(self) -> Any:
        """A `struct ffpf_reader_info *`."""
        info = ffi.new("struct ffpf_reader_info *")
        self.call(lib.ffpf_pull_info, info)
        return info

    # ---- reading ----

    def next(self, want: Any, deadline: float | None, error: Any) -> int:
        """One pull; its outcome."""
        return int(lib.ffpf_pull_next(self.pull, want, error))

    def wait_for_ever(self) -> None:
        """The core pulls by itself from now on, for a table. Raises Closed."""
        self.info()

    def failure(self, error: Any) -> FfpfError:
        """What to raise for it."""
        return exception_of(error, self.name)

    def read(self, want: Any, deadline: float | None = None) -> bool:
        """One pull, repeated until it gives rows, or the deadline (of time.monotonic) has passed. False: the end.
        True with no rows: nothing is there, and is not waited for any longer."""
        self.release_lent()
        error = new_error()
        want.linger_ns = self.linger_ns
        while True:
            if deadline is not None:
                left = max(0, int((deadline - time.monotonic()) * 1e9))
                want.linger_ns = min(self.linger_ns, left)
            outcome = self.next(want, deadline, error)
            if outcome == lib.FFPF_BATCH:
                self.link_type = int(want.link_type) if want.count else self.link_type
                return True
            if outcome == lib.FFPF_END:
                for action in self._at_end:
                    action()
                return False
            if outcome == lib.FFPF_FAILED:
                failure = self.failure(error)
                for action in self._at_end if isinstance(failure, BadFile) else ():
                    action()  # why a stream ended too early, where that is known
                raise failure
            want.count = 0
            if outcome == lib.FFPF_WOULD_BLOCK or (deadline is not None and time.monotonic() >= deadline):
                return True
            # FFPF_TIMEOUT and FFPF_INTERRUPTED: Python has run signal handlers before it comes back here

    def wait(self, want: Any, timeout: float | None) -> bool:
        """read, for so many seconds; 0: without waiting."""
        if timeout is None or not self.times_out:
            return self.read(want)
        if timeout > 0:
            return self.read(want, time.monotonic() + timeout)
        self.call(lib.ffpf_pull_set_nonblock, True)
        try:
            return self.read(want)
        finally:
            self.call(lib.ffpf_pull_set_nonblock, False)

    # ---- memory ----

    def arena(self, name: str, size: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Memory that nobody else has a view of: that of the batch before, when it is not in use any more."""
        arena = self._arenas.pop(name, None)
        # the variable and the argument of getrefcount; views have the arena as their base
        if arena is None or len(arena) < size or sys.getrefcount(arena) > 2:
            arena = np.empty(size, dtype)
        self._arenas[name] = arena
        return arena

    def octets(self, want: Any, size: int) -> Octets:
        """Memory for copies of the packets."""
        arena = self.arena("octets", size, np.uint8)
        want.octets = ffi.cast("uint8_t *", arena.ctypes.data)
        want.octets_room = len(arena)
        return arena

    # ---- packets in place ----

    def lend(self, rows: npt.NDArray[Any], want: Any) -> Batch:
        """The batch of packets that the last read left where they are."""
        batch = Batch.in_place(rows, self._in_place(rows, want), self.link_type,
                               self._overwritten if want.races else None)  # fmt: skip
        self._lent = weakref.ref(batch)
        return batch

    def _in_place(self, rows: npt.NDArray[Any], want: Any) -> Octets:
        """The reader's own memory, read-only. What it is views of counts as a view until the last of them goes."""
        if not want.count:
            return np.empty(0, np.uint8)
        lowest = int(rows["offset"].min())
        rows["offset"] -= lowest
        length = int((rows["offset"] + rows["caplen"]).max())
        self.call(lib.ffpf_pull_view)
        pull = self.pull
        memory = ffi.gc(ffi.cast("uint8_t *", want.base) + lowest, lambda _: lib.ffpf_pull_forget(pull))
        octets: Octets = np.frombuffer(ffi.buffer(memory, length), np.uint8)
        octets.flags.writeable = False
        return octets

    def _overwritten(self, n: int) -> npt.NDArray[Any]:
        """Which of the n packets that the last read left in place have been overwritten by now: row numbers."""
        marks = np.zeros(n, np.uint8)
        self.call(lib.ffpf_pull_overwritten, ffi.from_buffer("uint8_t[]", marks))
        return np.flatnonzero(marks)

    def release_lent(self) -> None:
        """The batch before, if it was not copied, has nothing to do with the reader any more."""
        batch = self._lent() if self._lent is not None else None
        self._lent = None
        if batch is not None:
            batch.release()
