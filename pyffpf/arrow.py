# SPDX-License-Identifier: BSD-3-Clause
"""Packets as tables of Apache Arrow, through the Arrow PyCapsule interface: pyarrow, polars, duckdb and pandas read
them, and none of them is needed here."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pyffpf import fields as _fields
from pyffpf._core import ffi, lib
from pyffpf.errors import check, new_error

if TYPE_CHECKING:
    from pyffpf.pulled import Pulled

# Made with the interpreter's lock, which cffi's calls let go of: pyffpf/_objects.h.
_new_capsule = ctypes.PyDLL(str(import_module("pyffpf._core").__file__)).pyffpf_stream_capsule
_new_capsule.argtypes = [ctypes.c_void_p]
_new_capsule.restype = ctypes.py_object


class ArrowStream:
    """What is left of the packets as a table, to be consumed once: `pyarrow.table(stream)`, `polars.DataFrame(stream)`,
    or batch by batch `pyarrow.RecordBatchReader.from_stream(stream)`.

    Columns: ts (timestamp in ns, UTC), caplen, len, result, ifindex, vlan (TPID and TCI; null without a tag), the
    fields (null where a packet has none; IPv6 addresses are 16 octets), and data (the octets) where they are wanted.
    A consumer of what is live waits until `stop`; signals and failures reach it as errors of its own.
    """

    def __init__(self, reads: Callable[[], Pulled], names: Sequence[str], rows: int, octets_bytes: int) -> None:
        self._fields = [_fields.find(name) for name in names]
        self._reads = reads
        self._rows = rows
        self._octets_bytes = octets_bytes

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        """A capsule with an ArrowArrayStream. Another schema than ours cannot be had: a request is not looked at."""
        fields = ffi.new("const struct ffpf_column_field *[]", self._fields or [ffi.NULL])
        config = ffi.new("struct ffpf_arrow_config *", {"field_count": len(self._fields), "rows": self._rows})
        config.fields = fields
        config.octets_bytes = self._octets_bytes
        out, error = ffi.new("struct ArrowArrayStream **"), new_error()
        reads = self._reads()
        reads.wait_for_ever()
        check(lib.ffpf_arrow_stream(out, reads.pull, config, error), error, reads.name)
        return _new_capsule(int(ffi.cast("uintptr_t", out[0])))
