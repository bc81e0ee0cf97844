# SPDX-License-Identifier: BSD-3-Clause
"""For tests and bench: a board and its readers in one process (bench_board.c), and what they counted."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import build
from ixp_driver import framework
from ixp_driver.microc import Object

AT_END = 65535  # READ of bench_board.c
EMPTY, LOADED, RUNS, HUNG, FAULTED, LOST = range(6)  # enum ffpf_ixp_engine_state
PORT_ENDED, PORT_FAILED = 2, 3  # enum ffpf_ixp_port_state
DEAD = 3  # enum ffpf_ixp_board_state


@lru_cache(maxsize=2)
def bench_program(variant: str) -> Path:
    with build.locked():
        (program,) = build.build_programs("bench_", variant, "ixp_driver/board/")
    return program


@lru_cache(maxsize=2)
def board_program(variant: str) -> Path:
    with build.locked():
        return build.build_board_program(variant)


def object_path(made: Object, folder: Path, name: str) -> str:
    path = folder / f"{name}.ixpo"
    path.write_bytes(made.octets)
    return str(path)


def play(
    folder: Path, ports: Sequence[str], filters: Sequence[Object | None] = (None,), *, bms: str = "srp",
    read: int = 16, params: Mapping[str, int] | None = None, variant: str = "asan", receive: Object | None = None,
    mbuf: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """folder: for object files; None: a filter that takes every packet, and the framework's receive engine.
    mbuf: octets of each filter's that brings a program."""
    paths = [f"{object_path(made, folder, f'filter{i}')}:{mbuf}" if made else "-" for i, made in enumerate(filters)]
    given = [f"{name}={value}" for name, value in (params or {}).items()]
    command = [str(bench_program(variant)), object_path(receive or framework.receive(), folder, "receive"),
               object_path(framework.accept(), folder, "accept"), bms, str(read), ",".join(paths), *ports,
               "--", *given]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **SANITIZERS})
    if done.returncode:
        raise RuntimeError(done.stderr)
    played: dict[str, Any] = json.loads(done.stdout)
    return played


SANITIZERS = {"UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}
