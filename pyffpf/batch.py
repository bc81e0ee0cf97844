# SPDX-License-Identifier: BSD-3-Clause
"""Batches: packets as columns."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pyffpf import fields as _fields
from pyffpf._core import ffi, lib
from pyffpf.errors import Lapped
from pyffpf.packet import Packet, packets

# struct ffpf_row of csrc/columns/rows.h
ROW = np.dtype(
    [
        ("ts_ns", np.int64), ("offset", np.uint64), ("caplen", np.uint32), ("len", np.uint32), ("result", np.uint32),
        ("ifindex", np.uint32), ("vlan", np.uint32), ("protocol", np.uint16), ("pkt_type", np.uint8),
        ("flags", np.uint8),
    ]
)  # fmt: skip
assert ROW.itemsize == ffi.sizeof("struct ffpf_row")

# Made with the interpreter's lock, which cffi's calls let go of: pyffpf/_objects.h.
_datas = ctypes.PyDLL(str(import_module("pyffpf._core").__file__)).pyffpf_datas
_datas.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32]
_datas.restype = ctypes.py_object

Rows = npt.NDArray[Any]
Octets = npt.NDArray[np.uint8]


class Batch:
    """n packets that were read together.

    `rows` (n,) is a structured array with the fields of ROW: ts_ns since 1970 UTC; offset of the packet in `octets`;
    caplen and len, octets captured and on the wire; result of the filter; ifindex; vlan, TPID in the upper 16 bits and
    TCI in the lower, 0 without a tag; protocol, the Ethernet type of a live capture; pkt_type, 4 for packets that this
    machine sent; flags. `octets` holds the packets one after the other; it is None when they were not asked for.

    A batch that was read with copy=True, as by default, is its own memory: it stays. One that was read with copy=False
    lies in the reader's memory; see Capture.read_batch. `with batch:` releases it at the end. Where its packets may be
    overwritten meanwhile, under fast reader preference, it has octets only in that block, whose end raises Lapped if
    some were.
    """

    def __init__(self, rows: Rows, octets: Octets | None, link_type: int) -> None:
        self.rows = rows
        self.octets = octets
        self.link_type = link_type
        self._in_place = False  # octets are the reader's memory, of which only the packets are sure to be mapped
        self._racing: Octets | None = None  # octets that may be overwritten ...
        self._overwritten: Callable[[int], Rows] | None = None  # ... and who knows which were
        self._lapped: Rows | None = None

    @classmethod
    def in_place(cls, rows: Rows, octets: Octets, link_type: int, overwritten: Callable[[int], Rows] | None) -> Self:
        """A batch in the reader's memory. `overwritten`, where the writer does not wait: which rows of n have been
        overwritten by now, asked once, when no more use is made of them."""
        batch = cls(rows, octets if overwritten is None else None, link_type)
        batch._in_place = True
        if overwritten is not None:
            batch._racing, batch._overwritten = octets, overwritten
        return batch

    def __enter__(self) -> Self:
        if self._racing is not None:
            self.octets = self._racing
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._in_place:
            return
        self.release()
        # packets that changed while they were looked at explain errors, but no interrupts
        if self._lapped is not None and len(self._lapped) and (value is None or isinstance(value, Exception)):
            raise Lapped(self._lapped, len(self.rows))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """A column: batch["len"] is batch.rows["len"], (n,)."""
        column: npt.NDArray[Any] = self.rows[name]
        return column

    def __iter__(self) -> Iterator[Packet]:
        return iter(packets(self, 0, len(self.rows)))

    def packet(self, row: int) -> Packet:
        """The packet of a row; negative numbers count from the end. Raises IndexError."""
        n = len(self.rows)
        if not -n <= row < n:
            raise IndexError(f"no row {row} in a batch of {n}")
        return packets(self, row % n, 1)[0]

    def view(self, row: int) -> memoryview:
        """The octets of one packet where they lie, read-only, no copy."""
        octets = self._needed()
        start = int(self.rows["offset"][row])
        return octets[start : start + int(self.rows["caplen"][row])].data.toreadonly()

    def headers(self, n: int) -> Octets:
        """The first n octets of every packet, (packets, n); what a packet does not have is 0."""
        if n < 1:
            raise ValueError("headers of at least one octet")
        octets = self._needed()
        heads = np.empty((len(self.rows), n), np.uint8)
        if len(self.rows):
            lib.ffpf_rows_heads(_pointer(heads, "uint8_t *"), n, _pointer(self.rows, "struct ffpf_row *"),
                                len(self.rows), _pointer(octets, "uint8_t *"))  # fmt: skip
        return heads

    def fields(self, *names: str) -> Mapping[str, np.ma.MaskedArray[Any, Any]]:
        """Fields of every packet by name, as masked arrays (n,): masked where a packet has no such field.

        IPv6 addresses are (n, 16) octets, all other fields integers; `pyffpf.field_names()` lists them. Raises
        KeyError for a name that is none.
        """
        octets = self._needed()
        columns = _fields.Columns(names, len(self.rows))
        if len(self.rows):
            lib.ffpf_columns_extract(columns.struct, len(names), 0, _pointer(self.rows, "struct ffpf_row *"),
                                    len(self.rows), _pointer(octets, "uint8_t *"), self.link_type)  # fmt: skip
        return columns.arrays(len(self.rows))

    # ---- what packets look themselves up in ----

    @cached_property
    def times(self) -> list[int]:
        """rows["ts_ns"] as Python integers."""
        times: list[int] = self.rows["ts_ns"].tolist()
        return times

    @cached_property
    def starts(self) -> list[int]:
        """Where each packet begins in octet_bytes."""
        starts: list[int] = (self._ends - self.rows["caplen"]).tolist()
        return starts

    @cached_property
    def ends(self) -> list[int]:
        """... and ends."""
        ends: list[int] = self._ends.tolist()
        return ends

    @property
    def _ends(self) -> npt.NDArray[np.uint64]:
        if self._in_place:
            return np.cumsum(self.rows["caplen"], dtype=np.uint64)
        ends: npt.NDArray[np.uint64] = self.rows["offset"] + self.rows["caplen"]
        return ends

    @cached_property
    def datas(self) -> list[bytes]:
        """The octets of each packet; all are made when the first is asked for, which costs less than one by one."""
        datas: list[bytes] = _datas(self._needed().ctypes.data, self.rows.ctypes.data, len(self.rows))
        return datas

    @cached_property
    def octet_bytes(self) -> bytes:
        """All octets as one object, of which packets are slices."""
        return b"".join(self.datas) if self._in_place else self._needed().tobytes()

    def release(self) -> None:
        """Lets go of the octets; rows stay. Of a batch that was not copied the capture can then go on."""
        if self._racing is not None and self._overwritten is not None:
            self._lapped = self._overwritten(len(self.rows))
        self.octets = self._racing = None

    def select(self, rows: npt.NDArray[Any]) -> Batch:
        """The batch of some of its packets, in the order given: by a mask (n,) or row numbers. Octets are shared."""
        batch = Batch(self.rows[rows], self.octets, self.link_type)
        batch._in_place = self._in_place
        return batch

    def _needed(self) -> Octets:
        if self.octets is None:
            if self._racing is not None:
                raise ValueError("packets of this batch may be overwritten while they are looked at: use `with batch:`")
            raise ValueError("this batch has no octets: it was read without them, or has been released")
        return self.octets


def _pointer(array: npt.NDArray[Any], kind: str) -> Any:
    """The array's memory for the core, which has it until its call returns."""
    return ffi.cast(kind, array.ctypes.data)
