# SPDX-License-Identifier: BSD-3-Clause
"""For tests: an engine of memory files that remembers what it was told, and checks that it was in order; a server on a
thread; a client.

    python -m pyffpf.daemon.testing PATH NAME ...       # ffpfd at PATH whose sources NAME capture nothing
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyffpf.cli.control import TIMEOUT_S, Answer, Control
from pyffpf.daemon import listener, status, transport
from pyffpf.daemon.config import Config
from pyffpf.daemon.engine import (
    FLOWS_MAX,
    GROUPS_MAX,
    Adopted,
    Engine,
    EngineError,
    EngineSource,
    FlowCounts,
    Kept,
    KeptFlow,
    KeptGraph,
    KeptGroup,
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
from pyffpf.daemon.fake_filters import FakeFilter, SlowCompiler
from pyffpf.daemon.protocol import Code, RefusedError
from pyffpf.daemon.run import Daemon, Settings

if TYPE_CHECKING:
    from fpl.graph.stage import Stage

LANES = 2
NOBODY = 65534
USERSPACE_FILTER = bytes(8)  # a program that this engine places in userspace


def _memory_file(name: str) -> int:
    return os.memfd_create(f"fake-{name}", os.MFD_CLOEXEC)


class FakeFlow:
    def __init__(self, group: int, ibuf_bytes: int, snap_len: int) -> None:
        self.group = group
        self.ibuf_bytes = ibuf_bytes
        self.snap_len = snap_len
        self.reader, self.wake = _memory_file("reader"), _memory_file("wake")
        self.ibufs = [_memory_file("ibuf") for _ in range(LANES)]
        self.counts = FlowCounts(0, 0, 0, 0, {}, [LaneCounts(ibuf_bytes // 8, 0, 0, 0, 0)] * LANES)

    def renew(self, ibuf_bytes: int) -> None:
        for fd in self.ibufs:
            os.close(fd)
        self.ibuf_bytes = ibuf_bytes
        self.ibufs = [_memory_file("ibuf") for _ in range(LANES)]

    def close(self) -> None:
        for fd in (self.reader, self.wake, *self.ibufs):
            os.close(fd)


class FakeSource:
    """A source whose groups, flows and columns lie open. `log` has the calls that change them."""

    def __init__(self, resolved: Resolved, pbuf_bytes: int) -> None:
        self.facts = SourceFacts("fake", 1, 1, LANES, lane_bytes(pbuf_bytes, LANES))
        self.resolved = resolved
        self.groups: dict[int, list[int]] = {}
        self.flows: dict[int, FakeFlow] = {}
        self.columns: dict[int, bytes | None] = {}
        self.active: dict[int, int] = {}
        self.state = "up"
        self.promiscuous = False
        self.closed = False
        self.log: list[str] = []
        self.slow: dict[bytes, SlowCompiler] = {}  # filters that it has something to do for
        self.source_counts = SourceCounts(0, {}, 0, [])
        self._counts = _memory_file("counts")

    def open_group(self, group: int, bms: str) -> None:
        _require(0 <= group < GROUPS_MAX and group not in self.groups and not self.closed)
        self.groups[group] = [_memory_file("lane") for _ in range(LANES)]
        self.log.append(f"open_group {group} {bms}")

    def move_group(self, group: int, moving: Mapping[int, int]) -> None:
        for slot, flow in self.flows.items():
            _require(flow.group != group or slot in moving or slot not in self.active)
        for fd in self.groups[group]:
            os.close(fd)
        self.groups[group] = [_memory_file("lane") for _ in range(LANES)]
        for slot, ibuf_bytes in moving.items():
            self.flows[slot].renew(ibuf_bytes)
        self.log.append(f"move_group {group} {sorted(moving)}")

    def close_group(self, group: int) -> None:
        _require(not any(flow.group == group for flow in self.flows.values()))
        for fd in self.groups.pop(group):
            os.close(fd)

    def open_flow(self, slot: int, group: int, ibuf_bytes: int, snap_len: int) -> None:
        _require(0 <= slot < FLOWS_MAX and slot not in self.flows and group in self.groups)
        self.flows[slot] = FakeFlow(group, ibuf_bytes, snap_len)

    def grow_flow(self, slot: int, ibuf_bytes: int) -> None:
        self.flows[slot].renew(ibuf_bytes)
        self.log.append(f"grow_flow {slot} {ibuf_bytes}")

    def close_flow(self, slot: int) -> None:
        _require(slot not in self.active)
        self.flows.pop(slot).close()

    def prepare(self, insns: bytes | None) -> FakeFilter:
        return FakeFilter(insns, self.slow.get(insns or b""))

    def place(self, column: int, prepared: Prepared) -> Placement:
        _require(column not in self.active.values() and not prepared.is_slow)
        insns = prepared.insns
        self.columns[column] = insns
        if insns == USERSPACE_FILTER:
            return Placement("userspace", "everything", "too long for the kernel")
        return Placement("kernel", "table" if insns else "everything", "")

    @property
    def stage(self) -> Stage | None:
        return None

    def reserve(self, column: int) -> None:
        raise EngineError("there is no stage that could decide a column")

    def clear(self, column: int) -> None:
        _require(column not in self.active.values())
        self.columns.pop(column, None)

    def activate(self, slot: int, column: int | None, generation: int) -> None:
        self.active.pop(slot, None)
        if column is not None:
            _require(column // 2 == slot and column in self.columns)
            self.active[slot] = column
        self.log.append(f"activate {slot} {column}")

    def leave(self, slot: int, column: int) -> None:
        _require(column // 2 == slot and column in self.columns)
        self.active.pop(slot, None)
        self.log.append(f"leave {slot} {column}")

    def synchronize(self) -> None:
        self.log.append("synchronize")

    def positions(self, slot: int, generation: int) -> list[int]:
        return [generation * 10] * LANES

    def descriptors(self, slot: int) -> list[NamedFd]:
        flow = self.flows[slot]
        named = [("counts", self._counts), ("reader", flow.reader), ("wake", flow.wake)]
        for lane in range(LANES):
            named += self.lane_descriptors(slot, lane)
        return named

    def lane_descriptors(self, slot: int, lane: int) -> list[NamedFd]:
        flow = self.flows[slot]
        return [(f"lane:{lane}", self.groups[flow.group][lane]), (f"ibuf:{lane}", flow.ibufs[lane])]

    def failure(self) -> str:
        return ""

    def set_state(self, state: str) -> None:
        self.state = state

    def set_promiscuous(self, on: bool) -> None:
        self.promiscuous = on

    def update_clock(self) -> None:
        self.log.append("update_clock")

    def counts(self) -> SourceCounts:
        return self.source_counts

    def flow_counts(self, slot: int) -> FlowCounts:
        return self.flows[slot].counts

    def group_records(self, group: int) -> int:
        return 0

    def kept(self) -> Kept:
        files: dict[str, int] = {}

        def names(*fds: int) -> list[str]:
            found = [f"file.{os.fstat(fd).st_ino}" for fd in fds]
            files.update(zip(found, fds, strict=True))
            return found

        text = {
            "counts": names(self._counts),
            "groups": {str(number): names(*fds) for number, fds in self.groups.items()},
            "flows": {str(slot): names(flow.reader, flow.wake, *flow.ibufs) for slot, flow in self.flows.items()},
        }
        return Kept(json.dumps(text), files)

    def adopt(self, kept: Kept, groups: Sequence[KeptGroup], flows: Sequence[KeptFlow]) -> dict[int, Placement]:
        text, fds = json.loads(kept.text), dict(kept.fds)
        os.close(self._counts)
        (self._counts,) = (fds.pop(name) for name in text["counts"])
        for group in groups:
            self.groups[group.number] = [fds.pop(name) for name in text["groups"][str(group.number)]]
        placements = {}
        for known in flows:
            names = text["flows"].get(str(known.slot))
            if names is None:
                continue
            flow = FakeFlow(known.group, known.ibuf_bytes, known.snap_len)
            flow.close()
            flow.reader, flow.wake, *flow.ibufs = (fds.pop(name) for name in names)
            self.flows[known.slot] = flow
            placements[known.slot] = self.place(known.column, Plain(known.insns))
            if known.live:
                self.activate(known.slot, known.column, known.generation)
        transport.close_all(list(fds.values()))
        return placements

    def close(self) -> None:
        _require(not self.flows and not self.groups and not self.closed)
        os.close(self._counts)
        self.closed = True


class FakeEngine:
    """Its sources are those in `names`; one whose name begins with "broken" cannot be opened."""

    def __init__(self, *names: str) -> None:
        self.names = {name: f"if:{number}" for number, name in enumerate(names, 1)}
        self.opened: list[FakeSource] = []

    @property
    def live(self) -> list[FakeSource]:
        return [source for source in self.opened if not source.closed]

    def configure(self, config: Config) -> None:
        """Its sources are those it was made with."""

    def resolve(self, name: str) -> Resolved:
        if name not in self.names:
            raise RefusedError(Code.NO_SUCH_DEVICE, f"{name}: No such device exists")
        return Resolved(self.names[name], name)

    def open_source(self, resolved: Resolved, pbuf_bytes: int) -> FakeSource:
        if resolved.name.startswith("broken"):
            raise EngineError(f"{resolved.name} is broken")
        self.opened.append(FakeSource(resolved, pbuf_bytes))
        return self.opened[-1]

    def on_prepared(self, call: Callable[[EngineSource], None]) -> None:
        """Nothing here is moved before it is kept."""

    def adopt_source(
        self,
        resolved: Resolved,
        pbuf_bytes: int,
        kept: Kept,
        groups: Sequence[KeptGroup],
        flows: Sequence[KeptFlow],
        graphs: Sequence[KeptGraph] = (),
    ) -> Adopted:
        if resolved.name.startswith("forgotten"):
            transport.close_all(list(kept.fds.values()))
            raise EngineError(f"{resolved.name} cannot be taken over")
        flows = [flow for flow in flows if not flow.reserved]  # there is no stage
        self.opened.append(FakeSource(resolved, pbuf_bytes))
        return Adopted(self.opened[-1], self.opened[-1].adopt(kept, groups, flows), frozenset())

    def close(self) -> None:
        _require(not self.live)


def _require(held: bool) -> None:
    if not held:
        raise AssertionError("the engine was called out of order")


def wait_until(condition: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited for {what}")
        time.sleep(0.002)


def open_to_all(folder: Path) -> None:
    """Everybody may reach what lies in a folder that pytest made: it has one level more where several processes run
    tests."""
    for part in (folder, *folder.parents):
        if part == Path(tempfile.gettempdir()):
            return
        part.chmod(0o755)


def descriptors() -> int:
    """How many this process has, the server's included."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class Opened:
    """What a Tool was answered; its descriptors are closed with it."""

    def __init__(self, answer: Answer) -> None:
        self.fields = answer.fields
        self.fds = dict(answer.fds)

    def __getitem__(self, key: str) -> Any:
        return self.fields[key]

    def close(self) -> None:
        transport.close_all(list(self.fds.values()))
        self.fds.clear()

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Tool(Control):
    """A client that opens flows."""

    def do(self, op: str, **fields: object) -> Opened:
        return Opened(self.ask(op, **fields))

    def open(self, source: str, **fields: object) -> Opened:
        return self.do("open", source=source, **fields)

    def set_filter(self, flow: int, insns: bytes | None) -> Opened:
        return self.do("filter", flow=flow, insns=None if insns is None else base64.b64encode(insns).decode())

    def event_now(self) -> dict[str, Any] | None:
        """An event that has come already."""
        self._socket.setblocking(False)
        try:
            return self.next_event()
        except BlockingIOError:
            return None
        finally:
            self._socket.settimeout(TIMEOUT_S)

    def status(self) -> status.Status:
        with self.do("status") as answer:
            return status.from_fd(answer.fds["status"])

    def close(self) -> None:
        self.__exit__(None, None, None)


class Running:
    """A Daemon on a loop of a thread."""

    def __init__(self, folder: Path, config: Config, engine: Engine) -> None:
        self.path = folder / "ffpfd.sock"
        self.engine = engine
        self.daemon: Daemon | None = None
        self._config = config
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._loop: asyncio.AbstractEventLoop | None = None
        self.failure: BaseException | None = None

    async def _run(self) -> None:
        listening = listener.listen(self.path, 0o666)
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._noticed)
        self.daemon = Daemon(Settings(None, self.path), self._config, self.engine, listening)
        self._started.set()
        await self.daemon.run()
        listening.close()

    def _noticed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failure = context.get("exception") or AssertionError(context["message"])

    def start(self) -> None:
        self._thread.start()
        assert self._started.wait(20)

    def call(self, work: Callable[[Daemon], Any]) -> None:
        """Runs work(daemon) on the loop."""
        assert self._loop is not None
        assert self.daemon is not None
        daemon, done = self.daemon, threading.Event()

        def do() -> None:
            work(daemon)
            done.set()

        self._loop.call_soon_threadsafe(do)
        assert done.wait(20)

    def stop(self) -> None:
        self.call(lambda daemon: daemon.stop())
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self.failure is not None:
            raise self.failure

    def connect(self, program: str = "test") -> Tool:
        return Tool(self.path, program)

    def run(self, work: Callable[[Daemon], Coroutine[Any, Any, Any]]) -> Any:
        """Runs work(daemon) on the loop to its end."""
        assert self._loop is not None
        assert self.daemon is not None
        return asyncio.run_coroutine_threadsafe(work(self.daemon), self._loop).result(20)

    def document(self, groups: frozenset[int]) -> status.Status:
        """What the server shows to somebody of these groups who is no administrator."""
        shown: status.Status = self.run(lambda daemon: daemon.service.describer.document(groups))
        return shown

    def settle(self) -> None:
        """Returns when the server is all there, and has no client."""
        self.connect().close()
        wait_until(lambda: self.daemon and not self.daemon.server.clients, "the end of all connections")

    def raw(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.settimeout(20)
        sock.connect(str(self.path))
        return sock


class FakeRunning(Running):
    """With a fake engine."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.fake = FakeEngine("eth0", "eth1", "broken0")
        super().__init__(folder, config, self.fake)


@contextlib.contextmanager
def running(folder: Path, config: Config | None = None) -> Iterator[FakeRunning]:
    """A server with a fake engine; at its end nothing may be open."""
    made = FakeRunning(folder, config or Config())
    made.start()
    try:
        yield made
    finally:
        made.stop()
    assert not made.fake.live


async def _serve(path: Path, names: list[str]) -> None:
    listening = listener.listen(path, 0o666)
    try:
        await Daemon(Settings(None, path), Config(), FakeEngine(*names), listening).run()
    finally:
        listener.remove(path)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(Path(sys.argv[1]), sys.argv[2:]))
