# SPDX-License-Identifier: BSD-3-Clause
"""Filters that stay code, in one program.

takes    (Filter, row)*: filters, and for each the row of `rows` that says which columns it decides
gives    body for ir.module(): one after the other; verdict bits of each are or-ed into the scratch

From filter to filter nothing is handed on, not even data_len: what a register holds the verifier knows the bounds of,
which differ from way to way, so it would follow each way through one filter into the next. To load again costs less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fpl.classify import ir, layout, rows
from fpl.classify.filters import Filter, Lines


@dataclass(frozen=True)
class Decided:
    """A filter, and its row."""

    filter: Filter
    row: int


class _Body:
    def __init__(self, rows_fd: int) -> None:
        self._rows_fd, self._out = rows_fd, Lines()

    def of(self, filters: Sequence[Decided]) -> Lines:
        for number, decided in enumerate(filters):
            self._decide(f"f{number}", decided, decided.filter.lower(f"f{number}", self._out))
        self._out.body.append("  br label %done")
        return self._out

    def _say(self, *lines: str) -> None:
        self._out.body += [f"  {line.strip()}" for line in lines]

    def _block(self, label: str) -> None:
        self._out.body.append(f"{label}:")

    def _decide(self, n: str, decided: Decided, result: str) -> None:
        """A turn for each verdict word that the row has. Not unrolled: the verifier follows each turn anyway."""
        self._say(f"%{n}.yes = icmp ne i32 {result}, 0", f"br i1 %{n}.yes, label %{n}.decide, label %{n}.next")
        self._block(f"{n}.decide")
        self._out.body += ir.map_value(f"{n}.rows", self._rows_fd)
        self._say(f"%{n}.row = getelementptr i8, ptr %{n}.rows, i64 {decided.row * rows.ROW_BYTES}")
        if not decided.filter.result:
            self._store_result(n, result)
        self._say(f"%{n}.count = load volatile i32, ptr %{n}.row, align 4", f"br label %{n}.turn")
        self._block(f"{n}.turn")
        self._say(f"%{n}.i = phi i64 [ 0, %{n}.decide ], [ %{n}.i.next, %{n}.word ]",
                  f"%{n}.i.low = trunc i64 %{n}.i to i32",
                  f"%{n}.more = icmp ult i32 %{n}.i.low, %{n}.count",
                  f"%{n}.within = icmp ult i64 %{n}.i, {layout.WORDS}",
                  f"%{n}.go = select i1 %{n}.within, i1 %{n}.more, i1 false",
                  f"br i1 %{n}.go, label %{n}.word, label %{n}.next")  # fmt: skip
        self._block(f"{n}.word")
        self._say(f"%{n}.word.at = getelementptr i8, ptr %{n}.row, i64 %{n}.i",
                  f"%{n}.word.p = getelementptr i8, ptr %{n}.word.at, i64 {rows.WORDS}",
                  f"%{n}.word.any = load volatile i8, ptr %{n}.word.p, align 1",
                  f"%{n}.word.in = and i8 %{n}.word.any, {layout.WORDS - 1}",
                  f"%{n}.word.no = zext i8 %{n}.word.in to i64",
                  f"%{n}.mask.at = getelementptr i64, ptr %{n}.row, i64 %{n}.i",
                  f"%{n}.mask.p = getelementptr i8, ptr %{n}.mask.at, i64 {rows.MASKS}",
                  f"%{n}.mask = load volatile i64, ptr %{n}.mask.p, align 8",
                  f"%{n}.v.p = getelementptr i64, ptr %scratch, i64 %{n}.word.no",
                  f"%{n}.v.old = load volatile i64, ptr %{n}.v.p, align 8",
                  f"%{n}.v.new = or i64 %{n}.v.old, %{n}.mask",
                  f"store volatile i64 %{n}.v.new, ptr %{n}.v.p, align 8",
                  f"%{n}.i.next = add i64 %{n}.i, 1",
                  f"br label %{n}.turn, !llvm.loop !1")  # fmt: skip
        self._block(f"{n}.next")

    def _store_result(self, n: str, result: str) -> None:
        """In the scratch, for the row's only column."""
        self._say(f"%{n}.column.p = getelementptr i8, ptr %{n}.row, i64 {rows.COLUMN}",
                  f"%{n}.column.any = load volatile i32, ptr %{n}.column.p, align 4",
                  f"%{n}.column.in = and i32 %{n}.column.any, {layout.COLUMNS - 1}",
                  f"%{n}.column = zext i32 %{n}.column.in to i64",
                  f"%{n}.result.at = getelementptr i32, ptr %scratch, i64 %{n}.column",
                  f"%{n}.result.p = getelementptr i8, ptr %{n}.result.at, i64 {layout.SCRATCH_RESULTS}",
                  f"store volatile i32 {result}, ptr %{n}.result.p, align 4")  # fmt: skip


def body(filters: Sequence[Decided], rows_fd: int) -> Lines:
    """Raises ClassifyRefused."""
    return _Body(rows_fd).of(filters)
