# SPDX-License-Identifier: BSD-3-Clause
"""FFPF for Python: packets as numpy arrays. `pyffpf._core` is the C core through cffi.

    with pyffpf.open("eth0", "tcp port 80") as capture:
        for packet in capture:                       # or capture.batches(), capture.columns("ip.src", ...)
            print(packet.ts, len(packet))

What is named here is loaded when it is first used: commands that need none of it start quickly.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyffpf.batch import ROW, Batch
    from pyffpf.capture import Capture, open
    from pyffpf.errors import (
        BadFile,
        BadFilter,
        BadGraph,
        Busy,
        Closed,
        Denied,
        DeviceGone,
        FfpfError,
        Lapped,
        NoServer,
        NoSuchDevice,
        NotPermitted,
        NotSupported,
        StillViewed,
        SystemFailure,
        WrongState,
    )
    from pyffpf.fields import field_names
    from pyffpf.filter_classes import classes
    from pyffpf.flow import Flow
    from pyffpf.flow_node import Node
    from pyffpf.graph import Graph
    from pyffpf.packet import Packet
    from pyffpf.reading import Totals
    from pyffpf.statistics import Statistics
    from pyffpf.writer import Writer

_ERRORS = ("BadFile", "BadFilter", "BadGraph", "Busy", "Closed", "Denied", "DeviceGone", "FfpfError",
           "Lapped", "NoServer", "NoSuchDevice", "NotPermitted", "NotSupported", "StillViewed", "SystemFailure",
           "WrongState")  # fmt: skip
_HOMES = {
    "ROW": "batch", "Batch": "batch", "Capture": "capture", "Totals": "reading", "open": "capture",
    "field_names": "fields", "Flow": "flow", "Node": "flow_node", "Graph": "graph", "classes": "filter_classes",
    "Packet": "packet", "Statistics": "statistics", "Writer": "writer", **dict.fromkeys(_ERRORS, "errors"),
}  # fmt: skip

__all__ = [
    "ROW",
    "BadFile",
    "BadFilter",
    "BadGraph",
    "Batch",
    "Busy",
    "Capture",
    "Closed",
    "Denied",
    "DeviceGone",
    "FfpfError",
    "Flow",
    "Graph",
    "Lapped",
    "NoServer",
    "NoSuchDevice",
    "Node",
    "NotPermitted",
    "NotSupported",
    "Packet",
    "Statistics",
    "StillViewed",
    "SystemFailure",
    "Totals",
    "Writer",
    "WrongState",
    "classes",
    "field_names",
    "open",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pyffpf' has no attribute {name!r}")
    return getattr(import_module(f"pyffpf.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
