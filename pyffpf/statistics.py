# SPDX-License-Identifier: BSD-3-Clause
"""What a capture counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyffpf._core import ffi, lib


@dataclass(frozen=True)
class Statistics:
    """Packets, since the capture was opened. Always: seen = filtered + delivered + the sum of drops.

    `drops` has every cause by name, also those that are 0: kernel, the kernel's ring was full; pbuf and ibuf, buffers
    of ffpfd were full; lapped, overwritten before they were read; oversize, larger than a record may be; nested, the
    writer was interrupted by itself; invalid, a description that makes no sense; evicted, the reader was shut out.
    """

    seen: int
    filtered: int
    delivered: int
    drops: dict[str, int]
    waiting: int  # accepted and not read yet; not among `seen`
    interface_drops: int  # lost by the interface before anybody saw them

    @property
    def dropped(self) -> int:
        """All drops together."""
        return sum(self.drops.values())


def statistics_of(counters: Any) -> Statistics:
    """From a struct ffpf_counters."""
    drops = {
        ffi.string(lib.ffpf_drop_name(cause)).decode(): counters.dropped[cause] for cause in range(lib.FFPF_DROP_CAUSES)
    }
    return Statistics(counters.seen, counters.filtered, counters.delivered, drops, counters.waiting,
                      counters.iface_drops)  # fmt: skip
