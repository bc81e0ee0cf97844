# SPDX-License-Identifier: BSD-3-Clause
"""Packet descriptors of the filter graph as batches: copied, so that the core can have its memory back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pyffpf._core import ffi, lib
from pyffpf.batch import ROW, Batch

ETHERNET = 1  # DLT_EN10MB


def empty_batch(link_type: int = ETHERNET) -> Batch:
    """No packets."""
    return Batch(np.empty(0, ROW), np.empty(0, np.uint8), link_type)


def batches_of(batch: Any) -> Iterator[Batch]:
    """From a `struct ffpf_graph_batch *`: one Batch for each run of packets of one link type, nearly always one."""
    if not batch.count:
        return
    types = np.frombuffer(ffi.buffer(ffi.cast("char *", batch.link_types), 2 * batch.count), np.uint16).copy()
    ends = [*(np.flatnonzero(np.diff(types)) + 1).tolist(), batch.count]
    begin = 0
    for end in ends:
        yield _gathered(batch.pkts + begin, end - begin, int(types[begin]))
        begin = end


def batches_of_nodes(packets: Any, count: int) -> Iterator[Batch]:
    """From `struct ffpf_node_pkt[]`, what a class's filter is given: the same."""
    structs = ffi.new("struct ffpf_packet[]", count)
    types = np.empty(count, np.uint16)
    for number in range(count):
        structs[number] = packets[number].pkt[0]
        structs[number].result = packets[number].result
        types[number] = packets[number].link_type
    ends = [*(np.flatnonzero(np.diff(types)) + 1).tolist(), count]
    begin = 0
    for end in ends:
        yield _gathered(structs + begin, end - begin, int(types[begin]))
        begin = end


def _gathered(packets: Any, count: int, link_type: int) -> Batch:
    rows = np.empty(count, ROW)
    octets = np.empty(lib.ffpf_rows_octets(packets, count), np.uint8)
    lib.ffpf_rows_gather(ffi.cast("struct ffpf_row *", rows.ctypes.data), ffi.cast("uint8_t *", octets.ctypes.data),
                         packets, count)  # fmt: skip
    return Batch(rows, octets, link_type)
