# SPDX-License-Identifier: BSD-3-Clause
"""Captures as tables of Apache Arrow, through the Arrow PyCapsule interface: pyarrow, polars, duckdb and pandas read
them, and none of them is needed here."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyffpf import fields as _fields
from pyffpf._core import ffi, lib
from pyffpf.errors import check, new_error

if TYPE_CHECKING:
    from pyffpf.capture import Capture

_NAME = b"arrow_array_stream"  # by which consumers know the capsule; it must live as long as they do
_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_new_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _Destructor)(
    ("PyCapsule_New", ctypes.pythonapi)
)
_capsule_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


# A raw address, not a py_object: the capsule is being deallocated, and must not be referred to anew.
def _free_stream(capsule: int) -> None:
    lib.ffpf_arrow_free(ffi.cast("struct ArrowArrayStream *", _capsule_pointer(capsule, _NAME)))


_free = _Destructor(_free_stream)


class ArrowStream:
    """What is left of a capture as a table, to be consumed once: `pyarrow.table(stream)`, `polars.DataFrame(stream)`,
    or batch by batch `pyarrow.RecordBatchReader.from_stream(stream)`.

    Columns: ts (timestamp in ns, UTC), caplen, len, result, ifindex, vlan (TPID and TCI; null without a tag), the
    fields (null where a packet has none; IPv6 addresses are 16 octets), and data (the octets) where they are wanted.
    A consumer of a live capture waits until `stop`; signals and failures reach it as errors of its own.
    """

    def __init__(self, capture: Capture, names: Sequence[str], rows: int, octets_bytes: int) -> None:
        self._fields = [_fields.find(name) for name in names]
        self._capture = capture
        self._rows = rows
        self._octets_bytes = octets_bytes

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        """A capsule with an ArrowArrayStream. Another schema than ours cannot be had: a request is not looked at."""
        fields = ffi.new("const struct ffpf_column_field *[]", self._fields or [ffi.NULL])
        config = ffi.new("struct ffpf_arrow_config *", {"field_count": len(self._fields), "rows": self._rows})
        config.fields = fields
        config.octets_bytes = self._octets_bytes
        out, error = ffi.new("struct ArrowArrayStream **"), new_error()
        check(lib.ffpf_arrow_stream(out, self._capture.pull, config, error), error, self._capture.name)
        return _new_capsule(int(ffi.cast("uintptr_t", out[0])), _NAME, _free)
