# SPDX-License-Identifier: BSD-3-Clause
"""Packets and octets by the values of fields, counted in C; csrc/columns/counts.h."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pyffpf import fields as _fields
from pyffpf._core import ffi, lib
from pyffpf.errors import check, new_error

KEY_MAX = 64  # octets; FFPF_COUNTS_KEY_MAX


class Counter:
    """Counts what columns have, until it is asked. Raises KeyError for no field, ValueError for no names, or too many:
    together they may have 64 octets."""

    def __init__(self, names: Sequence[str]) -> None:
        parts: list[Any] = []
        for name in names:
            kind, width = _fields.KINDS[_fields.find(name).kind]
            parts.append((name, kind, (width,)) if width > 1 else (name, kind))
        if len(set(names)) != len(names) or not names:
            raise ValueError("count by one field at least, and by each only once")
        self._key = np.dtype(parts)
        if self._key.itemsize > KEY_MAX:
            raise ValueError(f"fields of {self._key.itemsize} octets together: {KEY_MAX} at most")
        self._names = tuple(names)
        self._parts = parts
        out, error = ffi.new("struct ffpf_counts **"), new_error()
        check(lib.ffpf_counts_create(out, self._key.itemsize, error), error)
        self._counts = ffi.gc(out[0], lib.ffpf_counts_destroy)

    def add(self, columns: _fields.Columns, n: int) -> None:
        """The first n rows of the named fields, which come first among the columns, behind which is frame.len."""
        error = new_error()
        lens = ffi.cast("uint32_t *", columns.struct[len(self._names)].values)
        check(lib.ffpf_counts_add(self._counts, columns.struct, len(self._names), lens, n, error), error)

    def result(self, most: int = 0) -> npt.NDArray[Any]:
        """An array (values,) of the names, "packets" and "octets": most packets first, equal ones by their values.
        most: only so many, 0: all."""
        n = int(lib.ffpf_counts_size(self._counts))
        keys, packets, octets = np.empty(n, self._key), np.empty(n, np.uint64), np.empty(n, np.uint64)
        lib.ffpf_counts_get(self._counts, *(
            ffi.cast(f"{kind} *", array.ctypes.data)
            for kind, array in (("uint8_t", keys), ("uint64_t", packets), ("uint64_t", octets))
        ))  # fmt: skip
        chosen = np.arange(n)
        if 0 < most < n:  # all that have as many as the last of them, so that values decide
            least = np.partition(packets, n - most)[n - most]
            chosen = np.flatnonzero(packets >= least)
        chosen = chosen[np.lexsort((*self._sort_keys(keys[chosen]), ~packets[chosen]))][: most or n]
        found = np.empty(len(chosen), [*self._parts, ("packets", np.uint64), ("octets", np.uint64)])
        for name in self._names:
            found[name] = keys[name][chosen]
        found["packets"], found["octets"] = packets[chosen], octets[chosen]
        return found

    def _sort_keys(self, keys: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """For lexsort, to which the last of them is the first."""
        found: list[npt.NDArray[Any]] = []
        for name in reversed(self._names):
            column = keys[name]
            found += [column] if column.ndim == 1 else list(column.T[::-1])
        return found
