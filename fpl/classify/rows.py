# SPDX-License-Identifier: BSD-3-Clause
"""Which columns a filter that is code decides: mapped memory, a row for each filter, written here, read by its program.

    row, 160 octets    count       u32    how many of words and masks are in use
                       next        u32    of a program that goes into any slot: the slot behind it
                       column      u32    the column, of a filter that returns several values
                       words[16]   u8     verdict words ...
                       masks[16]   u64    ... and what is or-ed to each when the filter accepts

So a filter that is compiled and verified once can be put in force anywhere, and another column that wants it, or one
that wants it no more, is a store. A mask is written before the count that tells of it.

Rows are taken and given back by several threads; a row's owner alone changes it. It is given back when no program that
reads it is in force; a packet may still be on its way through one then, and sets bits of columns that are idle.
"""

from __future__ import annotations

import mmap
import os
import threading

import numpy as np
import numpy.typing as npt

from fpl.classify import bpf, layout
from fpl.classify.bytecode import ClassifyRefused

ROWS = 2 * layout.COLUMNS  # filters in force, those that are gone from columns but not from programs, those made ready
ROW_BYTES = 160
COUNT, NEXT, COLUMN, WORDS, MASKS = 0, 4, 8, 16, 32
OCTETS = -(-ROWS * ROW_BYTES // mmap.PAGESIZE) * mmap.PAGESIZE


class Rows:
    def __init__(self) -> None:
        self.fd = bpf.map_create(bpf.MAP_TYPE_ARRAY, OCTETS, 1, "ffpf_rows", flags=bpf.F_MMAPABLE)
        self._memory = mmap.mmap(self.fd, OCTETS)
        used = np.frombuffer(self._memory, dtype=np.uint8, count=ROWS * ROW_BYTES).reshape(ROWS, ROW_BYTES)
        self._heads: npt.NDArray[np.uint32] = used[:, :WORDS].view(np.uint32)
        self._words: npt.NDArray[np.uint8] = used[:, WORDS:MASKS]
        self._masks: npt.NDArray[np.uint64] = used[:, MASKS:].view(np.uint64)
        self._free = list(range(ROWS))
        self._lock = threading.Lock()

    def take(self) -> int:
        """A row that decides no column."""
        with self._lock:
            if not self._free:
                raise ClassifyRefused(f"a source has {ROWS} filters that are code")
            row = self._free.pop()
        self._heads[row] = 0
        self._masks[row] = 0
        return row

    def give(self, row: int) -> None:
        with self._lock:
            self._free.append(row)

    def want(self, row: int, column: int) -> None:
        """The column, an idle one, is accepted when the row's filter accepts."""
        word, bit = divmod(column, 64)
        count = int(self._heads[row, COUNT // 4])
        self._heads[row, COLUMN // 4] = column
        for place in range(count):
            if self._words[row, place] == word:
                self._masks[row, place] |= np.uint64(1 << bit)
                return
        self._words[row, count], self._masks[row, count] = word, np.uint64(1 << bit)
        bpf.barrier()
        self._heads[row, COUNT // 4] = count + 1

    def unwant(self, row: int, column: int) -> None:
        word, bit = divmod(column, 64)
        for place in range(int(self._heads[row, COUNT // 4])):
            if self._words[row, place] == word:
                self._masks[row, place] &= ~np.uint64(1 << bit)

    def set_next(self, row: int, slot: int) -> None:
        self._heads[row, NEXT // 4] = slot

    def close(self) -> None:
        del self._heads, self._words, self._masks
        self._memory.close()
        os.close(self.fd)
