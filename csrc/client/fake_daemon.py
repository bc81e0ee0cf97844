# SPDX-License-Identifier: BSD-3-Clause
"""A daemon for tests: speaks the control protocol and serves userspace lanes of its own, in this process.

    with FakeDaemon(path) as daemon:
        ... a tool opens a flow ...
        daemon.feed(frames)              # to every flow that is open, as if captured on its source

What it answers can be replaced, message by message, by what no daemon would say: `answers`. Lanes are sealed memfds,
the reader is woken through a timerfd, filters run in the hook: what ffpfd does where there is no eBPF.
"""

from __future__ import annotations

import array
import base64
import contextlib
import json
import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from pyffpf._core import ffi, lib

PEER_MAX = 65536
PAGE_BYTES, IBUF_LANE, IBUF_FIRST, IBUF_W, READER_R = 4096, 28, 48, 64, 2048  # csrc/layout.h
DLT_EN10MB, DLT_LINUX_SLL2 = 1, 276
Request = dict[str, Any]
Messages = list[tuple[bytes, list[int]]]  # octets and descriptors of each
Answer = Callable[[Request, Messages], Messages | None]  # None: close the connection


def checked(code: int, error: Any) -> None:
    assert code == 0, ffi.string(error.text).decode()


@dataclass(frozen=True)
class Source:
    """What the daemon says of a device that it serves. Cooked packets begin with a header of LINUX_SLL2."""

    ifindex: int
    link_type: int = DLT_EN10MB
    level: str = "kernel"  # "userspace": the hook lets everything through
    wake: str = "timerfd"  # or "eventfd"

    @property
    def cooked(self) -> bool:
        return self.link_type == DLT_LINUX_SLL2


class Flow:
    """A flow with a hook, and so lanes, of its own: what it misses is no other's loss."""

    def __init__(self, number: int, source: Source, lanes: int, pbuf_bytes: int, slots: int) -> None:
        self.number = number
        self.source = source
        self.lock = threading.Lock()
        self.next_lane = 0
        self.detached = False
        self._error = ffi.new("struct ffpf_error *")
        self._progs: list[Any] = []
        out = ffi.new("struct ffpf_flow **")
        waker = lib.FFPF_WAKER_TIMERFD if source.wake == "timerfd" else lib.FFPF_WAKER_EVENTFD
        config = {"memory": lib.FFPF_MEMORY_FD, "ibuf_slots": slots, "waker": waker}
        checked(lib.ffpf_flow_create(out, ffi.new("struct ffpf_flow_config *", config), self._error), self._error)
        self.flow = out[0]
        self.slots = slots
        self.to_follow: list[deque[list[tuple[str, int]]]] = [deque() for _ in range(lanes)]  # not told of yet
        self.given: dict[int, tuple[int, list[tuple[str, int]]]] = {}  # by lane: request and answer
        self._pbuf_bytes = pbuf_bytes
        self._left: list[Any] = []
        self.hooks = [self._make_hook() for _ in range(lanes)]
        for hook in self.hooks:
            checked(lib.ffpf_hook_attach(hook, self.flow, self._error), self._error)

    def _make_hook(self) -> Any:
        config = {
            "pbuf_bytes": self._pbuf_bytes,
            "memory": lib.FFPF_MEMORY_FD,
            "bms": lib.FFPF_BMS_SRP,
            "link_type": self.source.link_type,
            "vlan_offset": -1 if self.source.cooked else 12,
            "cooked": self.source.cooked,
            "publish_batch": 1,
        }
        out = ffi.new("struct ffpf_hook **")
        checked(lib.ffpf_hook_create(out, ffi.new("struct ffpf_hook_config *", config), self._error), self._error)
        return out[0]

    def descriptors(self) -> list[tuple[str, int]]:
        named = [("reader", self.flow.reader.fd), ("wake", self.flow.event_fd)]
        for i in range(self.flow.lane_count):
            named += [(f"lane:{i}", self.flow.lanes[i].lane.fd), (f"ibuf:{i}", self.flow.lanes[i].ibuf.region.fd)]
        return named

    def move(self, lane: int, fresh: bool) -> None:
        """To an IBuf of twice the size on the same PBuf, or of the same size on a fresh one."""
        with self.lock:
            old = self.hooks[lane]
            new = self._make_hook() if fresh else old
            self.slots *= 1 if fresh else 2
            checked(lib.ffpf_flow_prepare(self.flow, old, new, self.slots, self._error), self._error)
            lib.ffpf_flow_leave(self.flow, old)
            if fresh:
                self.hooks[lane] = new
                self._left.append(old)
            lib.ffpf_flow_arrive(self.flow, old)
            named = [entry for entry in self.descriptors() if entry[0].endswith(f":{lane}")]
            self.to_follow[lane].append([(name, os.dup(fd)) for name, fd in named])

    def successor(self, lane: int, request: int) -> list[tuple[str, int]]:
        """One step at a time; the same again for the same request."""
        before = self.given.get(lane)
        if before and before[0] == request:
            return before[1]
        if not self.to_follow[lane]:
            return []
        if before:
            close_all(before[1])
        self.given[lane] = request, self.to_follow[lane].popleft()
        return self.given[lane][1]

    def set_filter(self, insns: bytes | None) -> None:
        prog = ffi.NULL
        if insns is not None and self.source.level == "kernel":
            out = ffi.new("struct ffpf_bpf_prog **")
            code = ffi.from_buffer("struct ffpf_bpf_insn[]", insns)
            kind = lib.FFPF_BPF_AUTO
            checked(lib.ffpf_bpf_prog_create(out, code, len(insns) // 8, kind, self._error), self._error)
            prog = ffi.gc(out[0], lib.ffpf_bpf_prog_destroy)
            self._progs.append(prog)
        with self.lock:
            lib.ffpf_flow_set_filter(self.flow, prog)

    def feed(self, packet: Any) -> None:
        """To the lanes in turn. Waits until the reader has made room: these tests are not about losses."""
        with self.lock:
            hook = self.hooks[self.next_lane % len(self.hooks)]
            self.next_lane += 1
            lib.ffpf_hook_handle_packet(hook, packet)
            lib.ffpf_hook_flush(hook)

    def tick(self) -> None:
        with self.lock:
            for hook in () if self.detached else self.hooks:
                lib.ffpf_hook_tick(hook, time.monotonic_ns())

    def end(self) -> None:
        with self.lock:
            for hook in self.hooks:
                lib.ffpf_hook_close(hook)

    def detach(self) -> None:
        """The reader is served no more."""
        with self.lock:
            for hook in self.hooks:
                checked(lib.ffpf_hook_detach(hook, self.flow, self._error), self._error)
            self.detached = True

    def destroy(self) -> None:
        if not self.detached:
            self.detach()
        with self.lock:
            lib.ffpf_flow_destroy(self.flow)
            for hook in self.hooks + self._left:
                lib.ffpf_hook_destroy(hook)
            self.hooks.clear()
        for named in [*(named for _, named in self.given.values()), *(n for moves in self.to_follow for n in moves)]:
            close_all(named)

    def unread(self) -> int:
        """Packets that wait for the reader."""
        waiting = 0
        page = ffi.buffer(self.flow.reader.base, PAGE_BYTES)
        for i in range(self.flow.lane_count):
            ibuf = ffi.buffer(self.flow.lanes[i].ibuf.region.base, PAGE_BYTES)
            (lane,) = struct.unpack_from("=I", ibuf, IBUF_LANE)
            first, w = (struct.unpack_from("=Q", ibuf, at)[0] for at in (IBUF_FIRST, IBUF_W))
            (r,) = struct.unpack_from("=Q", page, READER_R + 8 * lane)
            waiting += w - max(first, r)
        return waiting


class FakeDaemon:
    """A context manager. `sources`: by name. `requests`: what was asked, in order."""

    def __init__(
        self,
        path: Path,
        sources: dict[str, Source],
        *,
        lanes: int = 2,
        pbuf_bytes: int = 1 << 20,
        slots: int = 4096,
        refusal: tuple[str, str] | None = None,
        answers: dict[str, Answer] | None = None,
    ) -> None:
        self.path = path
        self.sources = sources
        self.requests: list[Request] = []
        self.flows: list[Flow] = []
        self._lanes, self._pbuf_bytes, self._slots = lanes, pbuf_bytes, slots
        self._refusal = refusal
        self._opening = threading.Lock()
        self._filters_set = 0
        self._answers = answers or {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._ended = threading.Event()

    def __enter__(self) -> FakeDaemon:
        self._listener.bind(str(self.path))
        self.path.chmod(0o666)
        self._listener.listen(8)
        for target in (self._accept, self._tick):
            self._start(target)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        thread.start()
        self._threads.append(thread)

    def hang_up(self) -> None:
        """Closes every socket, as a daemon that dies does. The hooks go on."""
        for sock in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # whoever waits for it closes it
        self.path.unlink(missing_ok=True)

    def stop(self) -> None:
        """Ends the hooks, too. Readers hold mappings of their own."""
        self._ended.set()
        self.hang_up()
        for thread in self._threads:
            thread.join()
        self._listener.close()
        for flow in self.flows:
            flow.destroy()

    def _tick(self) -> None:
        while not self._ended.wait(0.01):
            for flow in list(self.flows):
                flow.tick()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(sock)
            self._start(self._serve, sock)

    def connected(self) -> int:
        """Clients that have not gone."""
        return len(self._connections)

    def _serve(self, sock: socket.socket) -> None:
        try:
            self._answer_all(sock)
        finally:
            if sock in self._connections:
                self._connections.remove(sock)
            sock.close()

    def _answer_all(self, sock: socket.socket) -> None:
        while True:
            try:
                data = sock.recv(PEER_MAX)
            except OSError:
                return
            if not data:
                return
            request: Request = json.loads(data)
            self.requests.append(request)
            messages: Messages | None = self._reply(request)
            change = self._answers.get(request["op"])
            if change:
                messages = change(request, messages or [])
            if messages is None:
                return
            for octets, fds in messages:
                send(sock, octets, fds)

    def _reply(self, request: Request) -> Messages:
        reply: dict[str, Any] = {"id": request["id"], "ok": True}
        descriptors: list[int] = []
        if request["op"] == "hello":
            reply |= {"version": 1, "server": "a test's"}
        elif request["op"] == "open":
            source = self.sources.get(request["source"])
            if self._refusal or source is None:
                code, text = self._refusal or ("no-such-device", f"{request['source']}: no such device")
                return [encode({"id": request["id"], "ok": False, "code": code, "error": text}, [])]
            with self._opening:  # a connection is a thread: two at once would be given one number
                flow = Flow(len(self.flows) + 1, source, self._lanes, self._pbuf_bytes, self._slots)
                self.flows.append(flow)
            named = flow.descriptors()
            descriptors = [fd for _, fd in named]
            reply |= {
                "flow": flow.number, "source": request["source"], "ifindex": source.ifindex,
                "link_type": source.link_type, "bms": "srp", "lanes": self._lanes,
                "buffer_bytes": self._lanes * self._pbuf_bytes, "generation": flow.flow.generation,
                "wake_kind": source.wake, "fds": [name for name, _ in named],
            }  # fmt: skip
        elif request["op"] == "filter":
            flow = self.flows[request["flow"] - 1]
            text = request["insns"]
            flow.set_filter(None if text is None else base64.b64decode(text, validate=True))
            with self._opening:
                self._filters_set += 1
            reply |= {"generation": flow.flow.generation, "level": flow.source.level, "reason": "", "positions": []}
        elif request["op"] == "successor":
            named = self.flows[request["flow"] - 1].successor(request["lane"], request["id"])
            if not named:
                return [encode({"id": request["id"], "ok": False, "code": "busy", "error": "it has not moved"}, [])]
            descriptors = [fd for _, fd in named]
            reply |= {"fds": [name for name, _ in named]}
        return [encode(reply, descriptors)]

    def wait_flows(self, count: int, seconds: float = 20) -> list[Flow]:
        """Until so many flows were opened, whose filters are set: a tool that has set its filter captures."""
        deadline = time.monotonic() + seconds
        while self._filters_set < count:
            assert time.monotonic() < deadline, f"{count} flows: {self.requests}"
            time.sleep(0.005)
        return self.flows[:count]

    def feed(self, frames: Iterable[bytes], **fields: int) -> int:
        """Hands packets to every flow; how many. `fields` are those of struct ffpf_hook_packet."""
        count = 0
        for octets in frames:
            data = ffi.from_buffer(octets)
            packet = ffi.new("struct ffpf_hook_packet *", {"cap_len": len(octets), "wire_len": len(octets), **fields})
            packet.data = data
            for flow in self.flows:
                while flow.unread() >= self._slots // 2:
                    time.sleep(0.001)
                flow.feed(packet)
            count += 1
        return count

    def say(self, message: dict[str, Any]) -> None:
        """An event, to everybody."""
        for sock in list(self._connections):
            send(sock, *encode(message, []))


def close_all(named: list[tuple[str, int]]) -> None:
    for _, fd in named:
        os.close(fd)


def encode(message: dict[str, Any], descriptors: list[int]) -> tuple[bytes, list[int]]:
    return json.dumps(message, separators=(",", ":")).encode(), descriptors


def send(sock: socket.socket, octets: bytes, descriptors: list[int]) -> None:
    ancillary = []
    if descriptors:
        ancillary.append((socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors)))
    with contextlib.suppress(OSError):  # the tool may be gone
        sock.sendmsg([octets], ancillary, socket.MSG_NOSIGNAL)
