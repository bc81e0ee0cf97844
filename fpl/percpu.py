# SPDX-License-Identifier: BSD-3-Clause
"""MBufs of which each CPU has one: what stands where, and what a reader sees of several. Types alone, for whoever talks
about such an MBuf; pyffpf/percpu_mbuf.py does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

OPERATORS = ("sum", "max", "min", "or")


@dataclass(frozen=True)
class Merge:
    """Octets at..at + octets of an MBuf are numbers of `bits` (8, 16, 32, 64) in host byte order, signed or not. Of
    each a reader sees what OPERATORS' `by` makes of all CPUs' that are not 0, modulo 2^bits; 0 where all are. A 0 is
    what a CPU has where nothing was written, so one that saw no packet changes nothing."""

    at: int
    octets: int
    bits: int
    signed: bool
    by: str

    def __str__(self) -> str:
        kind = f"{'S' if self.signed else 'U'}{self.bits}"
        return f"{self.by} of {kind} in octets {self.at} to {self.at + self.octets - 1}"

    def said(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def of_json(said: Mapping[str, Any]) -> Merge:
    """ValueError unless it is one."""
    found = Merge(int(said["at"]), int(said["octets"]), int(said["bits"]), bool(said["signed"]), str(said["by"]))
    if found.by not in OPERATORS or found.bits not in (8, 16, 32, 64) or found.at < 0 or found.octets <= 0:
        raise ValueError(f"no merge: {found}")
    return found
