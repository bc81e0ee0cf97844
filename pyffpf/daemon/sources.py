# SPDX-License-Identifier: BSD-3-Clause
"""Which engine a source is captured by.

    a savefile of the configuration  -> userspace lanes
    a board of the configuration     -> userspace lanes, filled from the board's window
    an interface, `any`              -> the kernel's hook; where the kernel refuses that, TPACKET and userspace lanes

Clients see no difference but in `ffpf status`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from pyffpf.daemon.board_source import open_board
from pyffpf.daemon.boards import Board
from pyffpf.daemon.config import Config
from pyffpf.daemon.device import hardware_type
from pyffpf.daemon.engine import (
    Adopted,
    Engine,
    EngineError,
    EngineSource,
    Kept,
    KeptFlow,
    KeptGraph,
    KeptGroup,
    Resolved,
    is_interface,
)
from pyffpf.daemon.protocol import Code, RefusedError
from pyffpf.daemon.replay import Replay
from pyffpf.daemon.userspace import UserspaceEngine, is_replay

log = logging.getLogger(__name__)
_BOARD = "board:"


class Sources:
    """The engine that ffpfd has: see engine.Engine. The configuration may change while it runs."""

    def __init__(self, kernel: Engine, config: Config) -> None:
        self._kernel = kernel
        self._replays: Mapping[str, Replay] = config.replays()
        self._boards: Mapping[str, Board] = config.boards()
        self._userspace = UserspaceEngine(lambda: self._replays)

    def configure(self, config: Config) -> None:
        """Sources that are open go on as they are."""
        self._replays, self._boards = config.replays(), config.boards()

    def on_prepared(self, call: Callable[[EngineSource], None]) -> None:
        self._kernel.on_prepared(call)

    def resolve(self, name: str) -> Resolved:
        if name in self._boards:
            return Resolved(_BOARD + name, name)
        return self._userspace.resolve(name) or self._kernel.resolve(name)

    def open_source(self, resolved: Resolved, pbuf_bytes: int) -> EngineSource:
        if is_replay(resolved.key):
            return self._userspace.open_replay(resolved.name, pbuf_bytes)
        if resolved.key.startswith(_BOARD):
            return self._open_board(resolved.name, pbuf_bytes)
        try:
            return self._kernel.open_source(resolved, pbuf_bytes)
        except EngineError as refused:
            log.warning("%s: not in the kernel, but by TPACKET: %s", resolved.name, refused)
            return self._fall_back(resolved, pbuf_bytes, refused)

    def _open_board(self, name: str, pbuf_bytes: int) -> EngineSource:
        board = self._boards.get(name)
        if board is None:
            raise RefusedError(Code.NO_SUCH_DEVICE, f"{name}: No such device exists")
        return open_board(board, pbuf_bytes)

    def _fall_back(self, resolved: Resolved, pbuf_bytes: int, refused: EngineError) -> EngineSource:
        ifindex = int(resolved.key.partition(":")[2]) if is_interface(resolved.key) else 0
        hatype = hardware_type(resolved.name) if ifindex else 0
        try:
            return self._userspace.open_live(resolved, ifindex, hatype, pbuf_bytes, str(refused))
        except EngineError as error:
            raise EngineError(f"{refused}; and by TPACKET: {error}") from error

    def adopt_source(
        self,
        resolved: Resolved,
        pbuf_bytes: int,
        kept: Kept,
        groups: Sequence[KeptGroup],
        flows: Sequence[KeptFlow],
        graphs: Sequence[KeptGraph] = (),
    ) -> Adopted:
        """Only the kernel's sources outlive a process."""
        return self._kernel.adopt_source(resolved, pbuf_bytes, kept, groups, flows, graphs)

    def close(self) -> None:
        self._kernel.close()
