# SPDX-License-Identifier: BSD-3-Clause
"""Programs that capture as snort 2.9 does, daq_driver.c over Debian's libdaq 2 and its pcap module, and as Snort 3 and
Suricata do, ids_driver.c."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path


@functools.cache
def compiled(name: str, *libraries: str) -> Path:
    """The program of that name, compiled once for this run, where every user may run it."""
    directory = Path(tempfile.mkdtemp(prefix="ffpf-daq-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    directory.chmod(0o755)
    program = directory / name
    source = Path(__file__).resolve().with_name(f"{name}.c")
    options = ["-Wall", "-Wextra", "-Werror", "-O2", "-pthread"]
    subprocess.run(["gcc", *options, "-o", program, source, *libraries], check=True)
    return program


def driver() -> Path:
    return compiled("daq_driver", "-ldaq")


def modules() -> Path:
    """Where libdaq's modules are."""
    return next(path.parent for path in Path("/usr/lib").glob("*/daq/daq_pcap.so"))
