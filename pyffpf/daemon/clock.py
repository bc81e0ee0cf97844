# SPDX-License-Identifier: BSD-3-Clause
"""Says when the clock was set, or TAI - UTC changed: the hook turns TAI into UTC with a number that must be current."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Callable

# linux/timerfd.h, linux/time.h
TFD_CLOEXEC = os.O_CLOEXEC
TFD_NONBLOCK = os.O_NONBLOCK
TFD_TIMER_ABSTIME = 1
TFD_TIMER_CANCEL_ON_SET = 2
CLOCK_REALTIME = 0
FAR_S = 1 << 33  # in the year 2242: the timer is there to be cancelled

_libc = ctypes.CDLL(None, use_errno=True)


class ClockWatch:
    """Calls changed() on the event loop whenever the kernel cancels a timer since its clock made a step (fs/timerfd.c,
    timerfd_clock_was_set; do_adjtimex counts a new TAI offset among those, Linux 6.1)."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._fd = _libc.timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._arm()
        asyncio.get_running_loop().add_reader(self._fd, self._readable)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def _arm(self) -> None:
        when = (ctypes.c_long * 4)(0, 0, FAR_S, 0)  # struct itimerspec: no interval; value
        if _libc.timerfd_settime(self._fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, when, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def _readable(self) -> None:
        with contextlib.suppress(OSError):  # ECANCELED is the news
            os.read(self._fd, 8)
        self._arm()
        self._changed()
