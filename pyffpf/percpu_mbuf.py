# SPDX-License-Identifier: BSD-3-Clause
"""MBufs in the kernel of which each CPU has one (PERCPU in FPL-2): what a reader sees, as fpl/percpu.py says it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fpl.percpu import Merge
from pyffpf.errors import NotSupported

_Numbers = npt.NDArray[Any]


class MergedMBuf(np.ndarray[Any, np.dtype[np.uint8]]):
    """uint8 (octets,): a copy, made when it was asked for. Who writes to it is told that it is one."""

    def __setitem__(self, key: Any, value: Any) -> None:
        raise NotSupported("each CPU has an MBuf of its own here (PERCPU): what is read is merged of them, and an "
                           "application cannot write it")  # fmt: skip


class PerCpuMBuf:
    """An MBuf's map, as long as anybody reads it. memory: (lanes * stride octets); the MBuf of lane n is `octets` at
    n * stride + at. merges: of every octet, once."""

    def __init__(self, memory: Any, *, at: int, octets: int, lanes: int, stride: int, merges: Sequence[Merge]) -> None:
        lanes_of = np.frombuffer(memory, np.uint8, lanes * stride).reshape(lanes, stride)
        self._parts, self._merges = lanes_of[:, at : at + octets], merges

    def read(self) -> MergedMBuf:
        return merged(self._parts, self._merges)


def merged(parts: npt.NDArray[np.uint8], merges: Sequence[Merge]) -> MergedMBuf:
    """parts: (lanes, octets), as they lie there while programs write them; each number is loaded once."""
    out: npt.NDArray[np.uint8] = np.zeros(parts.shape[1], np.uint8)
    for each in merges:
        kind = np.dtype(f"{'i' if each.signed else 'u'}{each.bits // 8}")
        region = slice(each.at, each.at + each.octets)
        numbers = np.stack([lane[region].view(kind) for lane in parts])
        out[region] = _OPERATORS[each.by](numbers).astype(kind).view(np.uint8)
    out.flags.writeable = False
    return out.view(MergedMBuf)


def _extreme(numbers: _Numbers, of: np.ufunc, least: Any) -> _Numbers:
    """Of those that are not 0. least: what is chosen only where there is nothing else."""
    some = numbers != 0
    found: _Numbers = of.reduce(np.where(some, numbers, least), axis=0)
    return np.where(some.any(axis=0), found, 0)


_OPERATORS: dict[str, Callable[[_Numbers], _Numbers]] = {
    "sum": lambda numbers: np.add.reduce(numbers, axis=0, dtype=numbers.dtype),
    "or": lambda numbers: np.bitwise_or.reduce(numbers, axis=0),
    "max": lambda numbers: _extreme(numbers, np.maximum, np.iinfo(numbers.dtype).min),
    "min": lambda numbers: _extreme(numbers, np.minimum, np.iinfo(numbers.dtype).max),
}
