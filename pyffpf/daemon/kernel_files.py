# SPDX-License-Identifier: BSD-3-Clause
"""The files of a source in the kernel: what groups and flows consist of, and the names under which they are kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from pyffpf._core import ffi, lib
from pyffpf.daemon import pages
from pyffpf.daemon.engine import EngineError
from pyffpf.daemon.protocol import Code, RefusedError

CODES = {
    lib.FFPF_E_NO_SUCH_DEVICE: Code.NO_SUCH_DEVICE,
    lib.FFPF_E_DEVICE_DOWN: Code.DEVICE_DOWN,
    lib.FFPF_E_NOT_SUPPORTED: Code.NOT_SUPPORTED,
    lib.FFPF_E_NO_MEMORY: Code.LIMIT,
}


def call(function: Callable[..., int], *arguments: Any) -> None:
    """A call of the core; its story becomes the exception."""
    error = ffi.new("struct ffpf_error *")
    code = function(*arguments, error)
    if code >= 0:
        return
    text = ffi.string(error.text).decode(errors="replace")
    if error.sys_errno:
        text += f" ({os.strerror(error.sys_errno)})"
    if -code in CODES:
        raise RefusedError(CODES[-code], text)
    raise EngineError(text)


class FlowFiles:
    """A flow's descriptors."""

    def __init__(self, group: int, reader: int, wake: int, ibufs: list[int], serial: int) -> None:
        """serial: of these files, and with renew() of the IBufs; none is used twice."""
        self.group = group
        self.reader = reader
        self.wake = wake
        self.ibufs = ibufs
        self.serial = self.ibufs_serial = serial
        self.next: list[int] = []  # IBufs that the flow is about to move to
        self.next_serial = 0

    def renew(self, ibufs: list[int], serial: int) -> None:
        close_all(self.ibufs)
        self.ibufs, self.ibufs_serial = ibufs, serial

    def enter(self) -> None:
        """The flow has moved to the next ones."""
        self.renew(self.next, self.next_serial)
        self.next, self.next_serial = [], 0

    def drop_next(self) -> None:
        close_all(self.next)
        self.next, self.next_serial = [], 0

    def close(self) -> None:
        close_all([self.reader, self.wake, *self.ibufs, *self.next])


class GroupFiles:
    """A group's lanes, and what was stored in those before."""

    def __init__(self, lanes: list[int], serial: int, past_records: int = 0) -> None:
        self.lanes = lanes
        self.serial = serial
        self.past_records = past_records
        self.next: list[int] = []  # lanes that the group is about to move to
        self.next_serial = 0

    def enter(self) -> None:
        """The group has moved to the next ones."""
        self.past_records = self.records()
        close_all(self.lanes)
        self.lanes, self.serial = self.next, self.next_serial
        self.next, self.next_serial = [], 0

    def drop_next(self) -> None:
        close_all(self.next)
        self.next, self.next_serial = [], 0

    def close(self) -> None:
        close_all([*self.lanes, *self.next])

    def records(self) -> int:
        return self.past_records + sum(pages.lane_records(fd) for fd in self.lanes)


def lane_names(serial: int, lanes: int) -> list[str]:
    return [f"lane.{serial}.{lane}" for lane in range(lanes)]


def ibuf_names(serial: int, lanes: int) -> list[str]:
    return [f"ibuf.{serial}.{lane}" for lane in range(lanes)]


def flow_names(serial: int) -> list[str]:
    return [f"reader.{serial}", f"wake.{serial}"]


def close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
