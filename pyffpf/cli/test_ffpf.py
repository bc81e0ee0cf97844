# SPDX-License-Identifier: BSD-3-Clause
"""ffpf status against a daemon that answers as it is told."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pyffpf.cli import ffpf, rates, tables
from pyffpf.daemon import status
from pyffpf.daemon.status import FlowStatus, GroupStatus, ProgramStatus, SourceStatus, Status

EXAMPLE = Status(
    server="ffpfd 9.9",
    pid=77,
    uptime_s=90061,
    monotonic_ns=10 * 10**9,
    adoptions=1,
    holder="process",
    sources=[SourceStatus("eth0", lanes=2, link_type=1, link_type_name="EN10MB", packets=1234567,
                          dropped={"nested": 3, "lost": 0},
                          programs=[ProgramStatus("hook", -1, 900), ProgramStatus("classify", 0, 321, 2)]),
             SourceStatus("eth1", form="probed", reason="too old")],
    groups=[GroupStatus("eth0", 20, "dialout", lanes=2, buffer_bytes=3 << 29, records=500, flows=2)],
    flows=[
        FlowStatus(1, "eth0", 20, "dialout", 1000, "ann", 4711, "tcpdump", seen=1000, filtered=400, delivered=590,
                   waiting=3, dropped={"pbuf": 7}),
        FlowStatus(2, "eth0", 20, "dialout", 1001, "bob", 4712, "evil\x1b[2Jname", "userspace", "too long", seen=9),
    ],
)  # fmt: skip
LATER = replace(
    EXAMPLE,
    monotonic_ns=12 * 10**9,
    sources=[replace(EXAMPLE.sources[0], packets=1234567 + 4000), EXAMPLE.sources[1]],
    flows=[replace(EXAMPLE.flows[0], seen=3000, delivered=2590, dropped={"pbuf": 11}), EXAMPLE.flows[1]],
)

Answer = Callable[[dict[str, Any], socket.socket], None]


def send(connection: socket.socket, message: object, fds: list[int] | None = None) -> None:
    socket.send_fds(connection, [json.dumps(message).encode()], fds or [])


def answering(*documents: Status) -> Answer:
    """hello, and one document after the other; the last for ever."""
    left = list(documents)

    def answer(request: dict[str, Any], connection: socket.socket) -> None:
        if request["op"] == "hello":
            assert request["version"] == 1 and request["program"] in ("ffpf status", "ffpf top")
            send(connection, {"id": request["id"], "ok": True, "version": 1, "server": "ffpfd 9.9"})
            return
        assert request["op"] == "status"
        fd = status.to_fd(left.pop(0) if len(left) > 1 else left[0])
        send(connection, {"event": "moved", "flow": 1})  # events may come between
        send(connection, {"id": request["id"], "ok": True, "fds": ["status"]}, [fd])
        os.close(fd)

    return answer


@contextlib.contextmanager
def daemon(path: Path, answer: Answer) -> Iterator[None]:
    """Serves one connection."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(str(path))
    listening.listen()
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            connection, _ = listening.accept()
            with connection:
                while data := connection.recv(65536):
                    answer(json.loads(data), connection)
        except (ConnectionResetError, BrokenPipeError):
            pass
        except OSError:
            pass  # nobody came: the listening socket was shut down
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(20)
        listening.close()
    assert not failures, failures


def run(path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pyffpf.cli.ffpf", "status", "--socket", str(path), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_json_is_the_document(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with daemon(path, answering(EXAMPLE)):
        done = run(path, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert status.loads(done.stdout.encode()) == EXAMPLE
    assert "rates" not in json.loads(done.stdout)


def test_text_where_there_is_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with daemon(path, answering(EXAMPLE)):
        done = run(path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout and "─" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ffpfd 9.9  pid 77  up 1d 01:01:01  2 sources, 1 groups, 2 flows")
    assert lines[0].endswith("holder: process, 1 adopted")

    def row(*words: str) -> bool:
        return any(line.split()[: len(words)] == list(words) for line in lines)

    assert row("eth0", "kernel", "up", "2", "EN10MB", "0", "B", "1,234,567", "nested", "3")
    assert row("eth1", "kernel,", "probed", "(too", "old)", "up")
    assert row("eth0", "classify", "0", "321", "2")
    assert row("eth0", "dialout", "srp", "2", "1.5", "GiB", "2", "500", "0")
    assert row(
        "1", "eth0", "dialout", "ann", "4711", "tcpdump", "kernel", "live", "1,000", "400", "590", "3", "pbuf", "7"
    )
    assert row("2", "eth0", "dialout", "bob", "4712", "evil?[2Jname", "userspace", "(too", "long)", "live", "9")


def test_rates_are_those_between_two_samples() -> None:
    found = rates.between(EXAMPLE, LATER)
    assert found is not None and found.seconds == 2
    assert found.sources == {"eth0": rates.Rate(2000, 0, 0), "eth1": rates.Rate(0, 0, 0)}
    assert found.flows == {"1": rates.Rate(1000, 1000, 2), "2": rates.Rate(0, 0, 0)}
    assert rates.between(EXAMPLE, EXAMPLE) is None
    assert rates.between(LATER, EXAMPLE) is None


def test_no_rate_for_what_is_new_or_began_anew() -> None:
    fresh = replace(LATER, flows=[replace(EXAMPLE.flows[0], seen=1), FlowStatus(3, "eth0", 20)])
    found = rates.between(EXAMPLE, fresh)
    assert found is not None and found.flows == {}
    assert "-" in next(line for line in tables.plain(fresh, found) if line.lstrip().startswith("3 ")).split()


def test_watch_until_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "s"
    command = [sys.executable, "-m", "pyffpf.cli.ffpf", "status", "--socket", str(path), "--json", "--watch", "0.1"]
    with (
        daemon(path, answering(EXAMPLE, LATER)),
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching,
    ):
        assert watching.stdout is not None
        documents = [json.loads(watching.stdout.readline()) for _ in range(3)]
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate(timeout=20)
    assert (watching.returncode, errors) == (0, "")
    assert "rates" not in documents[0]
    assert documents[1]["rates"]["sources"]["eth0"]["seen"] == 2000
    assert "rates" not in documents[2]  # the same sample again: no time has passed


def test_tables_on_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "s"
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "pyffpf.cli.ffpf", "status", "--socket", str(path)]
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    environ.pop("NO_COLOR", None)
    with daemon(path, answering(EXAMPLE)):
        child = subprocess.Popen(command, stdout=slave, stderr=slave, env=environ)
        os.close(slave)
        shown = read_terminal(master)
        assert child.wait(20) == 0
    os.close(master)
    assert "\x1b[" in shown and "evil\x1b" not in shown
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert "evil?[2Jname" in plain and "│ tcpdump" in plain and "1,234,567" in plain


def read_terminal(master: int) -> str:
    """All that is written until the other end is closed."""
    pieces = []
    while select.select([master], [], [], 20)[0]:
        try:
            pieces.append(os.read(master, 65536))
        except OSError:
            break
    return b"".join(pieces).decode()


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda request, connection: send(connection, {"id": request["id"], "ok": False, "code": "denied",
                                                       "error": "not for you"}), "ffpfd refuses: not for you"),
        (lambda request, connection: connection.shutdown(socket.SHUT_RDWR), "ffpfd hung up at "),
        (lambda request, connection: connection.send(b"{"), "that was no message of ffpfd's protocol"),
        (lambda request, connection: send(connection, {"id": request["id"], "ok": True, "fds": ["x"]}),
         "do not match"),
        (lambda request, connection: send(connection, {"id": request["id"], "ok": True}), "has no status in it"),
    ],
    ids=["refused", "hangs-up", "garbage", "no-descriptor", "no-status"],
)  # fmt: skip
def test_failures_are_told(tmp_path: Path, answer: Answer, text: str) -> None:
    path = tmp_path / "s"
    with daemon(path, answer):
        done = run(path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ffpf: ") and text in done.stderr and done.stderr.count("\n") == 1


def test_a_document_that_cannot_be_read(tmp_path: Path) -> None:
    def answer(request: dict[str, Any], connection: socket.socket) -> None:
        fd = os.memfd_create("no-document")
        os.pwrite(fd, b'{"pid": "seven"}', 0)
        send(connection, {"id": request["id"], "ok": True, "fds": ["status"]}, [fd])
        os.close(fd)

    path = tmp_path / "s"
    with daemon(path, answer):
        done = run(path)
    assert done.returncode == 1
    assert done.stderr == "ffpf: ffpfd's status cannot be read: status.pid: expected int, found str\n"


def test_nobody_there(tmp_path: Path) -> None:
    path = tmp_path / "s"
    done = run(path)
    assert (done.returncode, done.stderr) == (1, f"ffpf: ffpfd is not running: there is no socket at {path}\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stale:
        stale.bind(str(path))
    assert run(path).stderr == f"ffpf: ffpfd is not running: nobody listens at {path}\n"
    path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(path))
        other.listen()
        done = run(path)
    assert done.returncode == 1 and "is this ffpfd's socket?" in done.stderr


def test_the_environment_names_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFPF_SOCKET", str(tmp_path / "elsewhere"))
    command = [sys.executable, "-m", "pyffpf.cli.ffpf", "status"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert str(tmp_path / "elsewhere") in done.stderr


@pytest.mark.parametrize("args", [[], ["dance"], ["status", "--watch", "0"], ["status", "--watch", "soon"], ["--json"]])
def test_wrong_use(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        ffpf.main(args)
    assert ended.value.code == 2
    assert "usage: ffpf" in capsys.readouterr().err
