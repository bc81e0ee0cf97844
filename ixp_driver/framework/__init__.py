# SPDX-License-Identifier: BSD-3-Clause
"""The framework's microcode, compiled: what receives packets, and what a filter's slot lies in.

receive()        -> Object of a receive engine
program(slot)    -> Object of a filter's engine, around a slot: the text of ffpf_filter() in microengine C
accept()         -> the same, whose slot takes every packet
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ixp_driver.microc import Object, compile_text

FOLDER = Path(__file__).resolve().parent


def _included(name: str) -> str:
    return (FOLDER / name).read_text()


@lru_cache(maxsize=1)
def receive() -> Object:
    return compile_text(_included("receive.c"), "receive.c", _included)


def program(slot: str) -> Object:
    """Raises microc's CompileError: what is wrong, or what the engine has too few of."""
    return compile_text(slot + _included("filter.c"), "filter.c", _included)


@lru_cache(maxsize=1)
def accept() -> Object:
    return program(_included("accept.c"))
