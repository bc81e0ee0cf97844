# SPDX-License-Identifier: BSD-3-Clause
"""What nodes of ffpfd deliver, as a reader of the core: lanes that the kernel fills, mapped here.

flow ffpfd opened --descriptors--> Delivery --reader--> (device,given:NAME) of a graph of this process
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any, Protocol

from pyffpf._core import ffi, lib
from pyffpf.cli.control import ControlError
from pyffpf.errors import check, new_error

EVENTS = {
    "eventfd": lib.FFPF_LANES_EVENT_EVENTFD,
    "ringbuf": lib.FFPF_LANES_EVENT_RINGBUF,
    "timerfd": lib.FFPF_LANES_EVENT_TIMERFD,
}
_LIVING: dict[int, Delivery] = {}  # by the number that the core knows it by, until its reader is closed


def _succeed(remote: Any, lane: int, out: Any, error: Any) -> int:
    return _LIVING[int(ffi.cast("uintptr_t", remote))].succeed(lane, out, error)


def _retire(remote: Any, lane: int, part: Any) -> None:
    _LIVING[int(ffi.cast("uintptr_t", remote))].retire(lane, part)


def _closed(remote: Any) -> None:
    _LIVING.pop(int(ffi.cast("uintptr_t", remote))).unmap()


_SUCCEED = ffi.callback(
    "int(void *, uint32_t, struct ffpf_lanes_part *, struct ffpf_error *)", _succeed, error=-lib.FFPF_E_GENERIC
)
_RETIRE = ffi.callback("void(void *, uint32_t, const struct ffpf_lanes_part *)", _retire)
_CLOSED = ffi.callback("void(void *)", _closed)


class Delivering(Protocol):
    """A flow of ffpfd's that delivers. descriptors, facts: as the protocol's `open` has them."""

    source: str
    facts: Mapping[str, Any]
    descriptors: dict[str, int]

    def successor(self, lane: int) -> Mapping[str, int]:
        """As SharedFlow's."""


class Delivery:
    """Takes over the descriptors of a flow that delivers. `give` hands the reader to a graph, which closes it."""

    def __init__(self, flow: Delivering) -> None:
        self._flow = flow
        self._count = int(flow.facts["lanes"])
        self._parts = ffi.new("struct ffpf_lanes_part[]", self._count)
        self._mapped = 0
        self._page, self._counts = ffi.new("struct ffpf_region *"), ffi.new("struct ffpf_region *")
        self._retired: dict[int, Any] = {}  # by lane: the reader looks at it until its call is over
        self._ops = ffi.new("struct ffpf_lanes_remote_ops *", {"succeed": _SUCCEED, "retire": _RETIRE})
        self._fds, flow.descriptors = flow.descriptors, {}
        self.link_type = int(flow.facts["link_type"])
        self.reader = ffi.NULL
        try:
            self._map()
            self._open()
        except BaseException:
            self.unmap()
            raise

    def _map(self) -> None:
        fds, error = self._fds, new_error()
        for lane in range(self._count):
            mapped = lib.ffpf_lanes_map_part(self._parts + lane, fds[f"lane:{lane}"], fds[f"ibuf:{lane}"], error)
            check(mapped, error)
            self._mapped += 1
        check(lib.ffpf_lanes_map_reader(self._page, fds["reader"], error), error)
        if "counts" in fds:
            check(lib.ffpf_lanes_map_counts(self._counts, fds["counts"], error), error)

    def _open(self) -> None:
        number = max(_LIVING, default=0) + 1
        parts = ffi.new(
            "struct ffpf_lanes_parts *",
            {
                "lanes": self._parts, "count": self._count, "reader": self._page[0], "counts": self._counts[0],
                "event_fd": self._fds["wake"], "event": EVENTS[self._flow.facts["wake_kind"]], "ops": self._ops,
                "remote": ffi.cast("void *", number), "writer_fd": self._fds.get("writer", 0),
            },
        )  # fmt: skip
        config = ffi.new(
            "struct ffpf_lanes_config *",
            {
                "snap_len": int(self._flow.facts["snap_len"]), "tick": lib.FFPF_TICK_NS, "want": 1, "nonblock": True,
                "hooks_results": True, "wait": lib.FFPF_LANES_WAIT_FD,
            },
        )  # fmt: skip
        out, error = ffi.new("struct ffpf_reader **"), new_error()
        check(lib.ffpf_lanes_open(out, parts, config, error), error, self._flow.source)
        self.reader, self._number = out[0], number
        self.reader.info.link_type = self.link_type
        self.reader.info.switched = True  # by ffpfd
        _LIVING[number] = self
        for name in self._fds.keys() - {"wake", "writer"}:
            os.close(self._fds.pop(name))

    def give(self, engine: Any, name: str) -> None:
        """To a graph of the core, as (device,given:NAME): it closes the reader, and then this."""
        error = new_error()
        remote = ffi.cast("void *", self._number)
        code = lib.ffpf_engine_give_reader(engine, name.encode(), self.reader, _CLOSED, remote, error)
        if code < 0:
            self.close()
        check(code, error, self._flow.source)

    def close(self) -> None:
        """Of a reader that was given to nobody."""
        self.reader.ops.close(self.reader)
        _LIVING.pop(self._number).unmap()

    def succeed(self, lane: int, out: Any, error: Any) -> int:
        """Where a lane goes on, as ffpfd says: struct ffpf_lanes_remote_ops.succeed."""
        self._unmap_retired(lane)  # a call of the reader's follows each lane once: this one came from an earlier call
        try:
            answer = self._flow.successor(lane)
        except ControlError as refused:
            if refused.code == "busy":
                return 1
            error.code = lib.FFPF_E_DENIED
            words = f"ffpfd has ended the capture: {refused}".encode()[: len(error.text) - 1]
            ffi.memmove(error.text, words + b"\0", len(words) + 1)
            return -int(lib.FFPF_E_DENIED)
        try:
            return int(lib.ffpf_lanes_map_part(out, answer[f"lane:{lane}"], answer[f"ibuf:{lane}"], error))
        finally:
            for fd in answer.values():
                os.close(fd)

    def retire(self, lane: int, part: Any) -> None:
        """The reader has left these memories, and looks at them until its call is over."""
        first = any(self._parts[number].lane.base == part.lane.base for number in range(self._mapped))
        if not first:  # those are unmapped at the end
            self._unmap_retired(lane)
            self._retired[lane] = ffi.new("struct ffpf_lanes_part *", part[0])

    def _unmap_retired(self, lane: int) -> None:
        part = self._retired.pop(lane, None)
        if part is not None:
            lib.ffpf_lanes_unmap_part(part)

    def unmap(self) -> None:
        """The reader is closed: nobody looks at the memories any more."""
        for lane in list(self._retired):
            self._unmap_retired(lane)
        for lane in range(self._mapped):
            lib.ffpf_lanes_unmap_part(self._parts + lane)
        self._mapped = 0
        for region in (self._page, self._counts):
            if region.base != ffi.NULL:
                lib.ffpf_region_close(region)
                region.base = ffi.NULL
        for fd in self._fds.values():
            with contextlib.suppress(OSError):
                os.close(fd)
        self._fds = {}
