# SPDX-License-Identifier: BSD-3-Clause
"""Network processors' boards that ffpfd serves to its clients, as the administrator writes them: [source.NAME].

board = "ixp0"         # its name, or the path of its socket
lossless = true        # SRP: ffpfd waits for slow readers, and the board's PBuf fills ...
patience_ms = 1000     # ... so long for one packet
readers = 2            # begins when so many flows are open

ffpfd takes one filter of the board, which lets everything through: its flow groups' hooks run the clients' filters, on
the window, or in host memory where the administrator of the board has it copy all (ixp_driver/host).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Board:
    """One board that clients open by the name of its table."""

    board: str
    lossless: bool = False
    patience_ms: int = 1000
    readers: int = 1
