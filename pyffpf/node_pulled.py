# SPDX-License-Identifier: BSD-3-Clause
"""A node of a flow of this process, as what batches and columns are read from."""

from __future__ import annotations

import contextlib
import itertools
import time
from typing import TYPE_CHECKING, Any

from pyffpf._core import ffi, lib
from pyffpf.errors import Busy, FfpfError, WrongState, check, exception_of, new_error
from pyffpf.flow_handle import FlowHandle
from pyffpf.pulled import Pulled

if TYPE_CHECKING:
    from pyffpf.flow import Flow

_LIVING: dict[int, FlowHandle] = {}  # by the number that the core knows it by, until its reader is closed
_numbers = itertools.count(1)


def _closed(number: Any) -> None:
    _LIVING.pop(int(ffi.cast("uintptr_t", number))).let_go()


_CLOSED = ffi.callback("void(void *)", _closed)


class NodePulled(Pulled):
    """Whoever has the pull, a table of Arrow for one, may have it longer than the flow lives: the core's flow stays
    until then, closed."""

    def __init__(self, flow: Flow, node: int, handle: FlowHandle) -> None:
        self._flow = flow
        self._handle = handle
        self._error = new_error()
        number = next(_numbers)
        reader, out = ffi.new("struct ffpf_reader **"), ffi.new("struct ffpf_pull **")
        code = lib.ffpf_graph_node_reader(
            reader, handle.pointer, node, _CLOSED, ffi.cast("void *", number), self._error
        )  # fmt: skip
        if code < 0:
            raise flow._exception(self._error, "read")
        self._reader = reader[0]
        _LIVING[number] = handle
        handle.hold()
        check(lib.ffpf_pull_create(out, self._reader, ffi.NULL, False, self._error), self._error, flow.name)
        core = flow.graph.core  # in the middle of a filter the graph cannot be entered: later, then
        pull = ffi.gc(out[0], lambda pointer: core.when_free(lambda: lib.ffpf_pull_drop(pointer)))
        super().__init__(pull, flow.name, times_out=True, in_place=False, linger=flow.graph.linger)

    def next(self, want: Any, deadline: float | None, error: Any) -> int:
        left = -1 if deadline is None else max(1, int((deadline - time.monotonic()) * 1000 + 0.999))
        lib.ffpf_graph_node_reader_wait(self._reader, min(left, 2**31 - 1))
        with self._handle.waiting():
            outcome = super().next(want, deadline, error)
        self._flow.graph.core.returned()
        if outcome == lib.FFPF_WOULD_BLOCK:
            self._flow._for("read")  # it may have been closed meanwhile
        return outcome

    def wait_for_ever(self) -> None:
        super().wait_for_ever()
        lib.ffpf_graph_node_reader_wait(self._reader, -1)

    def failure(self, error: Any) -> FfpfError:
        if error.code == lib.FFPF_E_CLOSED:
            return WrongState(f"the flow {self.name!r} is closed")
        return exception_of(error, self.name) if error.code == lib.FFPF_E_BUSY else self._flow._exception(error, "read")

    def close(self) -> None:
        """The flow is closed. Another thread that is in it hears so by itself."""
        with contextlib.suppress(Busy):
            self.call(lib.ffpf_pull_close)
