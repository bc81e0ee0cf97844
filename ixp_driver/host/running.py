# SPDX-License-Identifier: BSD-3-Clause
"""For tests and benches: boards that run as processes, each with a name in a folder of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ixp_driver import framework
from ixp_driver.board.testing import board_program, object_path


@dataclass(frozen=True)
class RunningBoard:
    """folder: FFPF_IXP_DIR of whoever is to find it."""

    name: str
    folder: Path
    process: subprocess.Popen[str]

    @property
    def environ(self) -> Mapping[str, str]:
        return {**os.environ, "FFPF_IXP_DIR": str(self.folder)}

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)


@contextlib.contextmanager
def running(
    folder: Path,
    *ports: str,
    name: str = "ixp0",
    bms: str = "srp",
    params: Sequence[str] = (),
    variant: str = "normal",
) -> Iterator[RunningBoard]:
    """A board with these ports ("pcap:FILE,pace=full" ...), until the end of the context."""
    objects = [object_path(made, folder, name) for made, name in (
        (framework.receive(), "receive"), (framework.accept(), "accept"))]  # fmt: skip
    command = [str(board_program(variant)), str(folder / name), name, *objects, bms, *ports, "--", *params]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield RunningBoard(name, folder, process)
    finally:
        process.terminate()
        process.communicate(timeout=30)
