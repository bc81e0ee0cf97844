# SPDX-License-Identifier: BSD-3-Clause
"""What the service manager gets to read, and what it hands over at the start."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyffpf.daemon.notify import Notifier, inherited_fds


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        yield listening


def environment(manager: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.getsockname(), **more}


def test_messages_arrive_in_order(manager: socket.socket) -> None:
    notifier = Notifier.from_environment(environment(manager))
    notifier.ready("2 sources\nand more")
    notifier.status("busy")
    notifier.reloading()
    notifier.watchdog()
    notifier.stopping()
    got = [manager.recv(4096).decode() for _ in range(5)]
    assert got[0] == "READY=1\nSTATUS=2 sources and more"
    assert got[1] == "STATUS=busy"
    assert got[2].startswith("RELOADING=1\nMONOTONIC_USEC=") and got[2].rpartition("=")[2].isdigit()
    assert got[3:] == ["WATCHDOG=1", "STOPPING=1"]
    notifier.close()


def test_descriptors_go_along(manager: socket.socket) -> None:
    notifier = Notifier.from_environment(environment(manager))
    fd = os.memfd_create("gone-along")
    notifier.send("FDSTORE=1", "FDNAME=x", fds=[fd])
    text, fds, _, _ = socket.recv_fds(manager, 4096, 4)
    assert text == b"FDSTORE=1\nFDNAME=x"
    assert [os.fstat(got).st_ino for got in fds] == [os.fstat(fd).st_ino]
    for each in (fd, *fds):
        os.close(each)
    notifier.close()


def test_abstract_address() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"ffpf-test-{os.getpid()}"
        manager.bind("\0" + name)
        notifier = Notifier("@" + name)
        notifier.watchdog()
        assert manager.recv(100) == b"WATCHDOG=1"
        notifier.close()


def test_no_manager() -> None:
    notifier = Notifier.from_environment({})
    assert not notifier.connected
    notifier.ready("nobody listens")


def test_children_are_not_the_service(manager: socket.socket) -> None:
    environ = environment(manager, WATCHDOG_USEC="20000", WATCHDOG_PID=str(os.getpid()), LISTEN_PID="1", OTHER="x")
    Notifier.from_environment(environ).close()
    assert inherited_fds(environ) == []  # meant for process 1
    assert environ == {"OTHER": "x"}


def test_signs_of_life(manager: socket.socket) -> None:
    notifier = Notifier.from_environment(environment(manager, WATCHDOG_USEC="20000", WATCHDOG_PID=str(os.getpid())))
    assert notifier.watchdog_s == 0.02

    async def live() -> None:
        beating = asyncio.create_task(notifier.keep_alive())
        for _ in range(3):
            assert await asyncio.to_thread(manager.recv, 100) == b"WATCHDOG=1"
        beating.cancel()

    asyncio.run(live())
    notifier.close()


def test_somebody_elses_watchdog(manager: socket.socket) -> None:
    notifier = Notifier.from_environment(environment(manager, WATCHDOG_USEC="20000", WATCHDOG_PID="1"))
    assert notifier.watchdog_s is None
    asyncio.run(asyncio.wait_for(notifier.keep_alive(), 10))
    notifier.close()


# The shell puts its own pid into the variable, and keeps it through exec, as the manager does.
SHELL = 'LISTEN_PID=$$ exec "$0" -c "$1"'
SHOW = """
import os
from pyffpf.daemon.notify import inherited_fds
for name, fd in inherited_fds(os.environ):
    print(name, fd, os.get_inheritable(fd), os.fstat(fd).st_ino)
print("LISTEN_FDS" in os.environ)
"""


@pytest.mark.parametrize(
    ("names", "expected"),
    [("control:src.progs", ["control", "src.progs"]), ("one-too-few", ["unknown", "unknown"]), ("", ["unknown"] * 2)],
)
def test_inherited_descriptors(names: str, expected: list[str]) -> None:
    made = [os.memfd_create("first"), os.memfd_create("second")]
    inodes = [str(os.fstat(fd).st_ino) for fd in made]

    def as_three_and_four() -> None:
        os.dup2(made[1], 20)
        os.dup2(made[0], 3)
        os.dup2(20, 4)

    done = subprocess.run(
        ["/bin/sh", "-c", SHELL, sys.executable, SHOW],
        env={**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": names},
        preexec_fn=as_three_and_four,
        close_fds=False,
        capture_output=True,
        text=True,
        check=True,
    )
    for fd in made:
        os.close(fd)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[:2] == [[expected[0], "3", "False", inodes[0]], [expected[1], "4", "False", inodes[1]]]
    assert lines[2] == ["False"]
