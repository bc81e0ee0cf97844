# SPDX-License-Identifier: BSD-3-Clause
"""The nodes that run on one source, as its control plane sees them: graphs come and go, a program is in force.

    prepare()  which node runs where; filters are in their columns, MBufs are there
    commit()   the program that has them is in force; nothing of this flow is on yet
    switch()   one store: the flow's nodes are on, or off but for those that others have on
    remove()   off; numbers, columns and MBufs are free
    kept()     what the stage of a later process needs to go on with them (kept.py)

All calls are of one thread, that of the Classifier. Each leaves everything as it was when it raises.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fpl.classify import Classifier, ClassifyRefused, Compiler, Maps, bpf, bytecode, ir, layout
from fpl.graph import deliver, emit, kept, merge, place
from fpl.graph.ahead import Ahead
from fpl.graph.classes import MAP_BYTES_MAX, Lowered
from fpl.graph.columns import Columns
from fpl.graph.emit import Delivery, Said
from fpl.graph.kept import KeptError, KeptStage
from fpl.graph.merge import DEVICE_NUMBER, Merged, Running
from fpl.graph.node import (
    DEVICE,
    GraphError,
    Instance,
    Level,
    Mbuf,
    Node,
    NodeCounts,
    Pins,
    Placed,
    check,
    in_userspace,
)
from fpl.graph.table import CLASSES
from fpl.graph.verified import Verified

DELIVERIES_MAX = 64  # flows of a source whose graphs deliver: bits of a word
RESULT_BITS = 32
MBUF_PLACEHOLDER = 0x7FFF0000  # and a node's number: stands for the descriptor of its MBuf in text


@dataclass(frozen=True)
class Inherited:
    """What a stage goes on with. flows: those that are known, and whether they are active; nodes that only others had
    are not taken. files: by name (files()); what is taken is taken out, and closed if the stage cannot be."""

    kept: KeptStage
    flows: Mapping[int, bool]
    files: dict[str, int]

    def take(self, name: str) -> int:
        try:
            return self.files.pop(name)
        except KeyError:
            raise KeptError(f"the map {name} was not kept") from None


class Stage:
    def __init__(
        self,
        classifier: Classifier,
        compiler: Compiler,
        maps: Maps,
        link: int,
        library: bytes,
        serial: Callable[[], int] | None = None,
        inherited: Inherited | None = None,
    ) -> None:
        """Nothing is in force, or what was in force goes on: KeptError when it cannot. maps: as the Classifier's,
        borrowed. link: how packets begin, FFPF_NODE_* of csrc/kernel/node_layout.h. library: bitcode of
        csrc/kernel/nodes.bpf.c. serial: numbers for names of files, none twice for the source. inherited: the
        Classifier has its columns."""
        self._classifier, self._compiler, self._maps = classifier, compiler, maps
        self._link, self._library = link, library
        self._serial = serial or itertools.count(1).__next__
        self._merged = Merged()
        self._instances: dict[int, Instance] = {}
        self._deliveries: dict[int, Delivery] = {}  # by flow
        self._delivering: set[int] = set()  # numbers of deliveries that are on
        self._past: dict[str, list[int]] = {}  # by class: what nodes that are gone had counted, came and out
        self._prog = -1
        self._filters: Mapping[bytes, Any] = {}
        self._columns = Columns(classifier, link, library)
        self._alone = Verified(lambda nodes: self._body(nodes, []), lambda nodes: self._loaded_program(nodes, []),
                            self._mbuf_map)  # fmt: skip
        self._loaded: set[Running] = set()  # what the program in force has, and is wanted
        self._lanes = bpf.possible_cpus() * maps.place.lanes
        with contextlib.ExitStack() as made:
            self._make_maps(inherited, made)
            if inherited is None:
                self.forget(maps)
                self._store_switches()
            else:
                self._restore(inherited)
            self._closing = made.pop_all()

    def _make_maps(self, inherited: Inherited | None, made: contextlib.ExitStack) -> None:
        self._maps_serial = inherited.kept.maps if inherited is not None else self._serial()
        if inherited is not None:
            inherited.kept.check_format()
            self._work, self._states_fd = (self._taken(inherited, name, made)
                                           for name in kept.map_names(self._maps_serial))  # fmt: skip
        else:
            self._work = _map("ffpf_nodes", emit.WORK_BYTES, self._lanes)
            made.callback(os.close, self._work)
            self._states_fd = _map("ffpf_states", emit.STATE_BYTES * emit.NUMBERS, 1)
            made.callback(os.close, self._states_fd)
        work = mmap.mmap(self._work, emit.WORK_BYTES * self._lanes)
        states = mmap.mmap(self._states_fd, mmap.PAGESIZE)
        self._states = np.frombuffer(states, np.uint64).reshape(emit.NUMBERS, emit.STATE_BYTES // 8)
        words = np.frombuffer(work, np.uint64).reshape(self._lanes, emit.WORK_BYTES // 8)
        first, step = emit.WORK_COUNTERS // 8, emit.COUNTER_BYTES // 8
        last = first + step * emit.NUMBERS
        self._counters: npt.NDArray[np.uint64] = words[:, first:last].reshape(self._lanes, emit.NUMBERS, step)
        self._switches: npt.NDArray[np.uint64] = self._states[DEVICE_NUMBER]

    @staticmethod
    def _taken(inherited: Inherited, name: str, made: contextlib.ExitStack) -> int:
        fd = inherited.take(name)
        made.callback(os.close, fd)
        return fd

    def _restore(self, inherited: Inherited) -> None:
        """A program of this version's takes the place of the one in force in one store, with the same numbers,
        counters and memories: no packet is missed, or counted twice."""
        merged, instances = kept.restored(inherited.kept, inherited.flows.keys())
        with contextlib.ExitStack() as taken:
            for node in merged:
                if node.column is not None and (node.column in self._classifier.refused
                                                or self._classifier.info(node.column) is None):  # fmt: skip
                    raise KeptError(f"the filter of node {node.number} cannot run in the kernel any more")
                if node.mbuf_serial:
                    node.mbuf = self._taken(inherited, kept.mbuf_name(node.mbuf_serial), taken)
            self._past = {kind: list(counted) for kind, counted in inherited.kept.past.items()}
            self._merged, self._instances = merged, {instance.flow: instance for instance in instances}
            for instance in instances:
                self._put_back(instance, inherited)
            if not self._merged and not self._deliveries:
                self.forget(self._maps)
            else:
                try:
                    self._put_in_force(self._loaded_program(list(self._merged), list(self._deliveries.values())))
                except (ClassifyRefused, bpf.VerifierError) as error:
                    raise KeptError(f"the program of all nodes: {error}") from error
            taken.pop_all()
        self._store_switches()

    def _put_back(self, instance: Instance, inherited: Inherited) -> None:
        """What a flow's nodes deliver, and whether they are on."""
        flow = instance.flow
        found = next(one.delivery for one in inherited.kept.instances if one.flow == flow)
        if (found is not None) != bool(instance.delivered):
            raise KeptError(f"flow {flow}: what it delivers was not kept")
        if found is not None:
            numbers = tuple(instance.placed[position].number for position in instance.delivered)
            self._deliveries[flow] = Delivery(found.number, found.column, numbers, self._result_of(numbers[0]))
        if inherited.flows[flow]:
            self._set_on(flow, True)

    @staticmethod
    def forget(maps: Maps) -> None:
        """What a control plane before this one left is in force no more: its columns are others'."""
        with contextlib.suppress(FileNotFoundError):
            bpf.map_delete(maps.progs, layout.SLOT_GRAPH)

    # ---- one graph

    @staticmethod
    def filters_among(nodes: Sequence[Node]) -> int:
        """How many may need a column."""
        return place.filters_among(nodes)

    def ahead(self, nodes: Sequence[Node]) -> Ahead:
        """For prepare(): what takes long about nodes that are to come. Theirs to compile and to close."""
        return Ahead(nodes, self._link, self._library, self._classifier)

    def prepare(
        self,
        flow: int,
        nodes: Sequence[Node],
        group: str,
        pins: Pins,
        columns: list[int],
        without_state: str = "",
        filters: Mapping[bytes, Any] | None = None,
        worker: deliver.WorkerRule | None = None,
    ) -> Instance:
        """columns: free ones; what is used is taken from the list. without_state: why no node with state can run in the
        kernel now. filters: by instructions, or Filter.key, what was prepared for the Classifier (`ready`), or why it
        cannot be (`reason`); what is not there is compiled now. worker: what the group's worker runs of what the kernel
        does not; None: nothing. GraphError when the graph is none, or an argument is wrong, or a pin cannot be
        respected."""
        check(nodes)
        self._filters = filters or {}
        instance = Instance(flow, nodes)
        try:
            for position in range(len(nodes)):
                instance.placed.append(self._place(instance, position, group, pins, columns, without_state))
        except BaseException:
            self._release(flow, columns)
            raise
        if worker is not None:
            instance.placed = deliver.to_worker(nodes, instance.placed, worker)
        instance.delivered = deliver.delivered(nodes, instance.placed)
        read = instance.delivered or deliver.relayed(nodes, instance.placed)
        if len(read) > RESULT_BITS:
            self._release(flow, columns)
            raise GraphError(f"packets of {RESULT_BITS} nodes at most can go to one IBuf")
        self._instances[flow] = instance
        return instance

    def _place(
        self, instance: Instance, position: int, group: str, pins: Pins, columns: list[int], without_state: str
    ) -> Placed:
        nodes, placed = instance.nodes, instance.placed
        node = nodes[position]
        reason = place.why_not(position, nodes, placed, pins)
        if reason:
            return in_userspace(node, reason, pins)
        if node.kind == DEVICE:
            return Placed(Level.KERNEL, number=DEVICE_NUMBER, shared=True)
        what = CLASSES[node.kind]
        lowered = what.instance(node)
        if without_state and what.is_stateful(lowered):
            return in_userspace(node, without_state, pins)
        inputs = [placed[number].number for number in node.inputs]
        key = merge.key_of(instance.flow, position, node, what, lowered, inputs, group)
        running = self._merged.find(key)
        if running is not None:
            running.users.add(instance.flow)
            return Placed(Level.KERNEL, number=running.number, shared=True, how=running.how)
        number = self._merged.free_number()
        if number is None:
            return in_userspace(node, "as many nodes run on this source as the kernel takes", pins)
        running = Running(number, key, lowered, node.private, users={instance.flow})
        reason = self._why_not(running) or self._make(running, lowered, columns, without_state)
        if reason:
            return in_userspace(node, reason, pins)
        self._states[number] = 0
        self._counters[:, number] = 0  # nobody's: who had the number is off, and a grace period was waited for
        self._merged.add(running)
        return Placed(Level.KERNEL, number=number, how=running.how)

    def _why_not(self, running: Running) -> str:
        """Why this source cannot run a new node."""
        lowered = running.lowered
        if self._map_bytes(running) > MAP_BYTES_MAX:
            return (f"it takes {running.map_bytes} octets for each of {self._lanes} processors: "
                    f"the kernel has {MAP_BYTES_MAX} for a node at most")  # fmt: skip
        if lowered.links is not None and self._link not in lowered.links:
            return str(CLASSES[running.key.kind].linkless)
        return ""

    def _make(self, running: Running, lowered: Lowered, columns: list[int], without_state: str) -> str:
        """Column and MBuf of a new node; why it cannot be."""
        reason = lowered.why_no_filter
        if lowered.filter is not None:
            reason = self._columns.give(running, columns, self._filters)
        if running.column is None and lowered.alone:
            running.how = f"in the program of all nodes: {reason}"
            reason = without_state if lowered.stateless else ""
            reason = reason or self._alone.refusal(running)
        if reason and running.column is None:
            return reason
        if lowered.mbuf_bytes:
            running.mbuf, running.mbuf_serial = self._mbuf_map(running), self._serial()
            if lowered.mbuf_begin:
                with mmap.mmap(running.mbuf, running.mbuf_end) as memory:
                    memory[running.mbuf_at : running.mbuf_at + len(lowered.mbuf_begin)] = lowered.mbuf_begin
            if not running.writable:
                bpf.map_freeze(running.mbuf)
        return ""

    def _mbuf_map(self, running: Running) -> int:
        return _map("ffpf_mbuf", running.map_bytes, self._mbufs_of(running))

    def _mbufs_of(self, running: Running) -> int:
        return self._lanes if running.lowered.merges else 1

    def _map_bytes(self, running: Running) -> int:
        return running.map_bytes * self._mbufs_of(running)

    def commit(self, flow: int, column: int | None) -> None:
        """column: the flow's, reserved by the Classifier; None when nothing is delivered. GraphError when the program
        cannot be: the flow is to be removed, or prepared anew."""
        instance = self._instances[flow]
        if column is None and self._loaded.issuperset(self._merged.of(flow)):
            return  # the program has them all
        if column is not None:
            self._deliveries[flow] = self._delivery(instance, column)
        try:
            prog = self._loaded_program(list(self._merged), list(self._deliveries.values()))
        except (ClassifyRefused, bpf.VerifierError) as error:
            self._deliveries.pop(flow, None)
            raise GraphError(f"the program of all nodes: {error}") from error
        self._put_in_force(prog)

    def _put_in_force(self, prog: int) -> None:
        self._classifier.need(self._fetch_len)
        bpf.prog_array_set(self._maps.progs, layout.SLOT_GRAPH, prog)
        if self._prog >= 0:
            os.close(self._prog)
        self._prog, self._loaded = prog, set(self._merged)
        self._classifier.wait()

    @property
    def _fetch_len(self) -> int:
        """Octets of a packet that nodes look at."""
        asked = (max(node.lowered.fetch, emit.HEADERS_BYTES * node.lowered.headers)
                 for node in self._merged if node.column is None)  # fmt: skip
        return max(asked, default=0)

    def _delivery(self, instance: Instance, column: int) -> Delivery:
        taken = {delivery.number for delivery in self._deliveries.values()}
        number = next((number for number in range(DELIVERIES_MAX) if number not in taken), None)
        if number is None:
            raise GraphError(f"{DELIVERIES_MAX} graphs of this source deliver packets: there is no room for one more")
        numbers = tuple(instance.placed[position].number for position in instance.delivered)
        return Delivery(number, column, numbers, self._result_of(numbers[0]))

    def _result_of(self, number: int) -> Said:
        """What packets that come out of a node have as result: the last filter's, or other node's that says something,
        as long as one node leads to the next; what has met none has a device's."""
        while number != DEVICE_NUMBER:
            node = self._merged[number]
            info = self._classifier.info(node.column) if node.column is not None else None
            if info is not None and node.column is not None:
                return Said(info.result, 0, node.column)
            if node.lowered.own_result:
                return Said(0, number)
            number = next(iter(node.key.inputs)) if len(node.key.inputs) == 1 else DEVICE_NUMBER
        return Said(bytecode.WORD)

    def _loaded_program(self, nodes: Sequence[Running], deliveries: Sequence[Delivery]) -> int:
        body = self._body(nodes, deliveries)
        maps, where = self._maps, self._maps.place
        text = ir.module(maps.scratch, maps.progs, [], body.lines, [], self._work, where, [layout.SLOT_STORE],
                         body.declarations)  # fmt: skip
        library = self._library if body.declarations else b""
        insns = self._compiler.compile(text, library, body.modules(self._library))
        mbufs = {MBUF_PLACEHOLDER + node.number: node.mbuf for node in nodes if node.mbuf >= 0}
        return where.load(bpf.with_map_values(insns, mbufs), "ffpf_graph")

    def _body(self, nodes: Sequence[Running], deliveries: Sequence[Delivery]) -> emit.Body:
        """Without descriptors of MBufs: what has the same nodes is the same text."""
        known = [replace(node, mbuf=MBUF_PLACEHOLDER + node.number) if node.mbuf >= 0 else node for node in nodes]
        return emit.body(known, deliveries, self._states_fd, self._link)

    def switch(self, flow: int, on: bool) -> None:
        """The flow's nodes run, and its packets are delivered; or not, as far as it is concerned."""
        self._set_on(flow, on)
        self._store_switches()

    def _set_on(self, flow: int, on: bool) -> None:
        for node in self._merged.of(flow):
            (node.on.add if on else node.on.discard)(flow)
        delivery = self._deliveries.get(flow)
        if delivery is not None:
            (self._delivering.add if on else self._delivering.discard)(delivery.number)

    def _store_switches(self) -> None:
        """Whole words, each in one store."""
        self._switches[emit.SWITCH_NODES // 8] = np.uint64(self._merged.on_bits())
        self._switches[emit.SWITCH_DELIVER // 8] = np.uint64(sum(1 << number for number in self._delivering))

    def remove(self, flow: int) -> list[int]:
        """Columns that are free again. What nobody has any more is in the program, off, until the next is made."""
        columns: list[int] = []
        self.switch(flow, False)
        self._classifier.wait()
        self._release(flow, columns)
        self._deliveries.pop(flow, None)
        self._instances.pop(flow, None)
        if not self._merged and not self._deliveries and self._prog >= 0:
            bpf.map_delete(self._maps.progs, layout.SLOT_GRAPH)
            os.close(self._prog)
            self._prog = -1
        self._classifier.need(self._fetch_len)
        return columns

    def _release(self, flow: int, columns: list[int]) -> None:
        for node in self._merged.release(flow):
            counts, past = self._counts(node.number), self._past.setdefault(node.key.kind, [0, 0])
            past[0], past[1] = past[0] + counts.came, past[1] + counts.out
            self._loaded.discard(node)
            if node.column is not None:
                self._classifier.clear(node.column)
                columns.append(node.column)
            if node.mbuf >= 0:
                os.close(node.mbuf)

    # ---- what is shown

    def counts(self, flow: int) -> list[NodeCounts | None]:
        """By position; None for nodes in userspace. The device's are those of the hook, and not counted here."""
        return [
            self._counts(placed.number) if placed.level is Level.KERNEL and placed.number else None
            for placed in self._instances[flow].placed
        ]

    def _counts(self, number: int) -> NodeCounts:
        """`out` is loaded first: it is never more than what came."""
        out = int(self._counters[:, number, 1].sum())
        return NodeCounts(int(self._counters[:, number, 0].sum()), out)

    def totals(self) -> dict[str, tuple[int, int]]:
        """By class: packets that came to its nodes and that they let out, those that are gone included."""
        found = {kind: (came, out) for kind, (came, out) in self._past.items()}
        for node in self._merged:
            counts, (came, out) = self._counts(node.number), found.get(node.key.kind, (0, 0))
            found[node.key.kind] = (came + counts.came, out + counts.out)
        return found

    def mbuf(self, flow: int, position: int) -> Mbuf | None:
        """None where there is none."""
        placed = self._instances[flow].placed[position]
        if placed.level is not Level.KERNEL or not placed.number:
            return None
        node = self._merged[placed.number]
        if node.mbuf < 0:
            return None
        return Mbuf(node.mbuf, node.mbuf_at, node.lowered.mbuf_bytes, node.writable, self._mbufs_of(node),
                    node.map_bytes, node.lowered.merges)  # fmt: skip

    def memory(self, flow: int) -> int:
        """Octets of MBufs that the flow has."""
        return sum(self._map_bytes(node) for node in self._merged.of(flow))

    @property
    def work(self) -> int:
        """The map in which each lane's nodes have their work: struct ffpf_node_work; the stage's descriptor."""
        return self._work

    @property
    def running(self) -> int:
        return len(self._merged)

    @property
    def program(self) -> tuple[int, int]:
        """(instructions, the verifier's steps) of the program in force; zeros when there is none."""
        return (bpf.prog_insns(self._prog), bpf.prog_verified(self._prog)) if self._prog >= 0 else (0, 0)

    # ---- outliving this process

    def kept(self) -> KeptStage:
        deliveries = {flow: (known.number, known.column) for flow, known in self._deliveries.items()}
        return kept.keep(self._maps_serial, self._merged, self._instances.values(), deliveries, self._past)

    def files(self) -> dict[str, int]:
        """By the names that kept() has: they stay the stage's."""
        files = dict(zip(kept.map_names(self._maps_serial), (self._work, self._states_fd), strict=True))
        return files | {kept.mbuf_name(node.mbuf_serial): node.mbuf for node in self._merged if node.mbuf_serial}

    @property
    def instances(self) -> Mapping[int, Instance]:
        """By flow."""
        return self._instances

    @property
    def columns(self) -> list[int]:
        """Of nodes: those in use."""
        return [node.column for node in self._merged if node.column is not None]

    def close(self) -> None:
        """The program stays in the program array, and goes on. No other call may follow."""
        del self._switches, self._states, self._counters  # the last views of mappings, which have descriptors
        for node in self._merged:
            if node.mbuf >= 0:
                os.close(node.mbuf)
        if self._prog >= 0:
            os.close(self._prog)
        self._closing.close()


def _map(name: str, octets: int, entries: int) -> int:
    return bpf.map_create(bpf.MAP_TYPE_ARRAY, octets, entries, name, flags=bpf.F_MMAPABLE)
