# SPDX-License-Identifier: BSD-3-Clause
"""A board's filter as a source of userspace lanes."""

from __future__ import annotations

from pyffpf._core import ffi, lib
from pyffpf.daemon.boards import Board
from pyffpf.daemon.userspace import LIVE_SNAP_LEN, UserspaceSource, core_call

KIND = "ixp"
WINDOW_WAIT_MS = 5  # packets are looked at this long after the first of them at the latest
WANT = 64  # ... or when there are so many


def open_board(board: Board, pbuf_bytes: int) -> UserspaceSource:
    """RefusedError: no board answers, or its filters are in use. EngineError: what it says makes no sense."""
    config = ffi.new("struct ffpf_ixp_config *")
    name = ffi.new("char[]", board.board.encode())
    config.board, config.snap_len, config.tick = name, LIVE_SNAP_LEN, lib.FFPF_TICK_NS
    config.timeout_ms, config.want, config.nonblock = WINDOW_WAIT_MS, WANT, True
    reader = ffi.new("struct ffpf_reader **")
    core_call(lib.ffpf_ixp_open, reader, config)
    feed_config = ffi.new("struct ffpf_feed_config *")
    feed_config.loops, feed_config.tells_failure = 1, True
    feed_config.full = lib.FFPF_FEED_WAITS if board.lossless else lib.FFPF_FEED_DROPS
    feed_config.patience_ns = board.patience_ms * 1_000_000
    feed = ffi.new("struct ffpf_feed **")
    try:
        core_call(lib.ffpf_feed_create, feed, reader[0], feed_config)
    except BaseException:
        reader[0].ops.close(reader[0])
        raise
    return UserspaceSource(KIND, 0, feed[0], pbuf_bytes, board.readers, None, tells_failure=True)
