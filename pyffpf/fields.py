# SPDX-License-Identifier: BSD-3-Clause
"""Fields of packets as columns; csrc/columns/fields.c has the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.ma  # else numpy loads it with the first column, which takes longer than many a file
import numpy.typing as npt

from pyffpf._core import ffi, lib

KINDS: dict[int, tuple[type[np.unsignedinteger[Any]], int]] = {
    lib.FFPF_COLUMN_U8: (np.uint8, 1),
    lib.FFPF_COLUMN_U16: (np.uint16, 1),
    lib.FFPF_COLUMN_U32: (np.uint32, 1),
    lib.FFPF_COLUMN_U64: (np.uint64, 1),
    lib.FFPF_COLUMN_OCTETS16: (np.uint8, 16),
}


@cache
def field_names() -> dict[str, str]:
    """Every field that there is: its name, and what it means."""
    found = {}
    number = 0
    while (field := lib.ffpf_column_field_number(number)) != ffi.NULL:
        found[ffi.string(field.name).decode()] = ffi.string(field.summary).decode()
        number += 1
    return found


def find(name: str) -> Any:
    """The core's description of a field; KeyError when there is none of that name."""
    field = lib.ffpf_column_field_find(name.encode())
    if field == ffi.NULL:
        near = [known for known in field_names() if known.split(".")[0] == name.split(".")[0]]
        raise KeyError(f"no field {name!r}; there are {', '.join(near or field_names())}")
    return field


class Columns:
    """Memory for `room` rows of the named fields, and the core's view of it. allocate(name, octets) gives it."""

    def __init__(
        self, names: Sequence[str], room: int, allocate: Callable[[str, int], npt.NDArray[np.uint8]] | None = None
    ) -> None:
        give = allocate or (lambda _, octets: np.empty(octets, np.uint8))
        self.names = names
        self.values: list[npt.NDArray[Any]] = []
        self.valid: list[npt.NDArray[np.uint8]] = []
        self.struct = ffi.new("struct ffpf_column[]", max(len(names), 1))
        for i, name in enumerate(names):
            field = find(name)
            kind, width = KINDS[field.kind]
            octets = room * width * np.dtype(kind).itemsize
            values = give(f"values of {name}", octets)[:octets].view(kind)
            if width > 1:
                values = values.reshape(room, width)
            valid = give(f"valid of {name}", room)
            self.values.append(values)
            self.valid.append(valid)
            self.struct[i].field = field
            self.struct[i].values = ffi.cast("void *", values.ctypes.data)
            self.struct[i].valid = ffi.cast("uint8_t *", valid.ctypes.data)

    def arrays(self, n: int) -> dict[str, np.ma.MaskedArray[Any, Any]]:
        """The first n rows as masked arrays."""
        found = {}
        for name, values, valid in zip(self.names, self.values, self.valid, strict=True):
            mask = valid[:n] == 0
            if values.ndim > 1:
                mask = np.broadcast_to(mask[:, None], values[:n].shape)
            found[name] = np.ma.MaskedArray(values[:n], mask=mask)
        return found
