# SPDX-License-Identifier: BSD-3-Clause
"""The program that captures as snort 2.9 does: daq_driver.c over Debian's libdaq 2 and its pcap module."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path


@functools.cache
def driver() -> Path:
    """Compiled once for this run, where every user may run it."""
    directory = Path(tempfile.mkdtemp(prefix="ffpf-daq-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    directory.chmod(0o755)
    program = directory / "daq_driver"
    source = Path(__file__).resolve().with_name("daq_driver.c")
    subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", "-O2", "-o", program, source, "-ldaq"], check=True)
    return program


def modules() -> Path:
    """Where libdaq's modules are."""
    return next(path.parent for path in Path("/usr/lib").glob("*/daq/daq_pcap.so"))
