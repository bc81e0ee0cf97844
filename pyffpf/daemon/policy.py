# SPDX-License-Identifier: BSD-3-Clause
"""Who may capture what, with which buffers: the configuration's rules applied to a peer.

Root may do everything. Anybody else needs an [[allow]] rule that names the user or one of the groups, and the source;
of several the widest holds. A flow group is one access right: its members read one another's packets, so whoever may
see less of a packet than others has buffers apart (GroupKey.snap_len).
"""

from __future__ import annotations

import grp
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fpl.graph.node import Level, Node, Pins
from pyffpf.daemon.config import AllowRule, Config
from pyffpf.daemon.credentials import Peer
from pyffpf.daemon.programs import check_programs
from pyffpf.daemon.protocol import SNAP_LEN_MAX, Code, Open, RefusedError


@dataclass(frozen=True)
class Grant:
    """What a rule gives for one source."""

    promisc: bool
    snap_len: int


@dataclass(frozen=True)
class GroupKey:
    """A flow group on a source: `gid` and how much of a packet its members may see."""

    gid: int
    snap_len: int


@dataclass(frozen=True)
class GroupPlan:
    """How a group's buffers are made. Sizes in octets; stall_ms 0: never moved."""

    name: str
    bms: str
    ibuf_bytes: int
    ibuf_bytes_max: int
    stall_ms: int


@dataclass(frozen=True)
class Right:
    """What a request to open was granted."""

    key: GroupKey
    plan: GroupPlan


@dataclass(frozen=True)
class Usage:
    """What a user's flows hold now."""

    flows: int
    memory: int
    nodes: int = 0  # of graphs


def group_name(gid: int) -> str:
    """The name of a group id, or its number."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _gid(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return int(name) if name.isascii() and name.isdigit() and int(name) < 2**32 - 1 else None


def _uid(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return int(name) if name.isascii() and name.isdigit() and int(name) < 2**32 - 1 else None


class Policy:
    """The rules of one configuration. Names are looked up when they are needed: users and groups come and go."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def is_admin(self, peer: Peer) -> bool:
        admins = _gid(self._config.daemon.admin_group)
        return peer.uid == 0 or (admins is not None and admins in peer.groups)

    def grant(self, peer: Peer, source: str) -> Grant:
        """RefusedError with `denied` and the reason when the peer has no right to the source."""
        if peer.uid == 0:
            return Grant(True, SNAP_LEN_MAX)
        rules = [rule for rule in self._config.allow if _names(rule, peer)]
        if not rules:
            raise RefusedError(
                Code.DENIED, f"user {peer.uid} may not capture: no rule of ffpfd's configuration names it"
            )
        rules = [rule for rule in rules if any(fnmatchcase(source, pattern) for pattern in rule.sources)]
        if not rules:
            raise RefusedError(Code.DENIED, f"user {peer.uid} may not capture from {source}")
        return Grant(
            any(rule.promisc for rule in rules),
            min(self._config.limits.snap_len, max(rule.snap_len for rule in rules)),
        )

    def flow_group(self, peer: Peer, name: str | None) -> int:
        """The group id that a flow belongs to: the peer's, or one that it names and is a member of."""
        if name is None:
            return peer.gid
        gid = _gid(name)
        if gid is None:
            raise RefusedError(Code.INVALID, f"there is no group {name}")
        if peer.uid != 0 and gid not in peer.groups:
            raise RefusedError(Code.DENIED, f"user {peer.uid} is no member of group {name}")
        return gid

    def decide(self, peer: Peer, request: Open, source: str) -> Right:
        """The group of a flow that the peer may open; RefusedError when it may not. `source` is the name that it has
        now, whatever other name the request has for it. Asks the system who is who, and so may block."""
        grant = self.grant(peer, source)
        if request.promisc and not grant.promisc:
            raise RefusedError(Code.DENIED, f"user {peer.uid} may not use promiscuous mode on {source}")
        key = GroupKey(self.flow_group(peer, request.group), grant.snap_len)
        return Right(key, self.plan(key.gid))

    def ended(self, peer: Peer, source: str, promisc: bool, snap_len: int) -> str | None:
        """Why a right that was granted once is none any more; None: it still is."""
        try:
            grant = self.grant(peer, source)
        except RefusedError as refused:
            return refused.text
        if promisc and not grant.promisc:
            return f"user {peer.uid} may not use promiscuous mode on {source} any more"
        if snap_len > grant.snap_len:
            return f"user {peer.uid} may see {grant.snap_len} octets of a packet now"
        return None

    def plan(self, gid: int) -> GroupPlan:
        buffers = self._config.buffers
        name = group_name(gid)
        own = self._config.group.get(name) or self._config.group.get(str(gid))
        return GroupPlan(
            name,
            (own and own.bms) or buffers.bms,
            buffers.ibuf_bytes,
            buffers.ibuf_bytes_max,
            own.stall_ms if own and own.stall_ms is not None else buffers.stall_ms,
        )

    def source_bytes(self, source: str) -> int:
        """Octets of PBuf that each group has on the source, over all lanes."""
        own = self._config.source.get(source)
        return (own and own.bytes) or self._config.buffers.bytes

    def check_limits(self, peer: Peer, usage: Usage, more_memory: int) -> None:
        """RefusedError with `limit` when one more flow that needs so much memory is too much for the user."""
        limits = self._config.limits
        if peer.uid == 0:
            return
        if usage.flows >= limits.flows:
            raise RefusedError(Code.LIMIT, f"user {peer.uid} has {usage.flows} flows, and may have {limits.flows}")
        self.check_memory(peer, usage, more_memory)

    def check_memory(self, peer: Peer, usage: Usage, more_memory: int) -> None:
        """RefusedError with `limit` when so much more memory is too much for the user."""
        limits = self._config.limits
        if peer.uid != 0 and usage.memory + more_memory > limits.memory:
            raise RefusedError(
                Code.LIMIT,
                f"user {peer.uid} holds {usage.memory} octets of buffers, needs {more_memory} more, "
                f"and may have {limits.memory}",
            )

    def check_nodes(self, peer: Peer, usage: Usage, more: int) -> None:
        """RefusedError with `limit` when a graph with so many nodes is too much for the user."""
        limits = self._config.limits
        if peer.uid != 0 and usage.nodes + more > limits.nodes:
            raise RefusedError(
                Code.LIMIT,
                f"user {peer.uid} has {usage.nodes} nodes in graphs, wants {more} more, and may have {limits.nodes}",
            )

    def check_programs(self, nodes: Sequence[Node]) -> None:
        """RefusedError with `denied` for a program in FPL-2 that [fpl2] does not allow. Reads files: it may block."""
        check_programs(self._config.fpl2, nodes)

    def pins(self) -> Pins:
        """Where the administrator wants classes to run."""
        return {name: Level(of_class.level) for name, of_class in self._config.classes.items() if of_class.level}


def _names(rule: AllowRule, peer: Peer) -> bool:
    if "*" in rule.users or "*" in rule.groups:
        return True
    return any(_uid(user) == peer.uid for user in rule.users) or any(
        _gid(group) in peer.groups for group in rule.groups
    )
