# SPDX-License-Identifier: BSD-3-Clause
"""A filter as the stage needs to know it, whatever language it is written in. BPF's is filter_bpf.py; others come from
outside, ready made.

A filter is pure: its verdict depends on the packet, and on what the scratch says beside it, alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from fpl.classify.compiler import Module
from fpl.classify.rules import Rule

WORK_BYTES = 4096  # of memory for each lane, that filters may use while they run, one after the other


@dataclass
class Lines:
    """What filters are lowered to: IR. declarations: of functions that they call: of the library, and those in
    `functions`, by name, whose names begin with the filter's. A body that has `%work` in it says so: uses_work."""

    allocas: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    functions: dict[str, Module] = field(default_factory=dict)
    declarations: set[str] = field(default_factory=set)
    library: bytes = b""  # bitcode; all that need one need the same
    uses_work: bool = False


@dataclass(frozen=True)
class Table:
    """fetch_len: octets of a packet that must be there for the rules to say what the filter does."""

    rules: Sequence[Rule]
    fetch_len: int


class Filter(ABC):
    """key: the same for filters that do the same. octets: of struct sock_filter[], for a filter in BPF; else b"".
    fetch_len: octets of a packet that it may look at, as code. result: what it returns when it accepts; 0: several
    values."""

    key: bytes
    octets: bytes = b""
    fetch_len: int
    result: int

    @abstractmethod
    def as_table(self) -> Table:
        """Raises NotTable, with the reason."""

    @abstractmethod
    def lower(self, name: str, out: Lines) -> str:
        """As code, from an open block to an open block; names begin with `name`. The result, as an i32; 0: rejected.
        There are %scratch, %data, %wire_len and %work of ir.module(). Raises ClassifyRefused."""
