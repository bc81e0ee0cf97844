# SPDX-License-Identifier: BSD-3-Clause
"""The engine whose lanes this process fills: savefiles that are replayed, interfaces where eBPF is refused, and boards.

    reader (savefile, TPACKET, board) -> feed, a thread (csrc/feed) -> a hook for each group (csrc/hook) -> memfds

One lane a group, since a source has one thread. A flow that is not active has a filter that turns everything away.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pyffpf._core import ffi, lib
from pyffpf.daemon import pages
from pyffpf.daemon.engine import (
    EngineError,
    FlowCounts,
    LaneCounts,
    NamedFd,
    Placement,
    Plain,
    Prepared,
    Resolved,
    SourceCounts,
    SourceFacts,
    lane_bytes,
)
from pyffpf.daemon.protocol import INSN_BYTES, Code, RefusedError
from pyffpf.daemon.replay import Replay

if TYPE_CHECKING:
    from fpl.graph.stage import Stage

CELL_BYTES = 64
IBUF_ENTRY_BYTES = 8
PUBLISH_BATCH = 32
LIVE_SNAP_LEN = 262144
# A block of the kernel's ring is handed over at this age at the latest, the shortest that there is: so long a reader in
# immediate mode waits. 5 ms cost ffpfd 1 to 1.7% of a processor less at 50,000 packets/s, nothing at 1,000.
LIVE_BLOCK_MS = 1
LIVE_RING_BYTES = 8 << 20
DLT_LINUX_SLL, DLT_LINUX_SLL2 = 113, 276
ANY = "any"
_REPLAY = "replay:"
SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_DROP_MEMBERSHIP, PACKET_MR_PROMISC = 263, 1, 2, 1  # linux/if_packet.h
RET_K = 0x06  # BPF_RET | BPF_K
BMS = {"srp": lib.FFPF_BMS_SRP, "frp": lib.FFPF_BMS_FRP}
PACES = {
    "full": lib.FFPF_PACE_NONE,
    "recorded": lib.FFPF_PACE_RECORDED,
    "packets": lib.FFPF_PACE_PACKETS,
    "bits": lib.FFPF_PACE_BITS,
}
CODES = {
    lib.FFPF_E_NO_SUCH_DEVICE: Code.NO_SUCH_DEVICE,
    lib.FFPF_E_DEVICE_DOWN: Code.DEVICE_DOWN,
    lib.FFPF_E_NOT_SUPPORTED: Code.NOT_SUPPORTED,
    lib.FFPF_E_NO_MEMORY: Code.LIMIT,
    lib.FFPF_E_BUSY: Code.LIMIT,
}


def core_call(function: Callable[..., int], *arguments: Any) -> None:
    """A call of the core; its story becomes the exception."""
    error = ffi.new("struct ffpf_error *")
    code = function(*arguments, error)
    if code < 0:
        raise _exception(-code, ffi.string(error.text).decode(errors="replace"))


def _exception(code: int, text: str) -> Exception:
    if code in CODES:
        return RefusedError(CODES[code], text or str(CODES[code]))
    return EngineError(text)


def _program(insns: bytes) -> Any:
    """A filter ready to run; RefusedError when it is none by the kernel's rules."""
    count = len(insns) // INSN_BYTES
    array = ffi.new("struct ffpf_bpf_insn[]", count)
    ffi.memmove(array, insns, count * INSN_BYTES)
    made = ffi.new("struct ffpf_bpf_prog **")
    error = ffi.new("struct ffpf_error *")
    if lib.ffpf_bpf_validate(array, count, lib.FFPF_BPF_RULES_KERNEL, error) < 0:
        raise RefusedError(Code.INVALID, ffi.string(error.text).decode(errors="replace"))
    core_call(lib.ffpf_bpf_prog_create, made, array, count, lib.FFPF_BPF_AUTO)
    return ffi.gc(made[0], lib.ffpf_bpf_prog_destroy)


class _Hook:
    """A hook, and how many flows are attached to it."""

    def __init__(self, made: Any) -> None:
        self.made = made
        self.users = 0

    def region(self) -> Any:
        return lib.ffpf_hook_lane(self.made).region

    def records(self) -> int:
        return pages.lane_records(self.region().fd)


class _Group:
    def __init__(self, bms: str, hook: _Hook) -> None:
        self.bms = bms
        self.hook = hook  # the one that the feed gives packets to
        self.snap_len = 0
        self.past_records = 0


class _Flow:
    def __init__(self, made: Any, group: _Group, snap_len: int) -> None:
        self.made = made
        self.group = group
        self.hook = group.hook  # an older one when the flow was left behind
        self.snap_len = snap_len
        self.active = False


class UserspaceSource:
    """One reader and its feed. See engine.EngineSource."""

    def __init__(
        self,
        kind: str,
        ifindex: int,
        feed: Any,
        pbuf_bytes: int,
        readers: int,
        live_fd: int | None,
        reason: str = "",
        *,
        tells_failure: bool = False,
    ) -> None:
        """Takes the feed over. readers: it starts when so many flows are active. live_fd: the packet socket's.
        tells_failure: of the feed's configuration."""
        link_type = int(lib.ffpf_feed_info(feed).link_type)
        self.facts = SourceFacts(kind, ifindex, link_type, 1, lane_bytes(pbuf_bytes, 1), "timerfd", reason=reason)
        self._feed = feed
        self._readers = readers
        self._live_fd = live_fd
        self._tells_failure = tells_failure
        self._groups: dict[int, _Group] = {}
        self._flows: dict[int, _Flow] = {}
        self._columns: dict[int, Any] = {}
        self._nothing = _program(struct.pack("=HBBI", RET_K, 0, 0, 0))

    # ---- groups

    def _new_hook(self, bms: str, snap_len: int) -> _Hook:
        config = ffi.new("struct ffpf_hook_config *")
        config.pbuf_bytes = self.facts.lane_bytes
        config.memory = lib.FFPF_MEMORY_FD
        config.bms = BMS[bms]
        config.snap_len = snap_len
        config.publish_batch = PUBLISH_BATCH
        lib.ffpf_feed_describe(self._feed, config)
        made = ffi.new("struct ffpf_hook **")
        core_call(lib.ffpf_hook_create, made, config)
        return _Hook(made[0])

    def open_group(self, group: int, bms: str) -> None:
        hook = self._new_hook(bms, 0)
        try:
            core_call(lib.ffpf_feed_add, self._feed, hook.made)
        except BaseException:
            lib.ffpf_hook_destroy(hook.made)
            raise
        self._groups[group] = _Group(bms, hook)

    def move_group(self, group: int, moving: Mapping[int, int]) -> None:
        members = [flow for flow in self._flows.values() if flow.group is self._groups[group]]
        movers = {self._flows[slot]: octets for slot, octets in moving.items()}
        left = [flow for flow in members if flow not in movers]
        there = self._groups[group]
        hook, old = self._new_hook(there.bms, there.snap_len), there.hook
        with contextlib.ExitStack() as undo:
            undo.callback(lib.ffpf_hook_destroy, hook.made)
            for flow, octets in movers.items():
                slots = octets // IBUF_ENTRY_BYTES
                core_call(lib.ffpf_flow_prepare, flow.made, flow.hook.made, hook.made, slots)
                undo.callback(lib.ffpf_flow_abandon, flow.made, flow.hook.made)
            for flow in left:
                core_call(lib.ffpf_flow_count_on, flow.made, flow.hook.made, hook.made)
                undo.callback(lib.ffpf_flow_uncount, flow.made, flow.hook.made)
            undo.pop_all()
        for flow in movers:
            lib.ffpf_flow_leave(flow.made, flow.hook.made)
        core_call(lib.ffpf_feed_replace, self._feed, old.made, hook.made)
        there.hook = hook
        for flow in movers:
            self._arrive(flow)
        for flow in left:
            lib.ffpf_flow_counted(flow.made, flow.hook.made)
            if flow.hook is old:
                lib.ffpf_flow_strand(flow.made, flow.hook.made)
        there.past_records += old.records()
        if not old.users:
            lib.ffpf_hook_destroy(old.made)

    def close_group(self, group: int) -> None:
        hook = self._groups.pop(group).hook
        lib.ffpf_feed_remove(self._feed, hook.made)
        lib.ffpf_hook_destroy(hook.made)

    def group_records(self, group: int) -> int:
        there = self._groups[group]
        return there.past_records + there.hook.records()

    # ---- flows

    def open_flow(self, slot: int, group: int, ibuf_bytes: int, snap_len: int) -> None:
        config = ffi.new("struct ffpf_flow_config *")
        config.memory = lib.FFPF_MEMORY_FD
        config.ibuf_slots = ibuf_bytes // IBUF_ENTRY_BYTES
        config.prog = self._nothing
        config.waker = lib.FFPF_WAKER_TIMERFD
        made = ffi.new("struct ffpf_flow **")
        core_call(lib.ffpf_flow_create, made, config)
        flow = _Flow(made[0], self._groups[group], snap_len)
        try:
            core_call(lib.ffpf_hook_attach, flow.hook.made, flow.made)
        except BaseException:
            lib.ffpf_flow_destroy(flow.made)
            raise
        flow.hook.users += 1
        self._flows[slot] = flow
        self._set_snap_len(flow.group)

    def _set_snap_len(self, group: _Group) -> None:
        """As much is stored as the one that wants most of a packet wants."""
        wanted = [flow.snap_len for flow in self._flows.values() if flow.group is group]
        if wanted:
            group.snap_len = min(max(wanted), lib.FFPF_PACKET_MAX_BYTES)
            lib.ffpf_hook_set_snap_len(group.hook.made, group.snap_len)

    def grow_flow(self, slot: int, ibuf_bytes: int) -> None:
        flow = self._flows[slot]
        slots = ibuf_bytes // IBUF_ENTRY_BYTES
        core_call(lib.ffpf_flow_prepare, flow.made, flow.hook.made, flow.group.hook.made, slots)
        lib.ffpf_flow_leave(flow.made, flow.hook.made)
        self._arrive(flow)

    def _arrive(self, flow: _Flow) -> None:
        """On its group's present hook; the one that it leaves goes with its last flow."""
        left = flow.hook
        lib.ffpf_flow_arrive(flow.made, left.made)
        if left is flow.group.hook:
            return
        flow.hook = flow.group.hook
        flow.hook.users += 1
        self._leave(left, flow.group)

    def _leave(self, hook: _Hook, group: _Group) -> None:
        hook.users -= 1
        if not hook.users and hook is not group.hook:
            lib.ffpf_hook_destroy(hook.made)

    def close_flow(self, slot: int) -> None:
        flow = self._flows.pop(slot)
        core_call(lib.ffpf_hook_detach, flow.hook.made, flow.made)
        lib.ffpf_flow_destroy(flow.made)
        self._leave(flow.hook, flow.group)
        self._set_snap_len(flow.group)

    def descriptors(self, slot: int) -> list[NamedFd]:
        made = self._flows[slot].made
        return [("reader", made.reader.fd), ("wake", made.event_fd), *self.lane_descriptors(slot, 0)]

    def lane_descriptors(self, slot: int, lane: int) -> list[NamedFd]:
        at = self._flows[slot].made.lanes[lane]
        return [(f"lane:{lane}", at.lane.fd), (f"ibuf:{lane}", at.ibuf.region.fd)]

    # ---- filters

    def prepare(self, insns: bytes | None) -> Prepared:
        return Plain(insns)

    def place(self, column: int, prepared: Prepared) -> Placement:
        insns = prepared.insns
        self._columns[column] = program = ffi.NULL if insns is None else _program(insns)
        if insns is None:
            return Placement("kernel", "everything", "")
        return Placement("kernel", "native" if program.native else "interpreter", "run by the hook of a userspace lane")

    @property
    def stage(self) -> Stage | None:
        return None

    def reserve(self, column: int) -> None:
        raise EngineError("there is no stage that could decide a column")

    def clear(self, column: int) -> None:
        self._columns.pop(column, None)

    def activate(self, slot: int, column: int | None, generation: int) -> None:
        flow = self._flows[slot]
        flow.active = column is not None
        program = self._nothing if column is None else self._columns[column]
        lib.ffpf_flow_set_generation(flow.made, program, generation)
        active = sum(flow.active for flow in self._flows.values())
        if active >= self._readers and lib.ffpf_feed_state(self._feed) == lib.FFPF_FEED_READY:
            core_call(lib.ffpf_feed_start, self._feed)

    def leave(self, slot: int, column: int) -> None:
        self._flows[slot].active = False
        lib.ffpf_flow_leave_out(self._flows[slot].made, self._columns[column])

    def synchronize(self) -> None:
        """Nothing to wait for: activate returns when no hook runs the old filter any more."""

    def positions(self, slot: int, generation: int) -> list[int]:
        return [int(self._status(slot).generation_pos)]

    def _status(self, slot: int) -> Any:
        status = ffi.new("struct ffpf_flow_lane_status *")
        lib.ffpf_flow_lane_status(self._flows[slot].made, 0, status)
        return status

    # ---- the source

    def failure(self) -> str:
        """Of a feed that tells: a board's."""
        if not self._tells_failure or lib.ffpf_feed_state(self._feed) != lib.FFPF_FEED_FAILED:
            return ""
        return ffi.string(lib.ffpf_feed_error(self._feed).text).decode(errors="replace") or "it failed"

    def set_state(self, state: str) -> None:
        """The reader sees for itself that its interface went; but not always at once."""
        if state == "gone":
            lib.ffpf_feed_stop(self._feed)
            lib.ffpf_feed_join(self._feed)
            for group in self._groups.values():
                lib.ffpf_hook_close(group.hook.made)

    def set_promiscuous(self, on: bool) -> None:
        if self._live_fd is None or not self.facts.ifindex:
            return
        option = PACKET_ADD_MEMBERSHIP if on else PACKET_DROP_MEMBERSHIP
        membership = struct.pack("=iHH8x", self.facts.ifindex, PACKET_MR_PROMISC, 0)
        with socket.socket(fileno=os.dup(self._live_fd)) as packet:
            packet.setsockopt(SOL_PACKET, option, membership)

    def update_clock(self) -> None:
        """Times come from the reader, or from this process's clock."""

    def counts(self) -> SourceCounts:
        counted = ffi.new("struct ffpf_feed_counters *")
        lib.ffpf_feed_counters(self._feed, counted)
        return SourceCounts(int(counted.packets), {"kernel": int(counted.lost)}, 0, [])

    def flow_counts(self, slot: int) -> FlowCounts:
        flow, status = self._flows[slot], self._status(slot)
        totals = ffi.new("struct ffpf_counters *")
        lib.ffpf_flow_counters(flow.made, totals)
        said = pages.reader_counts(flow.made.reader.fd)
        dropped = {
            ffi.string(lib.ffpf_drop_name(cause)).decode(): int(totals.dropped[cause])
            for cause in range(lib.FFPF_DROP_CAUSES)
        }
        indexed = int(totals.delivered)  # bounds what the reader says of itself
        delivered = min(said.delivered, indexed)
        filtered = min(said.filtered, indexed - delivered)
        lapped = min(said.lapped, indexed - delivered - filtered)
        dropped["lapped"] = dropped.get("lapped", 0) + lapped
        waiting = indexed - delivered - filtered - lapped
        first, behind_bytes = int(status.first_pos), int(status.behind_cells) * CELL_BYTES
        lost = dropped["pbuf"]
        lane = LaneCounts(int(status.slots), first, int(status.w), int(status.r), behind_bytes, lost)
        return FlowCounts(int(totals.seen), int(totals.filtered) + filtered, delivered, waiting, dropped, [lane])

    def kept(self) -> None:
        """Its thread is this process's."""

    def close(self) -> None:
        lib.ffpf_feed_destroy(self._feed)
        self._feed = ffi.NULL


def is_replay(key: str) -> bool:
    """Whether this is the key of a savefile's source."""
    return key.startswith(_REPLAY)


class UserspaceEngine:
    """`replays` are the savefiles of the configuration in force, by the name that clients open them by."""

    def __init__(self, replays: Callable[[], Mapping[str, Replay]]) -> None:
        self._replays = replays

    def resolve(self, name: str) -> Resolved | None:
        """A replay of this name; None when there is none."""
        return Resolved(_REPLAY + name, name) if name in self._replays() else None

    def open_replay(self, name: str, pbuf_bytes: int) -> UserspaceSource:
        replay = self._replays().get(name)
        if replay is None:
            raise RefusedError(Code.NO_SUCH_DEVICE, f"{name}: No such device exists")
        config = ffi.new("struct ffpf_feed_config *")
        config.pace, config.rate = PACES[replay.rate.pace], replay.rate.value
        config.times = lib.FFPF_FEED_TIMES_NOW if replay.times == "now" else lib.FFPF_FEED_TIMES_GIVEN
        config.full = lib.FFPF_FEED_WAITS if replay.lossless else lib.FFPF_FEED_DROPS
        config.patience_ns = replay.patience_ms * 1_000_000
        config.loops = replay.loops
        made = ffi.new("struct ffpf_feed **")
        try:
            descriptor = os.open(replay.file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise EngineError(f"{name}: {replay.file}: {error.strerror}") from error
        try:
            core_call(lib.ffpf_feed_create_savefile, made, descriptor, config)
        finally:
            os.close(descriptor)
        return UserspaceSource("file", 0, made[0], pbuf_bytes, replay.readers, None)

    def open_live(self, resolved: Resolved, ifindex: int, hatype: int, pbuf_bytes: int, reason: str) -> UserspaceSource:
        """An interface, or `any` (ifindex 0), by TPACKET. hatype: ARPHRD_*. reason: why not in the kernel."""
        reader = _open_tpacket(resolved.name)
        config = ffi.new("struct ffpf_feed_config *")
        config.loops, config.hatype = 1, hatype
        made = ffi.new("struct ffpf_feed **")
        try:
            _check_link_type(reader, resolved.name)
            core_call(lib.ffpf_feed_create, made, reader, config)
        except BaseException:
            reader.ops.close(reader)
            raise
        return UserspaceSource("tpacket", ifindex, made[0], pbuf_bytes, 1, lib.ffpf_live_socket(reader), reason)


def _open_tpacket(device: str) -> Any:
    config = ffi.new("struct ffpf_live_config *")
    name = ffi.new("char[]", device.encode())
    config.device = name
    config.snap_len = LIVE_SNAP_LEN
    config.timeout_ms = LIVE_BLOCK_MS
    config.buffer_bytes = LIVE_RING_BYTES
    config.nonblock = True
    config.tstamp_type = lib.FFPF_TSTAMP_DEFAULT
    config.tick = lib.FFPF_TICK_NS
    made = ffi.new("struct ffpf_reader **")
    core_call(lib.ffpf_live_open, made, config, ffi.NULL)
    return made[0]


def _check_link_type(reader: Any, name: str) -> None:
    """Cooked packets have the header that carries most, or are not captured here: as in the kernel."""
    if reader.info.link_type != DLT_LINUX_SLL:
        return
    if name != ANY:
        raise RefusedError(Code.NOT_SUPPORTED, f"{name}: ffpfd does not capture from this link type")
    if reader.ops.set_link_type(reader, DLT_LINUX_SLL2) < 0:
        raise EngineError(ffi.string(reader.err.text).decode())
