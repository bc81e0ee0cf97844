# SPDX-License-Identifier: BSD-3-Clause
"""Filters that programs call, as FPL-2's compiler must know them: csrc/graph/callee.c runs them, in userspace."""

from __future__ import annotations

from collections.abc import Sequence

from fpl.fpl2 import FplError, check
from fpl.fpl2.check import Policy
from fpl.fpl2.compile import mbuf_size
from fpl.fpl2.externals import External, Library
from fpl.graph.node import Callee

CLASS_STEPS = 100  # FFPF_CLASS_STEPS of csrc/graph/class.h: of what is no program in FPL-2
RECORD = "file:"


def externals(calls: Sequence[Callee], mbuf: int, library: Library) -> tuple[External, ...]:
    """mbuf: octets that the caller has. A filter whose own program is none costs nothing: whoever compiles it says what
    is wrong with it."""
    known: list[External] = []
    for callee in calls:
        known.append(External(callee.name, 0, 0, _steps(callee, mbuf, Policy(externals=tuple(known), library=library))))
    return tuple(known)


def _steps(callee: Callee, mbuf: int, policy: Policy) -> int:
    if callee.kind != "FPL-2" or callee.argument.startswith(RECORD):
        return CLASS_STEPS
    try:
        octets = mbuf_size(mbuf if callee.mbuf is None else callee.mbuf)
        return check(callee.argument, mbuf_bytes=octets, policy=policy).cost.steps
    except FplError:
        return 0
