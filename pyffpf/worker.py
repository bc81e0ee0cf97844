# SPDX-License-Identifier: BSD-3-Clause
"""The process that runs what only userspace can run of a flow group's graphs, once for all its flows. ffpfd's side is
daemon/workers.py, which says what is asked here.

    kernel: IBufs of the group --readers--> fronts, devices of this process's graph --> nodes --> counters, MBufs
                                                                                                      |
    applications of the group: mapped, read-only <-----------------------------------------------------+
                                                                                                      |
    processes that read packets <- IBufs, second hand (worker_relay.py), to the kernel's lanes <------+

    python -m pyffpf.worker ASKS COMMANDS UID GID GROUP

ASKS is a connection to ffpfd as any reader has one, and COMMANDS one on which ffpfd asks and this answers. It maps the
memory of that group alone, has no capability, and becomes the user and group that it is told, -1: stays what it is. It
lives as long as ASKS: ffpfd's holder has the other end while ffpfd is away.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from fpl.graph.node import Callee
from pyffpf._core import ffi, lib
from pyffpf.cli.control import Control, ControlError
from pyffpf.daemon import privileges, protocol, status, transport
from pyffpf.delivery import Delivery
from pyffpf.errors import FfpfError, check, new_error
from pyffpf.flow import Flow
from pyffpf.graph import Graph
from pyffpf.graph_text import before_flow, filter_text
from pyffpf.worker_relay import Lanes, Relay

LOOK_S = 0.5  # between two looks at what ffpfd has to say
MEMORY_MAX = (1 << 30) + (1 << 16)  # octets of one node's memory that others see
DATA_MAX = 1 << 30  # octets of its own: tables of classes, above all
MADE_TO_SEND = ("relay", "successor", "report")  # operations whose descriptors are nobody's afterwards
OOM_SCORE = "500"  # when memory is short this process goes before those that asked for it


class Asks(Control):
    """The connection that the worker was started with. Two threads may drive the graph, and so ask."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(Path("ffpfd"), "ffpf-worker", connected)
        self._lock = threading.Lock()
        self._unanswered: tuple[int, int] | None = None  # flow and lane: ffpfd went away, and may have done it

    def successor(self, flow: int, lane: int) -> Mapping[str, int]:
        """As SharedFlow.successor. What was not answered is busy, and is asked again under its number, by which the
        next ffpfd knows it."""
        with self._lock:
            if self._unanswered not in (None, (flow, lane)):
                raise ControlError("an earlier question is not answered yet", "busy")
            number = self._next_id
            try:
                fds = self.ask("successor", flow=flow, lane=lane).fds
            except ControlError as error:
                if error.code:
                    self._unanswered = None
                    raise
                self._unanswered, self._next_id = (flow, lane), number
                raise ControlError(str(error), "busy") from error
            self._unanswered = None
            return fds

    def pending_events(self) -> list[dict[str, Any]]:
        with self._lock:
            return super().pending_events()


class OfTheCore(Graph):
    """Classes in Python are users' programs: no worker has them. (Nor can it import anything, as the user it is.)"""

    def add_installed(self, names: Iterable[str]) -> None:
        pass


class OwnFlow(Flow):
    """Of this process: ffpfd has nothing to choose."""


class Front:
    """What nodes in the kernel deliver to this process: a flow of ffpfd's, as Delivery needs one."""

    def __init__(self, asks: Asks, said: Mapping[str, Any], fds: dict[str, int]) -> None:
        self.name = str(said["name"])
        self.source = str(said["source"])
        self.facts: Mapping[str, Any] = said
        self.descriptors = fds
        self._asks, self.flow = asks, int(said["flow"])
        self.lanes = Lanes(fds, int(said["lanes"]))

    def successor(self, lane: int) -> Mapping[str, int]:
        found = self._asks.successor(self.flow, lane)
        self.lanes.moved(lane, found[f"lane:{lane}"])
        return found


class Nodes:
    """The nodes of one flow: each is a flow of the graph's, named by its place."""

    def __init__(self, graph: Graph, flow: int) -> None:
        self._graph, self._flow = graph, flow
        self.made: dict[int, Flow] = {}  # by position
        self.passed_on: list[Flow] = []  # what the kernel lets out, and is handed on as it is
        self.relay: Relay | None = None
        self.described: list[dict[str, Any]] = []
        self.files: list[tuple[str, int]] = []  # of their memories, the nodes'
        self.fronts: set[str] = set()

    def name(self, position: int) -> str:
        return f"n{self._flow}at{position}"

    def add(self, said: Mapping[str, Any]) -> None:
        """Makes or finds one."""
        self.fronts |= {str(one).partition("bit")[0] for one in said["inputs"] if isinstance(one, str)}
        position = int(said["position"])
        inputs = " | ".join(one if isinstance(one, str) else self.name(one) for one in said["inputs"])
        calls = [Callee(one["name"], one["class"], one["argument"], one["mbuf"]) for one in said.get("calls", ())]
        reads = [(one["name"], self.name(int(one["node"]))) for one in said.get("reads", ())]
        made = filter_text(said["class"], said["argument"], said.get("mbuf"), self.name(position))
        before = {one.id for one in self._graph.instances()}
        flow = OwnFlow(graph=self._graph, name=f"f{self._flow}at{position}")
        self.made[position] = flow
        flow.populate(f"{before_flow(calls, reads)}{inputs} -> {made}").instantiate()
        number = flow[-1].instance
        fd, at, octets, error = ffi.new("int *"), ffi.new("uint64_t *"), ffi.new("uint64_t *"), new_error()
        check(lib.ffpf_graph_flow_memory(flow._pointer, flow[-1].number, fd, at, octets, error), error)
        self.described.append({"position": position, "number": number, "shared": number in before, "at": int(at[0]),
                               "mbuf": int(octets[0])})  # fmt: skip
        self.files.append((f"memory:{self._flow}:{position}", int(fd[0])))

    def hand_on(self, said: Mapping[str, Any], front: Front, device: Flow, writer: int) -> None:
        """What the flow's process reads. writer: the end of a pipe that is closed with this process."""

        def flow_of(node: str | int) -> Flow:
            if isinstance(node, int):
                return self.made[node]
            flow = OwnFlow(node, graph=self._graph, name=f"f{self._flow}reads{len(self.passed_on)}")
            self.passed_on.append(flow.instantiate())
            return flow

        self.fronts.add(front.name)
        self.relay = Relay(said, device, front.lanes, writer, flow_of)

    def look(self) -> None:
        relay = self.relay
        if relay is not None:
            relay.look()

    @property
    def flows(self) -> list[Flow]:
        return [*self.made.values(), *self.passed_on]

    def close(self) -> None:
        if self.relay is not None:
            self.relay.close()
            self.relay = None
        while self.passed_on:
            self.passed_on.pop().close()
        for position in sorted(self.made, reverse=True):
            self.made.pop(position).close()


class Worker:
    """The graph, and what ffpfd may ask of it."""

    def __init__(self, asks: Asks, commands: socket.socket) -> None:
        self.graph = OfTheCore(shown=True)
        self._asks, self._commands = asks, commands
        self._fronts: dict[str, tuple[Front, Flow, list[Flow]]] = {}  # by name; the device, and one node for each bit
        self._lives, self._writer = os.pipe()  # who has the first sees that the second, which only this has, is closed
        self._flows: dict[int, Nodes] = {}
        self._active: set[int] = set()
        self._changed = threading.Event()
        self._over = False
        self._left = False  # nobody can ask anything any more, on this connection
        self._operations: dict[str, Callable[[Mapping[str, Any], dict[str, int]], Answer]] = {
            "front": self._front, "end_front": self._end_front, "run": self._run, "switch": self._switch,
            "end": self._end, "report": self._report, "list": self._list, "relay": self._relay,
            "successor": self._successor,
        }  # fmt: skip

    # ---- packets

    def drive(self) -> None:
        """Until ffpfd, and who keeps its connections, are gone."""
        while not self._over:
            if not self._active:
                self._changed.wait(LOOK_S)
                self._changed.clear()
            else:
                with contextlib.suppress(FfpfError):  # of a capture that has ended: ffpfd tells whose it was
                    if self.graph.run(0, LOOK_S).ended:
                        self._changed.wait(LOOK_S / 10)
                        self._changed.clear()
            for nodes in list(self._flows.values()):
                nodes.look()
            self._listen()

    def _listen(self) -> None:
        try:
            events = self._asks.pending_events()
        except ControlError:
            self._over = True
            return
        if self._left and any(event.get("event") == "adopted" for event in events):
            self._over = True  # by an ffpfd that knows of no workers

    # ---- commands

    def serve(self) -> None:
        """Answers what ffpfd asks, in a thread of its own, as long as there is one."""
        while True:
            message, fds = receive(self._commands)
            if message is None:
                self._left = True
                self._changed.set()
                self.graph.wake()
                return
            try:
                reply, files = self._operations[message["op"]](message, fds)
                reply = {"ok": True, **reply}
            except Exception as error:  # whatever it is: the flow's application runs the nodes then
                reply, files = {"ok": False, "error": str(error).partition("\n")[0]}, []
            finally:
                transport.close_all(list(fds.values()))
            for part, numbers in protocol.with_descriptors({"id": 0, **reply}, files):
                transport.send(self._commands, protocol.encode(part), numbers)
            if message["op"] in MADE_TO_SEND:
                transport.close_all([fd for _, fd in files])

    def _front(self, said: Mapping[str, Any], fds: dict[str, int]) -> Answer:
        front = Front(self._asks, said, dict(fds))
        fds.clear()  # the reader's from here on
        Delivery(front).give(self.graph.core.pointer, front.name)
        device = OwnFlow(f"{front.name}=(device,given:{front.name})", graph=self.graph).instantiate()
        bits: list[Flow] = []
        self._fronts[front.name] = (front, device, bits)
        if int(said["bits"]) > 1:
            for bit in range(int(said["bits"])):
                text = f"{front.name} -> {front.name}bit{bit}=(delivered,{bit})"
                bits.append(OwnFlow(text, graph=self.graph).instantiate())
        return {}, []

    def _end_front(self, said: Mapping[str, Any], fds: dict[str, int]) -> Answer:
        front, device, bits = self._fronts.pop(str(said["name"]))
        for flow in (*bits, device):
            flow.close()
        front.lanes.close()
        return {}, []

    def _run(self, said: Mapping[str, Any], fds: dict[str, int]) -> Answer:
        nodes = Nodes(self.graph, int(said["flow"]))
        try:
            for node in said["nodes"]:
                nodes.add(node)
            if said["relay"] is not None:
                front, device, _ = self._fronts[str(said["relay"]["front"])]
                nodes.hand_on(said["relay"], front, device, self._lives)
        except BaseException:
            nodes.close()
            raise
        self._flows[int(said["flow"])] = nodes
        return {"nodes": nodes.described, "relay": nodes.relay is not None}, nodes.files

    def _switch(self, said: Mapping[str, Any], fds: dict[str, int]) -> Answer:
        flow, on = int(said["flow"]), bool(said["on"])
        if not on:
            self._drain()
        for made in self._flows[flow].flows:
            if on is not (made.state == "active"):
                made.activate() if on else made.pause()
        (self._active.add if on else self._active.discard)(flow)
        self._changed.set()
        self.graph.wake()
        return {}, []

    def _drain(self) -> None:
        """What was delivered until now counts. Packets of one lane may wait a moment for what others bring."""
        quiet = 0
        while quiet < 2 and self._active:
            quiet = 0 if self.graph.run(0, 0.002).packets else quiet + 1

    def _end(self, said: Mapping[str, Any], fds: dict[str, int]) -> Answer:
        self._active.discard(int(said["flow"]))
        self._flows.pop(int(said["flow"])).close()
        return {}, []

    def _list(self, said: Mapping[str, Any], fds: dict[str, int]) -> Answer:
        """What there is, for an ffpfd that comes after another. It does not wait for the graph."""
        flows = [
            {"flow": flow, "active": flow in self._active, "fronts": sorted(nodes.fronts), "nodes": nodes.described}
            for flow, nodes in self._flows.items()
        ]
        fronts = [{"name": name, "flow": known[0].flow} for name, known in self._fronts.items()]
        return {"fronts": fronts, "flows": flows}, [file for nodes in self._flows.values() for file in nodes.files]

    def _relay(self, said: Mapping[str, Any], fds: dict[str, int]) -> Answer:
        relay = self._flows[int(said["flow"])].relay
        return {}, relay.opened() if relay else []

    def _successor(self, said: Mapping[str, Any], fds: dict[str, int]) -> Answer:
        relay = self._flows[int(said["flow"])].relay
        found = relay.successor(int(said["lane"]), int(said["request"])) if relay else []
        return {"busy": not found}, found

    def _report(self, said: Mapping[str, Any], fds: dict[str, int]) -> Answer:
        node = self._flows[int(said["flow"])].made[int(said["position"])][-1]
        text = json.dumps({"facts": node.report(), "text": node.report_text()})
        return {}, [("report", status.memory_file(text.encode()))]


Answer = tuple[dict[str, Any], list[tuple[str, int]]]


def receive(connection: socket.socket) -> tuple[dict[str, Any] | None, dict[str, int]]:
    """One message of ffpfd's, of all its datagrams; None: ffpfd is gone."""
    message: dict[str, Any] = {}
    fds: dict[str, int] = {}
    while True:
        try:
            datagram = transport.receive(connection)
        except OSError:
            return None, fds
        if not datagram.data:
            return None, fds
        part = json.loads(datagram.data)
        fds |= dict(zip(part.pop("fds", []), datagram.descriptors, strict=True))
        more = part.pop("more", False)
        message |= part
        if not more:
            return message, fds


def give_up_rights(uid: int, gid: int) -> None:
    """No capability, no other user, no file, no core image: what is read here is packets. Before any thread."""
    privileges.set_no_new_privs()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (DATA_MAX, DATA_MAX))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MEMORY_MAX, MEMORY_MAX))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    if uid >= 0:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    privileges.drop_capabilities(privileges.NONE)


def main() -> int:
    if len(sys.argv) != 6:
        print("usage: python -m pyffpf.worker ASKS COMMANDS UID GID GROUP", file=sys.stderr)
        return 2
    asks, commands, uid, gid = map(int, sys.argv[1:5])
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1):  # of who started it; FPL-2's compiler is waited for
        signal.signal(number, signal.SIG_DFL)
    give_up_rights(uid, gid)
    worker = Worker(Asks(socket.socket(fileno=asks)), socket.socket(fileno=commands))
    threading.Thread(target=worker.serve, daemon=True).start()
    worker.drive()
    sys.stdout.flush()
    os._exit(0)  # a thread of it may be in the core


if __name__ == "__main__":
    sys.exit(main())
