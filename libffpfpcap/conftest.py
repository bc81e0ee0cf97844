# SPDX-License-Identifier: BSD-3-Clause
"""The library under test is built first; FFPF_LIBRARY names another one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOM = Path(__file__).resolve().parent
for folder in (ROOM, ROOM.parent, ROOM.parent / "csrc"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture(scope="session", autouse=True)
def library() -> Path:
    """The drop-in, freshly built."""
    import build

    if "FFPF_LIBRARY" in os.environ:
        return Path(os.environ["FFPF_LIBRARY"])
    with build.locked():
        return build.build_library("normal")


@pytest.fixture(scope="session")
def stock() -> Path:
    """The system's libpcap."""
    return next(
        path
        for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib")
        if (path := Path(folder, "libpcap.so.0.8")).exists()
    )
