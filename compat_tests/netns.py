# SPDX-License-Identifier: BSD-3-Clause
"""Network namespaces for tests: a veth pair nobody else sees, and nothing left behind.

    with Netns() as ns:
        tcpdump = ns.popen(["tcpdump", "-i", ns.left, ...])
        ns.send(ns.right, frames)        # what leaves the right end arrives at the left one

The interfaces are up, IPv6 is off (no router solicitations, no duplicate address detection), the left end has the
address 10.0.0.1/24 and the right end 10.0.0.2/24. Needs root, iproute2 and nothing else.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from compat_tests import turns

PREFIX = "ffpf"
CLONE_NEWNET = 0x40000000
NETNS_DIR = Path("/run/netns")

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()


def _setns(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Any, what: str, seconds: float = 10.0) -> None:
    """Polls condition() until it is true; AssertionError naming `what` after the given time, or, on a machine that is
    known to be slow, after FFPF_TEST_PATIENCE seconds."""
    seconds = max(seconds, float(os.environ.get("FFPF_TEST_PATIENCE", "0")))
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.005)


def remove_stale() -> None:
    """Removes namespaces of test processes that were killed before they could."""
    if not NETNS_DIR.is_dir():
        return
    for entry in NETNS_DIR.iterdir():
        parts = entry.name.split("-")
        if len(parts) == 3 and parts[0] == PREFIX and parts[1].isdigit() and not _alive(int(parts[1])):
            _destroy(entry.name)


def _destroy(name: str) -> None:
    listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
    for pid in listed.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


class Netns:
    """A namespace with a veth pair; a context manager. Interface names: `left`, `right`."""

    def __init__(self, mtu: int = 1500) -> None:
        self.name = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        self.left = f"va{os.getpid()}"
        self.right = f"vb{os.getpid()}"
        self.mtu = mtu
        self._fd = -1
        self._children: list[subprocess.Popen[Any]] = []
        self._senders: dict[str, socket.socket] = {}

    def __enter__(self) -> Netns:
        turns.assert_live("a network namespace")
        remove_stale()
        atexit.register(self.close)
        _ip("netns", "add", self.name)
        try:
            self._fd = os.open(NETNS_DIR / self.name, os.O_RDONLY | os.O_CLOEXEC)
            self._set_up()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _set_up(self) -> None:
        for scope in ("all", "default"):
            self.run(["sysctl", "-q", "-w", f"net.ipv6.conf.{scope}.disable_ipv6=1"])
        self.add_veth(self.left, self.right)
        self.ip("link", "set", "lo", "up")
        self.ip("addr", "add", "10.0.0.1/24", "dev", self.left)
        self.ip("addr", "add", "10.0.0.2/24", "dev", self.right)

    def add_veth(self, one: str, other: str) -> None:
        """Adds a veth pair with this namespace's MTU, both ends up."""
        self.ip("link", "add", one, "mtu", str(self.mtu), "type", "veth", "peer", "name", other, "mtu", str(self.mtu))
        for end in (one, other):
            self.ip("link", "set", end, "up")

    def close(self) -> None:
        """Ends what runs in the namespace and removes it; a second call does nothing."""
        if self._fd < 0 and not (NETNS_DIR / self.name).exists():
            return
        for sender in self._senders.values():
            sender.close()
        self._senders.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        _destroy(self.name)
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout, child.stderr):
                if stream is not None:
                    stream.close()
        self._children.clear()
        atexit.unregister(self.close)

    def ip(self, *args: str) -> None:
        """Runs iproute2's ip in the namespace; CalledProcessError when it fails."""
        _ip("-n", self.name, *args)

    def command(self, argv: Sequence[str]) -> list[str]:
        """argv, to be run by any means, inside the namespace (with its own view of /sys/class/net)."""
        return ["ip", "netns", "exec", self.name, *argv]

    def run(self, argv: Sequence[str], **kwargs: Any) -> subprocess.CompletedProcess[str]:
        """subprocess.run in the namespace: text, output captured, checked unless told otherwise."""
        options: dict[str, Any] = {"text": True, "capture_output": True, "check": True, **kwargs}
        return subprocess.run(self.command(argv), **options)

    def popen(self, argv: Sequence[str], **kwargs: Any) -> subprocess.Popen[Any]:
        """subprocess.Popen in the namespace; killed at the latest when the namespace goes."""
        child = subprocess.Popen(self.command(argv), **kwargs)
        self._children.append(child)
        return child

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is in the namespace: sockets it opens belong there for ever. /sys stays outside."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _setns(self._fd)
        try:
            yield
        finally:
            _setns(home)
            os.close(home)

    def sender(self, interface: str) -> socket.socket:
        """A raw packet socket bound to the interface, kept for the next call."""
        if interface not in self._senders:
            with self.entered():
                raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
                raw.bind((interface, 0))
            self._senders[interface] = raw
        return self._senders[interface]

    def send(self, interface: str, frames: Iterable[bytes]) -> int:
        """Sends whole link-layer frames out of the interface; how many."""
        raw = self.sender(interface)
        count = 0
        for frame in frames:
            raw.send(frame)
            count += 1
        return count

    def is_up(self, interface: str) -> bool:
        """Whether the interface has carrier and is up: frames sent now arrive."""
        shown = self.run(["cat", f"/sys/class/net/{interface}/operstate"]).stdout
        return shown.strip() == "up"

    def mac(self, interface: str) -> bytes:
        """The interface's address, 6 octets."""
        shown = self.run(["cat", f"/sys/class/net/{interface}/address"]).stdout
        return bytes.fromhex(shown.strip().replace(":", ""))


def _ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True, capture_output=True, text=True)


def receivers(name: str) -> int:
    """Packet sockets open in the namespace `name`: a capture that was started has its socket."""
    table = subprocess.run(
        ["ip", "netns", "exec", name, "cat", "/proc/net/packet"], capture_output=True, text=True, check=True
    )
    return len(table.stdout.splitlines()) - 1
