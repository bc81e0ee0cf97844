# SPDX-License-Identifier: BSD-3-Clause
"""For tests and benches: a capture on a board to its end, and what crossed the PCI bus for it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pyffpf._core import ffi, lib

from ixp_driver.host.cost import MODES
from ixp_driver.host.running import RunningBoard
from pyffpf.errors import check, exception_of, new_error
from pyffpf.filters import compile_text

SNAPLEN = 262144
WAIT_S = 60.0
COUNTED = ("packets", "reads", "bursts", "burst_words", "writes", "copied", "copied_bytes")


def set_mode(board: RunningBoard, mode: str) -> None:
    """One of MODES, by the administrator of the board."""
    error, path = new_error(), ffi.new("char[]", str(board.folder / board.name).encode())
    check(lib.ffpf_ixp_set_copy_mode(path, MODES.index(mode), error), error)


def _wait_for(reader: Any, packets: int) -> None:
    """All are in the window before the first is read: each look finds as many as a batch has."""
    counters, deadline = ffi.new("struct ffpf_counters *"), time.monotonic() + WAIT_S
    while reader.ops.counters(reader, counters) == 0 and counters.waiting < packets:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the board has brought {counters.waiting} of {packets} packets")
        time.sleep(0.001)


def counted_run(board: RunningBoard, mode: str, words: str, packets: int) -> tuple[Mapping[str, int], int]:
    """Fields of struct ffpf_ixp_accesses of a reader with the filter `words`, and how many packets it delivered. The
    board's port has so many packets, ends behind them, and holds for one filter; its buffers have room for them."""
    set_mode(board, mode)
    path = ffi.new("char[]", str(board.folder / board.name).encode())
    config = ffi.new("struct ffpf_ixp_config *", {"board": path, "snap_len": SNAPLEN, "want": 1})
    config.program.stopped = True
    reader, error, batch = ffi.new("struct ffpf_reader **"), new_error(), ffi.new("struct ffpf_batch *")
    check(lib.ffpf_ixp_open(reader, config, error), error)
    ops, delivered = reader[0].ops, 0
    program = compile_text(words, reader[0].info.link_type, SNAPLEN, lib.FFPF_FORM_DEAD)
    try:
        check(ops.set_filter(reader[0], program), error)
        check(lib.ffpf_ixp_run(reader[0], True, error), error)
        _wait_for(reader[0], packets)
        while (outcome := ops.next(reader[0], batch)) == lib.FFPF_BATCH:
            delivered += batch.count
            ops.release(reader[0], batch.count)
        if outcome != lib.FFPF_END:
            raise exception_of(ffi.addressof(reader[0].err))
        accesses = ffi.new("struct ffpf_ixp_accesses *")
        lib.ffpf_ixp_accesses(reader[0], accesses)
    finally:
        ops.close(reader[0])
        lib.ffpf_bpf_prog_destroy(program)
    return {name: int(getattr(accesses, name)) for name in COUNTED}, delivered
