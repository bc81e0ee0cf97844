# SPDX-License-Identifier: BSD-3-Clause
"""A command's connection to ffpfd: one question, one answer. The protocol is described in docs/protocol.md."""

from __future__ import annotations

import array
import collections
import contextlib
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

DEFAULT_SOCKET = Path("/run/ffpf/ffpfd.sock")
VERSION = 1
MESSAGE_MAX_BYTES = 65536
FDS_MAX = 100
TIMEOUT_S = 10.0


class ControlError(Exception):
    """No answer, or a refusal; the text is for the user. code: ffpfd's, "" when it is not from there."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Answer:
    """A reply, and its descriptors by the names of its "fds" list. They are the caller's to close."""

    fields: Mapping[str, Any]
    fds: Mapping[str, int]


def socket_path(named: str | None, environ: Mapping[str, str]) -> Path:
    """Where ffpfd listens: as named, else FFPF_SOCKET, else the usual place."""
    return Path(named or environ.get("FFPF_SOCKET") or DEFAULT_SOCKET)


class Control:
    """A connection; a context manager."""

    def __init__(self, path: Path, program: str, connected: socket.socket | None = None) -> None:
        """connected: one that is there and greeted already; path is then only for people."""
        self.events: collections.deque[dict[str, Any]] = collections.deque()  # that came while a reply was awaited
        self._path = path
        self._next_id = 1
        self._socket = connected or socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._socket.settimeout(TIMEOUT_S)
        if connected is not None:
            return
        try:
            self._connect()
            self.ask("hello", version=VERSION, program=program)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def _connect(self) -> None:
        try:
            self._socket.connect(str(self._path))
        except FileNotFoundError:
            raise ControlError(f"ffpfd is not running: there is no socket at {self._path}") from None
        except ConnectionRefusedError:
            raise ControlError(f"ffpfd is not running: nobody listens at {self._path}") from None
        except PermissionError:
            raise ControlError(f"{self._path}: permission denied") from None
        except OSError as error:
            raise ControlError(f"{self._path}: {error.strerror or error}: is this ffpfd's socket?") from error

    def ask(self, operation: str, **fields: object) -> Answer:
        """Sends a request and waits for its reply, all its messages. Once more when another ffpfd has come: to the one
        before it, or its reply, may have been lost."""
        number, self._next_id = self._next_id, self._next_id + 1
        request = json.dumps({"id": number, "op": operation, **fields}).encode()
        reply: dict[str, Any] = {}
        fds: list[int] = []
        try:
            with contextlib.suppress(BrokenPipeError):  # who hangs up may have said why
                self._socket.send(request)
            while True:
                data, more_fds = self._receive()
                part = _parse(data)
                if "event" in part:
                    self.events.append(part)
                if part.get("event") == "adopted":
                    _close_all(fds)
                    reply, fds = {}, []
                    self._socket.send(request)
                if part.get("id") not in (number, 0):  # 0: what ffpfd could not read, or a connection that it refuses
                    _close_all(more_fds)
                else:
                    fds += more_fds
                    if "fds" in part:
                        part["fds"] = reply.get("fds", []) + part["fds"]
                    reply |= part
                    if not reply.pop("more", False):
                        break
        except TimeoutError:
            raise ControlError(f"ffpfd does not answer at {self._path}") from None
        except OSError as error:
            raise ControlError(f"{self._path}: {error.strerror or error}") from error
        if reply.get("ok") is not True:
            _close_all(fds)
            raise ControlError(f"ffpfd refuses: {reply.get('error', 'no reason given')}", str(reply.get("code", "")))
        names = reply.get("fds", [])
        if not isinstance(names, list) or len(names) != len(fds):
            _close_all(fds)
            raise ControlError("ffpfd's reply and the descriptors that came with it do not match")
        return Answer(reply, dict(zip(names, fds, strict=True)))

    def next_event(self) -> dict[str, Any]:
        """The next event; ControlError when none comes in time."""
        while not self.events:
            try:
                data, fds = self._receive()
            except TimeoutError:
                raise ControlError("no event came") from None
            _close_all(fds)
            self.events.append(_parse(data))
        return self.events.popleft()

    def pending_events(self) -> list[dict[str, Any]]:
        """All that came until now; does not wait. ControlError when ffpfd has hung up."""
        self._socket.settimeout(0)
        try:
            while True:
                data, fds = self._receive()
                _close_all(fds)
                message = _parse(data)
                if "event" in message:  # else the late answer to what was given up
                    self.events.append(message)
        except BlockingIOError:
            pass
        except OSError as error:
            raise ControlError(f"{self._path}: {error.strerror or error}") from error
        finally:
            self._socket.settimeout(TIMEOUT_S)
        found = list(self.events)
        self.events.clear()
        return found

    def _receive(self) -> tuple[bytes, list[int]]:
        space = socket.CMSG_SPACE(FDS_MAX * array.array("i").itemsize)
        data, ancillary, _, _ = self._socket.recvmsg(MESSAGE_MAX_BYTES, space, socket.MSG_CMSG_CLOEXEC)
        fds = array.array("i")
        for level, kind, value in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(value[: len(value) - len(value) % fds.itemsize])
        if not data:
            _close_all(list(fds))
            raise ControlError(f"ffpfd hung up at {self._path}")
        return data, list(fds)


def _parse(data: bytes) -> dict[str, Any]:
    try:
        message = json.loads(data)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise ControlError("that was no message of ffpfd's protocol")
    return message


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
