# SPDX-License-Identifier: BSD-3-Clause
"""The first process of a guest that `old_kernel` boots: makes the machine ready, runs `guest_checks`, turns it off.

    init PROJECT PYTHON [CHECK ...]        # the kernel passes what stands behind "--" on its command line

Modules of the kernel lie in /modules, named in the order in which they are to be loaded.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

MOUNTS = (
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("devpts", "/dev/pts"),
    ("tmpfs", "/dev/shm"),
    ("tmpfs", "/run"),
    ("bpf", "/sys/fs/bpf"),
)
MARK = "ffpf-check "  # begins the lines of guest_checks that are for old_kernel
SYS_FINIT_MODULE = 313  # x86-64
POWER_OFF = 0x4321FEDC  # linux/reboot.h


def _check(libc: ctypes.CDLL, outcome: int, what: str) -> None:
    if outcome:
        print(f"{what}: {os.strerror(ctypes.get_errno())}", flush=True)


def main(project: str, python: str, *checks: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for kind, at in MOUNTS:
        Path(at).mkdir(exist_ok=True)
        _check(libc, libc.mount(kind.encode(), at.encode(), kind.encode(), 0, None), f"mount {at}")
    for module in sorted(Path("/modules").iterdir()):
        with module.open("rb") as file:
            _check(libc, libc.syscall(SYS_FINIT_MODULE, file.fileno(), b"", 0), f"module {module.name}")
    path = f"{Path(python).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    os.environ.update(PATH=path, HOME="/root", PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=f"{project}:{project}/csrc",
                      FFPF_TEST_PATIENCE="300")  # fmt: skip
    subprocess.run(["ip", "link", "set", "lo", "up"], check=False)
    subprocess.run([python, "-m", "compat_tests.guest_checks", *checks], cwd=project, stdin=subprocess.DEVNULL)
    os.sync()
    libc.reboot(POWER_OFF)


if __name__ == "__main__":
    main(*sys.argv[1:])
