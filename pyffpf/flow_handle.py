# SPDX-License-Identifier: BSD-3-Clause
"""A flow of the core, as long as anybody needs it: who waits in it, and arrays of its MBufs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pyffpf._core import ffi, lib
from pyffpf.engine_core import Core
from pyffpf.errors import check, new_error

if TYPE_CHECKING:
    from pyffpf.graph import Graph


class FlowHandle:
    """A flow of the core, and whether arrays of its MBufs live: their memory is the flow's, which closes after them."""

    def __init__(self, graph: Graph, name: str | None, share: bool) -> None:
        out, error = ffi.new("struct ffpf_graph_flow **"), new_error()
        sharing = lib.FFPF_GRAPH_SHARE_ALL if share else lib.FFPF_GRAPH_SHARE_NONE
        named = name.encode() if name is not None else ffi.NULL
        check(lib.ffpf_graph_flow_create(out, graph._open(), named, sharing, error), error)
        self._core: Core | None = graph.core
        self.pointer = out[0]
        self.inside = 0  # threads that wait in the core
        self._views = 0
        self._holds = 0  # readers that look at it
        self._ended = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Another thread may close the flow meanwhile."""
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    def view(self, data: Any, octets: int) -> Any:
        """A writable buffer of memory that stays until nobody has it."""
        self._views += 1
        memory = ffi.gc(ffi.cast("uint8_t *", data), self._forget)
        return ffi.buffer(memory, octets)

    def _forget(self, _: Any) -> None:
        self._views -= 1
        self._destroy_unneeded()

    def hold(self) -> None:
        """A reader looks at it from now on."""
        self._holds += 1

    def let_go(self) -> None:
        """... and does not any more."""
        self._holds -= 1
        self._destroy_unneeded()

    def _destroy_unneeded(self) -> None:
        if self._ended and not self._views and not self._holds and not self.inside and self._core:
            self._core.when_free(self._destroy)

    def end(self) -> None:
        """Closes the flow, now or with the last view; raises what the core says of it."""
        self._ended = True
        error = new_error()
        if self._views:
            if lib.ffpf_graph_flow_state(self.pointer) == lib.FFPF_GRAPH_ACTIVE:
                lib.ffpf_graph_flow_pause(self.pointer, error)
            return
        code = lib.ffpf_graph_flow_close(self.pointer, error)
        self._destroy_unneeded()  # a thread that waits looks at it once more: then the graph frees it with itself
        check(code, error)

    def _destroy(self) -> None:
        if self.pointer == ffi.NULL:
            return
        lib.ffpf_graph_flow_destroy(self.pointer)
        self.pointer = ffi.NULL
        self._core = None
