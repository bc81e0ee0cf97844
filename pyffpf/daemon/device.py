# SPDX-License-Identifier: BSD-3-Clause
"""What the kernel says of an interface."""

from __future__ import annotations

import fcntl
import socket
import struct

from pyffpf.daemon.protocol import Code, RefusedError

SIOCGIFHWADDR = 0x8927  # linux/sockios.h


def hardware_type(name: str) -> int:
    """ARPHRD_* of an interface."""
    request = struct.pack("16s16x8x", name.encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answer = fcntl.ioctl(asking, SIOCGIFHWADDR, request)
        except OSError as error:
            raise RefusedError(Code.NO_SUCH_DEVICE, f"{name}: {error.strerror}") from error
    return int(struct.unpack_from("=H", answer, 16)[0])
