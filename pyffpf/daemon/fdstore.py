# SPDX-License-Identifier: BSD-3-Clause
"""Where ffpfd keeps its descriptors so that they outlive it, and the state that says what they are.

    store = open_store(...)                      state, fds = store.take_all()      # of a predecessor
    store.put("src1.progs", fd)                  adopt what the state names, then store.retain(those names)
    store.set_state(document)

Crash safety: a SIGKILL at any instant must leave something that can be adopted. Hence the order: put, then a state
that names it; a state that names it no more, then remove. Names that the state does not have are leftovers:
retain() lets them go.

The state lies in two memory files that the store holds like any descriptor. Each set_state writes the older one:
unmark, body, mark. A mark is 16 octets in one page and is written last, so of the two the marked one with the higher
count is whole.
"""

from __future__ import annotations

import os
import re
import struct
from abc import ABC, abstractmethod
from collections.abc import Collection

from pyffpf.daemon.notify import Notifier

NAME_MAX = 64
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")  # a service manager takes no ":" and no control characters
STATE_NAMES = ("state.0", "state.1")
MARK = struct.Struct("<QQ")  # count of set_state, 0: not whole; octets of the body, which follows


class StoreError(Exception):
    """The store does not hold what it was given; the text is for people."""


class StoreFullError(StoreError):
    """No more descriptors fit: what needs this one would not survive, and should be refused."""


class StoreBusyError(StoreError):
    """Another living process owns what the store holds."""


class FdStore(ABC):
    """A descriptor that was put stays the caller's, and open until it is removed. One name for one open file, and one
    open file under one name (a service manager drops the second)."""

    kind: str

    def __init__(self) -> None:
        self._state_fds: list[int] = []
        self._count = 0

    def put(self, name: str, fd: int) -> None:
        """When this returns the store holds the file, whatever becomes of this process. A name that is held already is
        replaced, not atomically: the state should not name it meanwhile."""
        _check_name(name)
        self._put(name, fd)

    def remove(self, name: str) -> None:
        """The store lets go of it; a name that is not held is none of its business."""
        _check_name(name)
        self._remove(name)

    def set_state(self, document: bytes) -> None:
        """Replaces the state at one stroke."""
        if not self._state_fds:
            self._make_state()
        slot = self._state_fds[(self._count + 1) % 2]
        self._count += 1
        os.pwrite(slot, MARK.pack(0, 0), 0)
        os.ftruncate(slot, MARK.size)
        _write_all(slot, document, MARK.size)
        os.pwrite(slot, MARK.pack(self._count, len(document)), 0)

    def take_all(self) -> tuple[bytes | None, dict[str, int]]:
        """What a predecessor left: its last state, None when there is none, and every descriptor by name. They are the
        caller's to close, and the store goes on holding its own. To be called once, before anything else."""
        fds = self._take()
        slots = [fds.pop(name) for name in STATE_NAMES if name in fds]
        if len(slots) < len(STATE_NAMES):  # the first set_state was not finished
            for fd in slots:
                os.close(fd)
            for name in STATE_NAMES:
                self._remove(name)
            return None, fds
        self._state_fds = slots
        count, document = max((_read_slot(fd) for fd in slots), key=lambda found: found[0])
        self._count = count
        return (document if count else None), fds

    def retain(self, names: Collection[str]) -> None:
        """Removes all but these and the state."""
        for name in self.held() - set(names) - set(STATE_NAMES):
            self._remove(name)

    def fileno(self) -> int | None:
        """Readable when the store needs repair(); None: never."""
        return None

    def repair(self) -> None:
        """Makes the store hold again what it should, after fileno() became readable."""
        return None

    def close(self) -> None:
        """Leaves the store to itself: it goes on holding. Second calls do nothing."""
        for fd in self._state_fds:
            os.close(fd)
        self._state_fds = []

    @abstractmethod
    def end(self) -> None:
        """The orderly end: nothing needs to be held any more."""

    @abstractmethod
    def held(self) -> set[str]:
        """The names that the store holds, those of the state among them."""

    @abstractmethod
    def _put(self, name: str, fd: int) -> None: ...

    @abstractmethod
    def _remove(self, name: str) -> None: ...

    @abstractmethod
    def _take(self) -> dict[str, int]: ...

    def _make_state(self) -> None:
        made = []
        try:
            for name in STATE_NAMES:
                made.append(os.memfd_create(f"ffpf-{name}", os.MFD_CLOEXEC))
                _write_all(made[-1], MARK.pack(0, 0), 0)
                self._put(name, made[-1])
        except BaseException:
            for fd in made:
                os.close(fd)
            raise
        self._state_fds, self._count = made, 0


class NoStore(FdStore):
    """Holds nothing: captures end with ffpfd."""

    kind = "none"

    def set_state(self, document: bytes) -> None:
        """Nobody would read it."""

    def end(self) -> None:
        self.close()

    def held(self) -> set[str]:
        return set()

    def _put(self, name: str, fd: int) -> None:
        pass

    def _remove(self, name: str) -> None:
        pass

    def _take(self) -> dict[str, int]:
        return {}


class SystemdStore(FdStore):
    """The service manager's descriptor store (systemd.service(5), FileDescriptorStoreMax=).

    It hands everything back in LISTEN_FDS at the next start. Their names travel in one environment variable, which the
    kernel limits to 128 KiB (MAX_ARG_STRLEN): more must not be stored, or the service could not be started again.
    """

    kind = "systemd"
    NAMES_MAX_BYTES = 120_000

    def __init__(self, notifier: Notifier, inherited: dict[str, int], limit: int) -> None:
        """inherited: what LISTEN_FDS brought, activation sockets left out. limit: FileDescriptorStoreMax=."""
        super().__init__()
        self._notifier = notifier
        self._inherited = inherited
        self._names = set(inherited)
        self._limit = limit

    def end(self) -> None:
        for name in list(self._names):
            self._remove(name)
        self.close()

    def held(self) -> set[str]:
        return set(self._names)

    def _put(self, name: str, fd: int) -> None:
        if name in self._names:
            self._remove(name)
        if len(self._names) >= self._limit:
            raise StoreFullError(f"the service manager holds {self._limit} descriptors (FileDescriptorStoreMax=)")
        if sum(map(len, self._names)) + len(self._names) + len(name) > self.NAMES_MAX_BYTES:
            raise StoreFullError("the names of the held descriptors do not fit LISTEN_FDNAMES")
        try:
            self._notifier.send("FDSTORE=1", f"FDNAME={name}", "FDPOLL=0", fds=[fd])
        except OSError as error:
            raise StoreError(f"the service manager does not take descriptors: {error}") from error
        self._names.add(name)

    def _remove(self, name: str) -> None:
        if name not in self._names:
            return
        try:
            self._notifier.send("FDSTOREREMOVE=1", f"FDNAME={name}")
        except OSError as error:
            raise StoreError(f"the service manager does not answer: {error}") from error
        self._names.discard(name)

    def _take(self) -> dict[str, int]:
        taken, self._inherited = self._inherited, {}
        return taken


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a descriptor: 1 to {NAME_MAX} of A-Z a-z 0-9 . _ -")


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _read_slot(fd: int) -> tuple[int, bytes]:
    """Count and body; count 0 when the slot is not whole."""
    mark = os.pread(fd, MARK.size, 0)
    if len(mark) < MARK.size:
        return 0, b""
    count, length = MARK.unpack(mark)
    body = bytearray()
    while len(body) < length:
        piece = os.pread(fd, length - len(body), MARK.size + len(body))
        if not piece:
            return 0, b""
        body += piece
    return count, bytes(body)
