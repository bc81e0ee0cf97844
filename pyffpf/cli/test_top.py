# SPDX-License-Identifier: BSD-3-Clause
"""ffpf top: the order of its rows, what fits, its keys in a pseudo-terminal, and with a ffpfd that captures."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from compat_tests import shared
from compat_tests.netns import Netns
from pyffpf.cli import rates, top
from pyffpf.cli.test_ffpf import EXAMPLE, LATER, answering, daemon
from pyffpf.cli.top import View
from pyffpf.daemon.status import FlowStatus, Status

PATIENCE_S = 30.0
SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def order(view: View, status: Status = LATER, earlier: Status = EXAMPLE) -> list[int]:
    return [row.flow.id for row in top.rows(status, rates.between(earlier, status), view)]


def drawn(
    status: Status, since: rates.Rates | None, view: View, height: int, trouble: str = "", width: int = 160
) -> list[str]:
    console = Console(width=width, height=height, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(top.render(status, since, view, height, trouble))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_rows_are_sorted() -> None:
    assert order(View(sort="delivered/s")) == [1, 2]
    assert order(View(sort="delivered/s", reverse=True)) == [2, 1]
    assert order(View(sort="user")) == [1, 2] and order(View(sort="user", reverse=True)) == [2, 1]
    assert order(View(sort="program")) == [2, 1]
    assert order(View(sort="dropped", reverse=True)) == [2, 1]
    assert all(sorted(order(View(sort=sort))) == [1, 2] for sort in top.SORTS)


def test_keys() -> None:
    view = View()
    for _ in top.SORTS:
        view.key("s")
    assert view == View()  # all columns, and round
    view.key("S")
    assert view.sort == list(top.SORTS)[-1]
    for char, changed in (("r", "reverse"), ("p", "paused")):
        view.key(char)
        assert getattr(view, changed)
    view.key("u")
    assert not view.users and not view.ended
    view.key("x")
    view.key("q")
    assert view.ended


def test_users_are_sums_of_their_flows() -> None:
    status = replace(LATER, flows=[*LATER.flows, replace(LATER.flows[0], id=3, dropped={"ibuf": 2})])
    assert top.users(top.rows(status, rates.between(EXAMPLE, status), View())) == [
        ("ann", 2, 1000.0, 2.0, 13), ("bob", 1, 0.0, 0.0, 0)
    ]  # fmt: skip


def test_the_picture() -> None:
    lines = drawn(LATER, rates.between(EXAMPLE, LATER), View(), 40)
    assert lines[0].startswith("ffpfd 9.9  pid 77")
    assert "s sort: delivered/s" in lines[1] and "paused" not in lines[1]

    def row(*words: str) -> bool:
        return any(line.split()[: len(words)] == list(words) for line in lines)

    assert row("eth0", "up", "1,238,567", "2,000", "nested", "3")
    assert row("ann", "1", "1,000", "2", "11")
    assert row("1", "ann", "tcpdump", "4711", "eth0", "kernel", "live", "1,000", "1,000", "2", "3", "pbuf", "11")
    assert row("2", "bob", "evil?[2Jname", "4712", "eth0", "userspace", "live", "0", "0", "0", "0", "-")


def test_without_rates_there_are_dashes_and_trouble_is_told() -> None:
    lines = drawn(EXAMPLE, None, View(paused=True, users=False), 40, "ffpfd hung up; trying again")
    assert lines[1].endswith("paused") and lines[2] == "ffpfd hung up; trying again"
    assert any(
        line.split()[:9] == ["1", "ann", "tcpdump", "4711", "eth0", "kernel", "live", "-", "-"] for line in lines
    )
    assert not any(line.startswith("user ") for line in lines)


@pytest.mark.parametrize("height", [5, 8, 12, 20, 60])
def test_it_fits_the_terminal(height: int) -> None:
    flows = [FlowStatus(number, "eth0", 20, user=f"u{number % 7}") for number in range(50)]
    lines = drawn(replace(EXAMPLE, flows=flows), None, View(), height)
    shown = sum(1 for line in lines if re.match(r"\s*\d+\s+u\d", line))
    assert len(lines) <= max(height, 8)  # at least one flow is shown
    told = [int(line.split()[0]) for line in lines if line.endswith("more flows do not fit")]
    assert shown + sum(told) == 50 and shown >= 1


class Terminal:
    """A program in a pseudo-terminal; a context manager. What it drew last is in `frame`."""

    def __init__(self, argv: Sequence[str], size: tuple[int, int] = (40, 160), *, errors: bool = False) -> None:
        """errors: standard error is the terminal too; else a pipe, child.stderr."""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self._slave = slave
        self.before = termios.tcgetattr(slave)
        environ = {**os.environ, "TERM": "xterm-256color"}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environ.pop(name, None)
        stderr = slave if errors else subprocess.PIPE
        self.child = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=stderr, env=environ)
        self.drawn = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        if self.child.stderr:
            self.child.stderr.close()
        os.close(self._master)
        os.close(self._slave)

    def read(self, seconds: float) -> None:
        if select.select([self._master], [], [], seconds)[0]:
            self.drawn += os.read(self._master, 65536).decode(errors="replace")

    @property
    def frame(self) -> str:
        """The last picture that is complete, without what steers the terminal."""
        frames = self.drawn.split("\x1b[H")
        return SEQUENCE.sub("", frames[-1] if len(frames) < 3 else frames[-2] + frames[-1])

    def wait(self, text: str) -> str:
        end = time.monotonic() + PATIENCE_S
        while text not in self.frame:
            assert time.monotonic() < end and self.child.poll() is None, f"no {text!r} in {self.frame!r}"
            self.read(0.2)
        return self.frame

    def press(self, keys: str) -> None:
        """Forgets what was drawn, so that what comes is new."""
        self.drawn = ""
        os.write(self._master, keys.encode())

    def ended(self) -> int:
        end = time.monotonic() + PATIENCE_S
        while self.child.poll() is None:
            assert time.monotonic() < end, "it did not end"
            self.read(0.1)
        self.read(0)
        return self.child.returncode

    def restored(self) -> bool:
        """Whether the terminal echoes and waits for lines as it did before, on its first screen, with a cursor."""
        back = "\x1b[?1049l" in self.drawn and "\x1b[?25h" in self.drawn
        return back and termios.tcgetattr(self._slave) == self.before


@contextlib.contextmanager
def watching(path: Path, *args: str, within: Netns | None = None) -> Iterator[Terminal]:
    command = [sys.executable, "-m", "pyffpf.cli.ffpf", "top", "--socket", str(path), "--interval", "0.1", *args]
    with Terminal(within.command(command) if within else command) as terminal:
        yield terminal


def test_keys_in_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with daemon(path, answering(EXAMPLE, LATER)), watching(path) as terminal:
        terminal.wait("evil?[2Jname")
        assert "tcpdump" in terminal.frame
        terminal.press("s")
        terminal.wait("sort: dropped/s")
        terminal.press("p")
        terminal.wait("paused")
        terminal.press("\x1b[A")  # an arrow
        terminal.press("r")
        terminal.wait("tcpdump")
        terminal.press("q")
        assert terminal.ended() == 0
        assert terminal.restored()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_gives_the_terminal_back(tmp_path: Path, number: int) -> None:
    path = tmp_path / "s"
    with daemon(path, answering(EXAMPLE)), watching(path, "--sort", "user") as terminal:
        terminal.wait("sort: user")
        terminal.child.send_signal(number)
        assert terminal.ended() == 0
        assert terminal.restored()


def test_ffpfd_goes_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with watching_after(path) as terminal:
        terminal.wait("trying again")
        assert "tcpdump" in terminal.frame  # the last that was known
        path.unlink()
        with daemon(path, answering(replace(EXAMPLE, pid=78))):
            terminal.drawn = ""
            terminal.wait("pid 78")
            terminal.drawn = ""
            assert "trying again" not in terminal.wait("tcpdump")
            terminal.press("q")
            assert terminal.ended() == 0


@contextlib.contextmanager
def watching_after(path: Path) -> Iterator[Terminal]:
    """A top whose ffpfd answered once, and hung up."""
    once = answering(EXAMPLE)
    answered: list[object] = []

    def answer(request: dict[str, object], connection: object) -> None:
        if len(answered) == 2:
            raise ConnectionResetError
        answered.append(request)
        once(request, connection)  # type: ignore[arg-type]

    with contextlib.ExitStack() as stack:
        with daemon(path, answer):
            terminal = stack.enter_context(watching(path))
            terminal.wait("tcpdump")
        yield terminal


def test_nobody_there_and_no_terminal(tmp_path: Path) -> None:
    with watching(tmp_path / "s") as terminal:
        assert terminal.ended() == 1
        assert terminal.child.stderr is not None
        assert terminal.child.stderr.read().startswith(b"ffpf: ffpfd is not running")
    command = [sys.executable, "-m", "pyffpf.cli.ffpf", "top", "--socket", str(tmp_path / "s")]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ffpf: top needs a terminal; elsewhere use: ffpf status --watch 1\n"


@pytest.mark.live
def test_a_capture_is_seen() -> None:
    with Netns() as ns, shared.Ffpfd(ns) as ffpfd:
        tool = shared.start(ffpfd, shared.ANNA, ["tcpdump", "-n", "-i", ns.left, "-w", "/dev/null"])
        with shared.discarded([tool]), watching_flow(ffpfd) as terminal:
            frame = b"\xff" * 6 + ns.mac(ns.right) + b"\x08\x00" + bytes(50)
            end = time.monotonic() + PATIENCE_S
            while not re.search(rf"{ns.left} +up +[\d,]+ +[1-9]", terminal.frame):
                assert time.monotonic() < end, terminal.frame
                ns.send(ns.right, [frame] * 20)
                terminal.drawn = terminal.drawn[-20000:]
                terminal.read(0.1)
            terminal.press("q")
            assert terminal.ended() == 0


@contextlib.contextmanager
def watching_flow(ffpfd: shared.Ffpfd) -> Iterator[Terminal]:
    ffpfd.wait_flows(1)
    with watching(ffpfd.socket, within=ffpfd.ns) as terminal:
        terminal.wait("tcpdump")
        yield terminal
