# SPDX-License-Identifier: BSD-3-Clause
"""Connections: datagrams in and out, and nothing about captures.

    readable -> one datagram -> parse -> Handler.handle (the connection is not read meanwhile) -> readable again

A client has one request in work at a time, so one that floods fills its own socket and then waits. What it does not
read is kept up to QUEUE_MESSAGES, and then its connection ends. Nothing that a client sends ends more than that.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import os
import select
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pyffpf.daemon import protocol, transport
from pyffpf.daemon.credentials import Peer, peer_of
from pyffpf.daemon.protocol import BadRequestError, Code, RefusedError

log = logging.getLogger(__name__)

QUEUE_MESSAGES = 64  # beyond what the socket itself holds
ACCEPT_PAUSE_S = 0.5  # after the process ran out of descriptors


class Client:
    """One connection. `greeted` once hello has agreed on a version; `closed` once nothing can be sent any more."""

    def __init__(self, server: Server, sock: socket.socket, peer: Peer) -> None:
        self.peer = peer
        self.program = "unknown"
        self.greeted = False
        self.closed = False
        self.adopted = False  # accepted by an ffpfd before this one
        self._last_id: int | None = None  # of its requests
        self._server = server
        self._sock = sock
        self._queue: collections.deque[tuple[bytes, list[int]]] = collections.deque()
        self._busy = False

    def start(self) -> None:
        self._server.loop.add_reader(self._sock, self._readable)

    def fileno(self) -> int:
        """Of the connection; -1 once it is closed."""
        return self._sock.fileno()

    def send(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Sends now or later, in order. The descriptors stay the caller's; copies are kept for later."""
        if self.closed:
            return
        data = protocol.encode(message)
        if self._queue:
            self._enqueue(data, descriptors)
            return
        try:
            transport.send(self._sock, data, descriptors)
        except BlockingIOError:
            self._enqueue(data, descriptors)
            self._server.loop.add_writer(self._sock, self._writable)
        except OSError as error:
            self.close(f"cannot be sent to: {error.strerror}")

    def fail(self, request_id: int, refused: RefusedError) -> None:
        self.send(protocol.failure(request_id, refused.code, refused.text))

    def hung_up(self) -> bool:
        """Whether the other side is gone. While a request of its is in work nobody reads what would say so."""
        if self.closed:
            return True
        poller = select.poll()
        poller.register(self._sock, select.POLLRDHUP)
        return bool(poller.poll(0))

    def close(self, why: str) -> None:
        """Ends the connection; the handler hears of it once."""
        if self.closed:
            return
        self.closed = True
        log.debug("client %d (%s) ends: %s", self.peer.pid, self.program, why)
        self._server.loop.remove_reader(self._sock)
        self._server.loop.remove_writer(self._sock)
        for _, descriptors in self._queue:
            transport.close_all(descriptors)
        self._queue.clear()
        self._sock.close()
        self._server.forget(self)

    def _enqueue(self, data: bytes, descriptors: Sequence[int]) -> None:
        if len(self._queue) >= QUEUE_MESSAGES:
            self.close("does not read")
            return
        copies: list[int] = []
        try:
            for descriptor in descriptors:
                copies.append(os.dup(descriptor))
        except OSError as error:
            transport.close_all(copies)
            self.close(f"no descriptor for a message to it: {error.strerror}")
            return
        self._queue.append((data, copies))

    def _writable(self) -> None:
        while self._queue:
            data, descriptors = self._queue[0]
            try:
                transport.send(self._sock, data, descriptors)
            except BlockingIOError:
                return
            except OSError as error:
                self.close(f"cannot be sent to: {error.strerror}")
                return
            self._queue.popleft()
            transport.close_all(descriptors)
        self._server.loop.remove_writer(self._sock)

    def _readable(self) -> None:
        try:
            datagram = transport.receive(self._sock)
        except BlockingIOError:
            return
        except OSError as error:
            self.close(f"cannot be read from: {error.strerror}")
            return
        transport.close_all(datagram.descriptors)  # nothing in the protocol gives us any
        if not datagram.data:
            self.close("closed")
        elif datagram.truncated:
            self.fail(0, BadRequestError(0, f"a message has {protocol.MESSAGE_MAX} octets at most"))
            self.close("message too long")
        else:
            self._take(datagram.data)

    def _take(self, data: bytes) -> None:
        try:
            request = protocol.parse(data)
        except BadRequestError as bad:
            self.fail(bad.id, bad)
            return
        if self.adopted and request.id == self._last_id:
            return  # it had not been read when we came, and was sent again because it might have been lost
        self._last_id = request.id
        if not isinstance(request, protocol.Hello) and not self.greeted:
            self.fail(request.id, RefusedError(Code.VERSION, "say hello first"))
            return
        self._server.loop.remove_reader(self._sock)
        self._server.spawn(self._serve(request))

    async def _serve(self, request: protocol.Request) -> None:
        try:
            await self._server.handler.handle(self, request)
        except RefusedError as refused:
            self.fail(request.id, refused)
        except Exception:
            log.exception("request of client %d (%s): %s", self.peer.pid, self.program, type(request).__name__)
            self.fail(request.id, RefusedError(Code.FAILED, "ffpfd failed at this; its log says how"))
        if not self.closed:
            self._server.loop.add_reader(self._sock, self._readable)


class Handler(Protocol):
    """What is done with requests."""

    async def handle(self, client: Client, request: protocol.Request) -> None:
        """Answers by client.send; a RefusedError that is raised becomes the answer."""

    async def gone(self, client: Client) -> None:
        """The client is no more. Called once, and also for one that never asked for anything."""


class Server:
    """All connections of one listening socket, which stays the caller's."""

    def __init__(self, handler: Handler, listening: socket.socket, most: int, most_per_user: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.handler = handler
        self.most = most
        self.most_per_user = most_per_user
        self.clients: set[Client] = set()
        self._listening = listening
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = True
        self.loop.add_reader(listening, self._acceptable)

    def adopt(self, sock: socket.socket, program: str) -> Client:
        """A connection that another ffpfd accepted and greeted; not yet started. OSError when its peer is not known."""
        sock.setblocking(False)
        client = Client(self, sock, peer_of(sock))
        client.program, client.greeted, client.adopted = program, True, True
        self.clients.add(client)
        return client

    def join(self, sock: socket.socket, peer: Peer, program: str) -> Client:
        """One end of a socketpair, whose other end a process has that this ffpfd started; it is greeted already."""
        sock.setblocking(False)
        client = Client(self, sock, peer)
        client.program, client.greeted = program, True
        self.clients.add(client)
        client.start()
        return client

    def spawn(self, work: Any) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, client: Client) -> None:
        self.clients.discard(client)
        self.spawn(self._gone(client))

    async def _gone(self, client: Client) -> None:
        try:
            await self.handler.gone(client)
        except Exception:
            log.exception("clearing up after client %d", client.peer.pid)

    async def close(self) -> None:
        """Ends all connections, and returns when everything about them is done."""
        self._open = False
        self.loop.remove_reader(self._listening)
        for client in list(self.clients):
            client.close("ffpfd ends")
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _acceptable(self) -> None:
        try:
            sock, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            log.error("cannot accept a connection: %s", error.strerror)
            self.loop.remove_reader(self._listening)
            self.loop.call_later(ACCEPT_PAUSE_S, self._accept_again)
            return
        sock.setblocking(False)
        try:
            peer = peer_of(sock)
        except OSError as error:
            log.error("no credentials for a connection: %s", error.strerror)
            sock.close()
            return
        refusal = self._refusal(peer)
        if refusal:
            _turn_away(sock, refusal)
            return
        client = Client(self, sock, peer)
        self.clients.add(client)
        client.start()

    def _accept_again(self) -> None:
        if self._open:
            self.loop.add_reader(self._listening, self._acceptable)

    def _refusal(self, peer: Peer) -> str | None:
        if len(self.clients) >= self.most:
            return f"ffpfd serves {self.most} connections at most"
        same = sum(1 for client in self.clients if client.peer.uid == peer.uid)
        if peer.uid != 0 and same >= self.most_per_user:
            return f"user {peer.uid} has {same} connections, and may have no more"
        return None


def _turn_away(sock: socket.socket, refusal: str) -> None:
    """Says why, and closes. What the peer has sent is read before: else it would see a reset, and not the reason."""
    with sock, contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RD)
        while (datagram := transport.receive(sock)).data:
            transport.close_all(datagram.descriptors)
        transport.send(sock, protocol.encode(protocol.failure(0, Code.LIMIT, refusal)))
