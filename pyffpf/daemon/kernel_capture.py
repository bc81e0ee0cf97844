# SPDX-License-Identifier: BSD-3-Clause
"""One source of the kernel's engine: csrc/kernel for the hook and its memories, fpl.classify for the filters."""

from __future__ import annotations

import functools
import json
import logging
import os
import socket
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from fpl.classify import NETFILTER, SOCKET, Classifier, ColumnInfo, Compiler, Compilers, Filter, Maps
from fpl.classify.bpf import prog_insns
from fpl.graph.kept import KeptError, KeptStage
from fpl.graph.node import Instance
from fpl.graph.stage import Inherited, Stage
from pyffpf._core import ffi, lib
from pyffpf.daemon import jsonform, kernel_filters, kernel_sources, netfilter, pages
from pyffpf.daemon.engine import (
    FLOWS_MAX,
    GROUPS_MAX,
    EngineError,
    EngineSource,
    FlowCounts,
    Kept,
    KeptFlow,
    KeptGroup,
    LaneCounts,
    NamedFd,
    Placement,
    Prepared,
    ProgramFacts,
    SourceCounts,
    SourceFacts,
)
from pyffpf.daemon.kernel_files import FlowFiles, GroupFiles, call, flow_names, ibuf_names, lane_names
from pyffpf.daemon.kernel_filters import KernelFilter

log = logging.getLogger(__name__)

PACKET_ADD_MEMBERSHIP, PACKET_DROP_MEMBERSHIP, PACKET_MR_PROMISC = 1, 2, 1  # linux/if_packet.h
SOL_PACKET = 263
IBUF_ENTRY_BYTES = 8
BMS = {"srp": lib.FFPF_BMS_SRP, "frp": lib.FFPF_BMS_FRP}
STATES = {"up": lib.FFPF_SOURCE_UP, "down": lib.FFPF_SOURCE_DOWN, "gone": lib.FFPF_SOURCE_GONE}


class KernelSource:
    """One AF_PACKET socket or place in netfilter, its programs and maps. See engine.EngineSource."""

    def __init__(
        self,
        name: str,
        kernel: Any,
        compilers: tuple[Compiler, Compilers],
        prepared: Callable[[EngineSource], None],
        classifier_state: Mapping[str, Any] | None = None,
        kept_filters: Callable[[int, bytes], Mapping[int, bytes | Filter]] | None = None,
    ) -> None:
        """compilers: for what is done at once, and for what is prepared. prepared: see Engine.on_prepared.
        classifier_state: of the predecessor's, for a source that is adopted; kept_filters: KeptStage.filters() of
        graphs that go on: take_over_graphs() is called next."""
        self._prepared = prepared
        self._kernel = kernel
        self._name = name
        made = lib.ffpf_kernel_source(kernel)
        self._cpus = int(made.cpus)
        size = kernel_sources.CELL_BYTES << made.cells_log2
        kind = kernel_sources.kind(kernel)
        form, refusal = kernel_sources.form(kernel), kernel_sources.refusal(kernel)
        self.facts = SourceFacts(
            kind, int(made.ifindex), int(made.link_type), self._cpus, size, form=form, reason=refusal
        )
        if refusal:
            log.info("%s: the hook's form is %r: %s", name, form, refusal)
        self._fds = {
            ffi.string(lib.ffpf_kernel_fd_name(which)).decode(): int(lib.ffpf_kernel_fds(kernel).fd[which])
            for which in range(lib.FFPF_KERNEL_FD_COUNT)
            if lib.ffpf_kernel_fds(kernel).fd[which] >= 0
        }
        fds, column_bytes = self._fds, ffi.sizeof("struct ffpf_kernel_column")
        place = NETFILTER if kind == netfilter.KIND else SOCKET
        maps = Maps(fds["progs"], fds["scratch"], fds["control"], fds["columns"], column_bytes, place)
        self._forget_graphs = functools.partial(Stage.forget, maps)
        if classifier_state is not None and kept_filters is None:
            self._forget_graphs()
        link, library = kernel_sources.link_of(self.facts.link_type), kernel_sources.nodes_library()
        filters = kept_filters(link, library) if kept_filters is not None else None
        self._classifier = Classifier(maps, classifier_state, *compilers, filters)
        self._new_stage = functools.partial(Stage, self._classifier, compilers[0], maps, link, library,
                                            self._next_serial)  # fmt: skip
        self._stage: Stage | None = None
        self._serial = 0  # of the files of groups and flows
        self._columns: dict[int, ColumnInfo] = {}
        self._groups: dict[int, GroupFiles] = {}
        self._flows: dict[int, FlowFiles] = {}

    @property
    def handle(self) -> Any:
        """struct ffpf_kernel *, for tests that stop it in the middle of something."""
        return self._kernel

    # ---- groups

    def open_group(self, group: int, bms: str) -> None:
        lanes = ffi.new("int[]", self._cpus)
        call(lib.ffpf_kernel_group_create, self._kernel, group, BMS[bms], lanes)
        self._groups[group] = GroupFiles(list(lanes), self._next_serial())

    def move_group(self, group: int, moving: Mapping[int, int]) -> None:
        slots = list(moving)
        lanes = ffi.new("int[]", self._cpus)
        ibufs = ffi.new("int[]", max(1, len(slots) * self._cpus))
        sizes = [octets // IBUF_ENTRY_BYTES for octets in moving.values()]
        call(lib.ffpf_kernel_group_fresh, self._kernel, group, slots, sizes, len(slots), lanes, ibufs)
        there, flows = self._groups[group], [self._flows[slot] for slot in slots]
        there.next, there.next_serial = list(lanes), self._next_serial()
        for number, flow in enumerate(flows):
            flow.next = list(ibufs[number * self._cpus : (number + 1) * self._cpus])
            flow.next_serial = self._next_serial()
        try:
            self._prepared(self)
            call(lib.ffpf_kernel_group_enter, self._kernel, group, slots, len(slots))
        except BaseException:
            self._drop_next(there, flows)
            raise
        self._enter_next(there, flows)

    @staticmethod
    def _enter_next(group: GroupFiles, flows: Sequence[FlowFiles]) -> None:
        group.enter()
        for flow in flows:
            flow.enter()

    @staticmethod
    def _drop_next(group: GroupFiles, flows: Sequence[FlowFiles]) -> None:
        group.drop_next()
        for flow in flows:
            flow.drop_next()

    def close_group(self, group: int) -> None:
        call(lib.ffpf_kernel_group_remove, self._kernel, group)
        self._groups.pop(group).close()

    def group_records(self, group: int) -> int:
        return self._groups[group].records()

    # ---- flows

    def open_flow(self, slot: int, group: int, ibuf_bytes: int, snap_len: int) -> None:
        config = ffi.new("struct ffpf_kernel_flow_config *", [slot, group, ibuf_bytes // IBUF_ENTRY_BYTES, snap_len])
        reader, wake, ibufs = ffi.new("int *"), ffi.new("int *"), ffi.new("int[]", self._cpus)
        call(lib.ffpf_kernel_flow_create, self._kernel, config, reader, wake, ibufs)
        self._flows[slot] = FlowFiles(group, reader[0], wake[0], list(ibufs), self._next_serial())

    def grow_flow(self, slot: int, ibuf_bytes: int) -> None:
        flow, fresh = self._flows[slot], ffi.new("int[]", self._cpus)
        call(lib.ffpf_kernel_flow_fresh, self._kernel, slot, ibuf_bytes // IBUF_ENTRY_BYTES, fresh)
        flow.next, flow.next_serial = list(fresh), self._next_serial()
        try:
            self._prepared(self)
            call(lib.ffpf_kernel_flow_enter, self._kernel, slot)
        except BaseException:
            flow.drop_next()
            raise
        flow.enter()

    def close_flow(self, slot: int) -> None:
        call(lib.ffpf_kernel_flow_remove, self._kernel, slot)
        self._flows.pop(slot).close()

    def descriptors(self, slot: int) -> list[NamedFd]:
        flow = self._flows[slot]
        named = [("counts", self._fds["counts"]), ("reader", flow.reader), ("wake", flow.wake)]
        for lane in range(self._cpus):
            named += self.lane_descriptors(slot, lane)
        return named

    def lane_descriptors(self, slot: int, lane: int) -> list[NamedFd]:
        flow = self._flows[slot]
        return [(f"lane:{lane}", self._groups[flow.group].lanes[lane]), (f"ibuf:{lane}", flow.ibufs[lane])]

    # ---- filters

    def prepare(self, insns: bytes | None) -> Prepared:
        return KernelFilter(self._classifier, insns)

    def place(self, column: int, prepared: Prepared) -> Placement:
        self._columns[column], placement = kernel_filters.place(self._classifier, column, prepared)
        return placement

    @property
    def stage(self) -> Stage:
        if self._stage is None:
            self._stage = self._new_stage()
        return self._stage

    def reserve(self, column: int) -> None:
        self._columns[column] = self._classifier.reserve(column)

    def clear(self, column: int) -> None:
        self._classifier.clear(column)
        self._columns.pop(column, None)

    def activate(self, slot: int, column: int | None, generation: int) -> None:
        word, at = divmod(2 * slot, 64)
        columns = int(lib.ffpf_kernel_active(self._kernel, word)) & ~(3 << at)
        if column is not None:
            call(lib.ffpf_kernel_column_set, self._kernel, column, self._columns[column].result, generation)
            columns |= 1 << (column % 64)
        call(lib.ffpf_kernel_activate, self._kernel, word, columns)

    def leave(self, slot: int, column: int) -> None:
        call(lib.ffpf_kernel_flow_leave, self._kernel, slot, column)

    def synchronize(self) -> None:
        call(lib.ffpf_kernel_synchronize, self._kernel)

    def positions(self, slot: int, generation: int) -> list[int]:
        positions = ffi.new("uint64_t[]", self._cpus)
        call(lib.ffpf_kernel_flow_positions, self._kernel, slot, generation, positions)
        return list(positions)

    # ---- the source

    def failure(self) -> str:
        """Of an interface that goes the kernel tells."""
        return ""

    def set_state(self, state: str) -> None:
        call(lib.ffpf_kernel_set_state, self._kernel, STATES[state])

    def set_promiscuous(self, on: bool) -> None:
        if not self.facts.ifindex:
            return  # of all interfaces none is made promiscuous, as by libpcap
        option = PACKET_ADD_MEMBERSHIP if on else PACKET_DROP_MEMBERSHIP
        membership = struct.pack("=iHH8x", self.facts.ifindex, PACKET_MR_PROMISC, 0)
        with socket.socket(fileno=os.dup(self._fds["socket"])) as packet:
            packet.setsockopt(SOL_PACKET, option, membership)

    def update_clock(self) -> None:
        call(lib.ffpf_kernel_update_tai, self._kernel)

    def counts(self) -> SourceCounts:
        lanes = pages.traffic(self._fds["counts"], self._cpus)
        return SourceCounts(
            sum(lane.packets for lane in lanes),
            {"nested": sum(lane.nested for lane in lanes), "no_lane": sum(lane.no_lane for lane in lanes)},
            max((info.fetch_len for info in self._columns.values()), default=0),
            self._programs(),
            self._stage.totals() if self._stage is not None else {},
        )

    def _programs(self) -> list[ProgramFacts]:
        """In the order in which a packet comes to them."""
        classify = [
            ProgramFacts("code" if slot else "classify", slot, instructions, 0 if slot else len(self._columns))
            for slot, instructions in sorted(self._classifier.instructions.items())
        ]
        hook = ProgramFacts("hook", -1, prog_insns(self._fds["prog_main"]), 0)
        store = ProgramFacts("store", lib.FFPF_KERNEL_PROG_STORE, prog_insns(self._fds["prog_store"]), 0)
        return [hook, *classify, *self._graph_program(), store]

    def _graph_program(self) -> list[ProgramFacts]:
        instructions = self._stage.program[0] if self._stage is not None else 0
        if self._stage is None or not instructions:
            return []
        return [ProgramFacts("graph", lib.FFPF_KERNEL_PROG_GRAPH, instructions, self._stage.running)]

    def flow_counts(self, slot: int) -> FlowCounts:
        totals = ffi.new("struct ffpf_counters *")
        call(lib.ffpf_kernel_flow_counters, self._kernel, slot, totals)
        said = pages.reader_counts(self._flows[slot].reader)
        dropped = {
            ffi.string(lib.ffpf_drop_name(cause)).decode(): int(totals.dropped[cause])
            for cause in range(lib.FFPF_DROP_CAUSES)
        }
        # The reader's own numbers are its own: what was indexed bounds them, so that the law holds whatever it says.
        indexed = int(totals.delivered)
        delivered = min(said.delivered, indexed)
        filtered = min(said.filtered, indexed - delivered)
        lapped = min(said.lapped, indexed - delivered - filtered)
        dropped["lapped"] = dropped.get("lapped", 0) + lapped
        return FlowCounts(
            int(totals.seen),
            int(totals.filtered) + filtered,
            delivered,
            indexed - delivered - filtered - lapped,
            dropped,
            [self._lane_counts(slot, cpu) for cpu in range(self._cpus)],
        )

    def _lane_counts(self, slot: int, cpu: int) -> LaneCounts:
        status = ffi.new("struct ffpf_kernel_ibuf_status *")
        call(lib.ffpf_kernel_ibuf_status, self._kernel, slot, cpu, status)
        behind_bytes = int(status.behind) * kernel_sources.CELL_BYTES
        lost = int(status.dropped[lib.FFPF_DROP_PBUF])
        return LaneCounts(int(status.slots), int(status.first_pos), int(status.w), int(status.r), behind_bytes, lost)

    # ---- outliving this process

    def _next_serial(self) -> int:
        self._serial += 1
        return self._serial

    def kept(self) -> Kept:
        files = dict(self._fds)
        for group in self._groups.values():
            files |= zip(lane_names(group.serial, self._cpus), group.lanes, strict=True)
            if group.next:
                files |= zip(lane_names(group.next_serial, self._cpus), group.next, strict=True)
        for flow in self._flows.values():
            files |= zip(flow_names(flow.serial), (flow.reader, flow.wake), strict=True)
            files |= zip(ibuf_names(flow.ibufs_serial, self._cpus), flow.ibufs, strict=True)
            if flow.next:
                files |= zip(ibuf_names(flow.next_serial, self._cpus), flow.next, strict=True)
        text = {
            "serial": self._serial,
            "bank": self._classifier.export_state()["bank"],
            "groups": {
                number: [group.serial, group.past_records, group.next_serial] for number, group in self._groups.items()
            },
            "flows": {slot: [flow.serial, flow.ibufs_serial, flow.next_serial] for slot, flow in self._flows.items()},
        }
        if self._stage is not None:
            text["stage"] = jsonform.encode(self._stage.kept())
            files |= self._stage.files()
        return Kept(json.dumps(text), files)

    def take_over_graphs(self, kept: KeptStage, flows: Mapping[int, bool], files: dict[str, int]) -> str:
        """Nodes go on; flows: by id, whether they are active. Why they cannot: they and their columns are gone then."""
        try:
            self._stage = self._new_stage(inherited=Inherited(kept, flows, files))
        except KeptError as error:
            self._forget_graphs()
            deliver_to = map(kept.delivers_to, flows)
            for column in [*kept.columns(flows), *(column for column in deliver_to if column is not None)]:
                self._classifier.clear(column)
            return str(error)
        return ""

    def graphs(self, delivering: Mapping[int, int], there: Collection[int]) -> tuple[dict[int, Instance], list[int]]:
        """Those that were taken over, by id, and their nodes' columns. delivering: by id, slots of the flows that they
        deliver to; who has one that is not there is taken away."""
        if self._stage is None:
            return {}, []
        for flow, slot in delivering.items():
            if slot not in there:
                self._stage.remove(flow)
        return dict(self._stage.instances), self._stage.columns

    def take_over(
        self, text: Mapping[str, Any], files: dict[str, int], groups: Sequence[KeptGroup], flows: Sequence[KeptFlow]
    ) -> dict[int, Placement]:
        """Finishes what the predecessor was in the middle of, and takes the files that it needs."""
        self._serial = text["serial"]
        known = {
            flow.slot: flow for flow in flows if lib.ffpf_kernel_flow_is_whole(self._kernel, flow.slot, flow.group)
        }
        for slot in range(FLOWS_MAX):
            if lib.ffpf_kernel_flow_in_use(self._kernel, slot) and slot not in known:
                self.activate(slot, None, 0)
                call(lib.ffpf_kernel_flow_remove, self._kernel, slot)
        numbers = {group.number for group in groups}
        for number in range(GROUPS_MAX):
            if lib.ffpf_kernel_group_in_use(self._kernel, number) and number not in numbers:
                call(lib.ffpf_kernel_group_remove, self._kernel, number)
        for group in groups:
            serial, past_records, next_serial = text["groups"][str(group.number)]
            lanes = [files.pop(name) for name in lane_names(serial, self._cpus)]
            made = self._groups[group.number] = GroupFiles(lanes, serial, past_records)
            if next_serial:
                made.next = [files.pop(name) for name in lane_names(next_serial, self._cpus)]
                made.next_serial = next_serial
        for slot, flow in known.items():
            serial, ibufs_serial, next_serial = text["flows"][str(slot)]
            reader, wake = (files.pop(name) for name in flow_names(serial))
            ibufs = [files.pop(name) for name in ibuf_names(ibufs_serial, self._cpus)]
            self._flows[slot] = FlowFiles(flow.group, reader, wake, ibufs, serial)
            self._flows[slot].ibufs_serial = ibufs_serial
            if next_serial:
                self._flows[slot].next = [files.pop(name) for name in ibuf_names(next_serial, self._cpus)]
                self._flows[slot].next_serial = next_serial
            info = self._classifier.info(flow.column)
            if info is None:
                raise EngineError(f"column {flow.column} was not taken over")
            self._columns[flow.column] = info
            self._put_in_force(flow)
        return {slot: self._placement(flow.column, flow.insns) for slot, flow in known.items()}

    def _put_in_force(self, flow: KeptFlow) -> None:
        """One store, and only where something else is in force than the caller knows: the flow misses no packet."""
        if not flow.live:
            self.leave(flow.slot, flow.column)
            return
        word, at = divmod(2 * flow.slot, 64)
        now = int(lib.ffpf_kernel_active(self._kernel, word)) & (3 << at)
        if now != 1 << (flow.column % 64):
            self.activate(flow.slot, flow.column, flow.generation)

    def _placement(self, column: int, insns: bytes | None) -> Placement:
        reason = self._classifier.refused.get(column)
        if reason is not None:
            return Placement("userspace", "everything", reason)
        return Placement("kernel", "everything" if insns is None else self._columns[column].kind, "")

    def finish_moves(self) -> tuple[set[int], set[int]]:
        """Groups that the predecessor was moving to lanes that it had told of: all are there now, with their flows."""
        same, groups, slots = ffi.new("bool *"), set(), set()
        for number, group in self._groups.items():
            if not group.next:
                call(lib.ffpf_kernel_group_tidy, self._kernel, number)
                continue
            moving = [slot for slot, flow in self._flows.items() if flow.group == number and flow.next]
            call(lib.ffpf_kernel_group_holds, self._kernel, number, group.next, same)
            finish = lib.ffpf_kernel_group_settle if same[0] else lib.ffpf_kernel_group_enter
            call(finish, self._kernel, number, moving, len(moving))
            self._enter_next(group, [self._flows[slot] for slot in moving])
            groups.add(number)
            slots |= set(moving)
        return groups, slots

    def enter_prepared(self, flows: Sequence[KeptFlow]) -> set[int]:
        """Flows that the predecessor was moving to IBufs that it had told of: those that have gone there, by slot. They
        are in force, also those that were coming back."""
        same, entered = ffi.new("bool *"), set()
        for known in flows:
            flow = self._flows.get(known.slot)
            if flow is None or not flow.next:
                continue
            call(lib.ffpf_kernel_flow_holds, self._kernel, known.slot, flow.next, same)
            if not same[0]:
                flow.drop_next()
                continue
            call(lib.ffpf_kernel_flow_finish, self._kernel, known.slot)
            flow.enter()
            entered.add(known.slot)
            if not known.live:
                self.activate(known.slot, known.column, known.generation)
        return entered

    def is_marked(self, slot: int) -> bool:
        """The reader of a flow that is in force has been told to go on in other IBufs, and there are none."""
        status = ffi.new("struct ffpf_kernel_ibuf_status *")
        for cpu in range(self._cpus):
            call(lib.ffpf_kernel_ibuf_status, self._kernel, slot, cpu, status)
            if status.state == lib.FFPF_IBUF_MOVED:
                return True
        return False

    def unknown_memories(self) -> tuple[list[int], list[int]]:
        """Groups, and flows of others, that are written to memories whose descriptors died with the predecessor."""
        same = ffi.new("bool *")

        def is_other(holds: Callable[..., int], number: int, fds: list[int]) -> bool:
            call(holds, self._kernel, number, fds, same)
            return not same[0]

        groups = [n for n, group in self._groups.items() if is_other(lib.ffpf_kernel_group_holds, n, group.lanes)]
        flows = [n for n, flow in self._flows.items()
                 if flow.group not in groups and is_other(lib.ffpf_kernel_flow_holds, n, flow.ibufs)]  # fmt: skip
        return groups, flows

    def close(self) -> None:
        if self._stage is not None:
            self._stage.close()
        self._classifier.close()
        for flow in self._flows.values():
            flow.close()
        for group in self._groups.values():
            group.close()
        self._flows.clear()
        self._groups.clear()
        lib.ffpf_kernel_close(self._kernel)
        self._kernel = ffi.NULL
