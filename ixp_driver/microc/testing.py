# SPDX-License-Identifier: BSD-3-Clause
"""For tests: a program run on engine.c, and what is in memory afterwards."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import build
from ixp_driver.microc.compile import Object, compile_text
from ixp_driver.microengine.machine import Machine, Memories

SRAM, SDRAM, SCRATCH = 1 << 16, 1 << 18, 4096
SPILL = 1 << 15  # where contexts keep what they have no register for


@lru_cache(maxsize=1)
def library() -> Path:
    with build.locked():
        return build.build_engine()


def machine() -> Machine:
    return Machine(library(), Memories(bytearray(SRAM), bytearray(SDRAM), bytearray(SCRATCH)))


@dataclass
class Ran:
    words: tuple[int, ...]  # of SRAM, from 0 on
    cycles: int
    code: int


def run(text: str, given: tuple[int, ...] = (), imports: Mapping[str, int] | None = None, contexts: int = 1) -> Ran:
    """main() finds the given words in SRAM from 0 on, and ends by halt()."""
    return run_object(compile_text(text), given, imports, contexts)


def run_object(
    made: Object, given: tuple[int, ...] = (), imports: Mapping[str, int] | None = None, contexts: int = 1
) -> Ran:
    engine = machine()
    engine.memories.sram[: 4 * len(given)] = struct.pack(f"<{len(given)}I", *given)
    engine.load(made.words, made.imports, {"spill": SPILL, **(imports or {})})
    code = engine.run(contexts)
    return Ran(struct.unpack_from("<64I", engine.memories.sram), engine.engine.cycle, code)
