# SPDX-License-Identifier: BSD-3-Clause
"""The state that one ffpfd leaves for the next: what there is besides what the kernel itself remembers.

Descriptors are named by their names in the store (fdstore.py): "client.NUMBER", and of a source "s.NUMBER.NAME". A name
is never given to another file. Documents of older and newer versions are read alike: fields that are missing take their
defaults, others are ignored (jsonform.py). A document of a later FORMAT is one that cannot be understood.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pyffpf.daemon import jsonform

FORMAT = 1


@dataclass(frozen=True)
class SavedClient:
    """A connection. Who is at its other end the kernel still knows."""

    number: int
    program: str = "unknown"
    greeted: bool = False


@dataclass(frozen=True)
class SavedGroup:
    number: int
    gid: int
    snap_len: int
    bms: str = "srp"
    moves: int = 0


@dataclass(frozen=True)
class SavedFlow:
    id: int
    client: int
    slot: int
    group: int  # number of its group; -1: it was revoked, and has none
    column: int
    snap_len: int
    ibuf_bytes: int
    promisc: bool = False
    generation: int = 1
    level: str = "kernel"
    kind: str = "everything"
    reason: str = ""
    insns: str | None = None  # base64 of the filter; None: everything passes
    state: str = "live"
    opened_at: float = 0.0
    # By lane, for each move that its reader has not followed yet: [name for the protocol, name in the store] of each
    successors: list[list[list[list[str]]]] = field(default_factory=list)


@dataclass(frozen=True)
class SavedSource:
    number: int
    key: str
    name: str
    pbuf_bytes: int
    state: str = "up"
    promiscuous: bool = False
    engine: str = "{}"  # what the engine wants to be told again, as JSON text
    fds: dict[str, str] = field(default_factory=dict)  # by the engine's name: the name in the store
    groups: list[SavedGroup] = field(default_factory=list)
    flows: list[SavedFlow] = field(default_factory=list)


@dataclass(frozen=True)
class Saved:
    format: int = FORMAT
    adoptions: int = 0
    last_flow_id: int = 0
    last_client: int = 0
    last_source: int = 0
    last_fd: int = 0
    clients: list[SavedClient] = field(default_factory=list)
    sources: list[SavedSource] = field(default_factory=list)


def dumps(saved: Saved) -> bytes:
    return json.dumps(jsonform.encode(saved), separators=(",", ":")).encode()


def loads(document: bytes) -> Saved:
    """ValueError when it cannot be understood."""
    parsed: Any = json.loads(document)
    saved = jsonform.decode(Saved, parsed, "state")
    if saved.format > FORMAT:
        raise ValueError(f"state of format {saved.format}, and this ffpfd knows {FORMAT}")
    return saved
