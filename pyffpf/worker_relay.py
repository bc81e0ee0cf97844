# SPDX-License-Identifier: BSD-3-Clause
"""What a group's worker hands on to the process of a flow: csrc/graph/relayed.h, and descriptors.

front's lanes, as ffpfd gave them -+
                                   +-> the flow's process: lane:N, ibuf:N, reader, wake, writer
IBufs of the relay, one a lane ----+
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

from pyffpf._core import ffi, lib
from pyffpf.errors import FfpfError, NoSuchDevice, check, new_error
from pyffpf.flow import Flow

BEHIND_MAX = 3  # RELAY_BEHIND_MAX of csrc/relay/relay.h
INDEX_BYTES = 8

Named = list[tuple[str, int]]


class Lanes:
    """Descriptors of the lanes that a front reads: by number, and by how often that one has moved. Later ones keep a
    few before them, for who has yet to come there."""

    def __init__(self, fds: Mapping[str, int], count: int) -> None:
        self._fds = [{0: os.dup(fds[f"lane:{lane}"])} for lane in range(count)]

    @property
    def count(self) -> int:
        return len(self._fds)

    def moved(self, lane: int, fd: int) -> None:
        """Where it goes on: copied."""
        known = self._fds[lane]
        latest = max(known) + 1
        known[latest] = os.dup(fd)
        for old in [one for one in known if one < latest - BEHIND_MAX]:
            os.close(known.pop(old))

    def copy(self, lane: int, move: int) -> int:
        """The caller's. KeyError: it is too old."""
        return os.dup(self._fds[lane][move])

    def close(self) -> None:
        for known in self._fds:
            for fd in known.values():
                os.close(fd)
        self._fds = []


class Relay:
    """For one flow. said: what ffpfd asks for. flow_of: what a node that it names is in this process."""

    def __init__(
        self, said: Mapping[str, Any], device: Flow, lanes: Lanes, writer: int, flow_of: Callable[[str | int], Flow]
    ) -> None:
        self._lanes, self._writer = lanes, writer
        self._closing = threading.Lock()  # two threads: one reads packets, one is asked
        self._given: dict[int, tuple[int, int]] = {}  # by lane: the request, and the move that it was given
        out, error = ffi.new("struct ffpf_graph_relay **"), new_error()
        config = ffi.new("struct ffpf_relay_config *", {
            "slots": int(said["ibuf_bytes"]) // INDEX_BYTES, "limit_ns": int(said["limit_ms"]) * 1_000_000,
            "memory": lib.FFPF_MEMORY_FD,
        })  # fmt: skip
        check(lib.ffpf_graph_relay_open(out, device._pointer, config, error), error)
        self._pointer = out[0]
        try:
            for node in said["nodes"]:
                flow = flow_of(node)
                check(lib.ffpf_graph_relay_add(self._pointer, flow._pointer, lib.FFPF_GRAPH_LAST, error), error)
        except BaseException:
            self.close()
            raise

    def _fd(self, call: Callable[..., int], *arguments: Any) -> int:
        error = new_error()
        return check(call(self._pointer, *arguments, error), error)

    def _lane(self, lane: int, least: int, request: int) -> Named:
        """Where a reader goes on that has been before `least`. NoSuchDevice: it has not moved."""
        move = ffi.new("uint32_t *")
        ibuf = self._fd(lib.ffpf_graph_relay_ibuf, lane, least, move)
        try:
            named = [(f"lane:{lane}", self._lanes.copy(lane, move[0])), (f"ibuf:{lane}", ibuf)]
        except BaseException:
            os.close(ibuf)
            raise
        self._given[lane] = (request, int(move[0]))
        return named

    def opened(self) -> Named:
        """What a reader begins with; once more the same if it is asked for again before anything was read."""
        named = [("writer", os.dup(self._writer))]
        try:
            named.append(("reader", self._fd(lib.ffpf_graph_relay_reader)))
            named.append(("wake", self._fd(lib.ffpf_graph_relay_event)))
            for lane in range(self._lanes.count):
                named += self._lane(lane, 0, -1)
        except BaseException:
            for _, fd in named:
                os.close(fd)
            raise
        return named

    def successor(self, lane: int, request: int) -> Named:
        """Empty: not yet. The same request is answered in the same way."""
        before, move = self._given[lane]
        try:
            return self._lane(lane, move if before == request else move + 1, request)
        except NoSuchDevice:
            return []
        except KeyError as error:
            raise FfpfError(f"lane {lane}: the reader is too far behind") from error

    def look(self) -> None:
        """What was read goes back to the kernel, though the flow is paused."""
        with self._closing:
            if self._pointer != ffi.NULL:
                lib.ffpf_graph_relay_look(self._pointer)

    def close(self) -> None:
        with self._closing:
            lib.ffpf_graph_relay_close(self._pointer)
            self._pointer = ffi.NULL
