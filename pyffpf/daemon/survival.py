# SPDX-License-Identifier: BSD-3-Clause
"""For tests: an ffpfd in a network namespace that can be killed and started again, and packets that are numbered."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import itertools
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from compat_tests.netns import Netns, wait_until
from pyffpf.cli.control import ControlError
from pyffpf.daemon.status import Status
from pyffpf.daemon.testing import Tool

ETHERTYPE = 0x88B5  # for experiments
NUMBER = struct.Struct(">Q")
HEADER_BYTES = 14
SYS_BPF = 321  # x86-64
BPF_PROG_GET_NEXT_ID, BPF_MAP_GET_NEXT_ID = 11, 12  # linux/bpf.h

_libc = ctypes.CDLL(None, use_errno=True)


class Ffpfd:
    """ffpfd's command, in a namespace, with a holder process of its own."""

    def __init__(self, ns: Netns, folder: Path, more: str = "") -> None:
        self.ns = ns
        self.socket = folder / "run" / "ffpfd.sock"
        self.log = folder / "ffpfd.log"
        self._config = folder / "ffpfd.toml"
        self._config.write_text('[daemon]\nuser = ""\nholder = "process"\n' + more)
        self._process: subprocess.Popen[Any] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *program: str) -> None:
        """Returns at once. program: for the Python interpreter, when it is to be another than the command."""
        command = [sys.executable, *(program or ("-m", "pyffpf.cli.ffpfd")), "--config", str(self._config), "--socket",
                   str(self.socket)]  # fmt: skip
        with self.log.open("ab") as log:
            self._process = self.ns.popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_ready(self, adoptions: int | None = None) -> Status:
        """Until it answers; its status then. adoptions: how many it must speak of."""

        def answers() -> bool:
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(f"ffpfd ended with {self._process.returncode}:\n{self.said()}")
            with contextlib.suppress(ControlError):
                self.status()
                return True
            return False

        wait_until(answers, f"ffpfd to answer\n{self.said()}", 60)
        status = self.status()
        assert adoptions is None or status.adoptions == adoptions, self.said()
        return status

    def kill(self) -> None:
        """SIGKILL, and no more of it when this returns."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(20)

    def stop(self, how: int = signal.SIGTERM) -> None:
        """The orderly end; with SIGUSR1 its captures are left to the next one."""
        assert self._process is not None
        self._process.send_signal(how)
        assert self._process.wait(30) == 0, self.said()

    def connect(self, program: str = "test") -> Tool:
        with self.ns.entered():
            return Tool(self.socket, program)

    def status(self) -> Status:
        with self.connect() as tool:
            assert isinstance(tool, Tool)
            return tool.status()

    def said(self) -> str:
        return self.log.read_text(errors="replace")


def bpf_objects(pid: int) -> set[tuple[str, int]]:
    """The maps and programs that a process has descriptors of, by kind and the kernel's number."""
    found = set()
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):
            for line in entry.read_text().splitlines():
                name, _, value = line.partition(":")
                if name in ("map_id", "prog_id"):
                    found.add((name, int(value)))
    return found


def exists(kind: str, number: int) -> bool:
    """Whether the kernel still has a map or program, whoever holds it.

    It is only asked for numbers: a descriptor of a program array that is being emptied would, when it is closed, have
    it emptied once more, and never freed (kernel/bpf/arraymap.c, prog_array_map_clear takes a reference for work that
    is queued already, Linux 6.18)."""
    command = {"map_id": BPF_MAP_GET_NEXT_ID, "prog_id": BPF_PROG_GET_NEXT_ID}[kind]
    attributes = (ctypes.c_uint32 * 32)(number - 1)
    more = _libc.syscall(SYS_BPF, command, attributes, ctypes.sizeof(attributes)) == 0
    return more and attributes[1] == number


def holder_pid(socket_path: Path) -> int:
    """Of the holder that listens at a path; it must not be busy with that for long."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        asking.connect(str(socket_path))
        return int(struct.unpack("iII", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])


def end_holder(socket_path: Path) -> None:
    """Whoever still has a connection to it: a test that failed may."""
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError, ProcessLookupError):
        os.kill(holder_pid(socket_path), signal.SIGKILL)


def descriptors(pid: int) -> collections.Counter[str]:
    """A process's descriptors, by what they are."""
    found: collections.Counter[str] = collections.Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[re.sub(r"\d+", "N", str(entry.readlink()))] += 1
    return found


def frame(number: int, octets: int = 100) -> bytes:
    head = b"\xff" * 6 + b"\x02\x00\x00\x00\x00\x01" + ETHERTYPE.to_bytes(2, "big") + NUMBER.pack(number)
    return head.ljust(octets, b"\xa5")


def tcpdump(
    ns: Netns, socket: Path, folder: Path, name: str, *more: str, engine: str = "shared"
) -> subprocess.Popen[Any]:
    """An unmodified tcpdump that writes folder/name.pcap; its statistics are in name.stats."""
    environ = {**os.environ, "FFPF_SOCKET": str(socket), "FFPF_STATS": str(folder / f"{name}.stats")}
    command = [sys.executable, "-m", "pyffpf.cli.run", "--engine", engine, "tcpdump", "-i", ns.left, "-U", "-w",
               str(folder / f"{name}.pcap"), "-Z", "root", *more]  # fmt: skip
    with (folder / f"{name}.err").open("wb") as errors:
        return ns.popen(command, stdin=subprocess.DEVNULL, stderr=errors, env=environ)


def wait_listening(folder: Path, name: str) -> None:
    path = folder / f"{name}.err"
    wait_until(lambda: "listening on" in path.read_text(), f"{name} to listen", 30)


def check_unbroken(folder: Path, name: str, process: subprocess.Popen[Any], last: int) -> None:
    """Once the packet `last` has come: ends the tcpdump, which must have every number between its first and that."""
    wait_until(lambda: numbers(folder / f"{name}.pcap")[-1:] == [last], f"packet {last}", 20)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    found = numbers(folder / f"{name}.pcap")
    odd = [(one, other) for one, other in itertools.pairwise(found) if other != one + 1]
    assert not odd and found[0] < last, f"{len(odd)} gaps from {found[0]} to {last}: {odd[:10]}"
    stats = (folder / f"{name}.stats").read_text()
    assert "engine=shared" in stats, stats


class Sender:
    """Numbered frames out of one interface, from 0 on, at a rate; a context manager."""

    def __init__(self, ns: Netns, interface: str, per_second: int) -> None:
        self.sent = 0
        self._socket = ns.sender(interface)
        self._per_second = per_second
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._frame = bytearray(frame(0))

    def _run(self) -> None:
        began = time.monotonic()
        while not self._end.is_set():
            due = int((time.monotonic() - began) * self._per_second)
            while self.sent < due:
                NUMBER.pack_into(self._frame, HEADER_BYTES, self.sent)
                self._socket.send(self._frame)
                self.sent += 1
            time.sleep(0.001)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join()

    def wait_more(self, count: int) -> None:
        goal = self.sent + count
        wait_until(lambda: self.sent >= goal, f"{count} more packets", 30)


def numbers(capture: Path) -> list[int]:
    """Of a pcap file of such frames, in the order of the file."""
    data = capture.read_bytes()
    found, at = [], 24
    while at + 16 <= len(data):
        (cap_len,) = struct.unpack_from("<I", data, at + 8)
        if at + 16 + cap_len > len(data):
            break
        if data[at + 28 : at + 30] == ETHERTYPE.to_bytes(2, "big"):
            found.append(NUMBER.unpack_from(data, at + 16 + HEADER_BYTES)[0])
        at += 16 + cap_len
    return found
