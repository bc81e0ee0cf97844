# SPDX-License-Identifier: BSD-3-Clause
"""Our units on a real systemd: the descriptor store over kills and restarts, and what the hardening leaves."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compat_tests.netns import Netns, wait_until
from pyffpf.daemon.machine import ENVIRONMENT, PYTHON, Machine
from pyffpf.daemon.privileges import NETFILTER, Capabilities
from pyffpf.daemon.survival import Sender, check_unbroken, tcpdump, wait_listening
from pyffpf.daemon.testing import Tool

RATE = 2000

# Stands for ffpfd: takes over what is stored, says so, adds one descriptor more, and lives.
SERVICE = """
import asyncio, ctypes, json, mmap, os, socket
from pathlib import Path
from pyffpf.daemon import privileges
from pyffpf.daemon.holder_store import open_store
from pyffpf.daemon.notify import Notifier, inherited_fds

notifier = Notifier.from_environment(os.environ)
given = inherited_fds(os.environ)
stored = {name: fd for name, fd in given if name != "control"}
store = open_store("auto", Path("/run/ffpf/holder.sock"), notifier, stored, os.environ)
state, found = store.take_all()
turn = json.loads(state)["turn"] + 1 if state else 1

def attempt(what):
    try:
        what()
    except OSError as error:
        return error.strerror
    return "done"

def bpf_map():
    attributes = ctypes.create_string_buffer(b"".join(n.to_bytes(4, "little") for n in (2, 4, 8, 1)), 128)
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(321, 0, attributes, 128)  # bpf(BPF_MAP_CREATE), an array
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd

held = bpf_map()  # polls as hung up, which must not make the manager drop it
store.put(f"map.{turn}", held)
store.set_state(json.dumps({"turn": turn}).encode())
report = {
    "turn": turn, "kind": store.kind, "uid": os.getuid(), "limit": store._limit,
    "control": [fd for name, fd in given if name == "control"],
    "names": sorted(found), "types": sorted({os.readlink(f"/proc/self/fd/{fd}") for fd in found.values()}),
    "packet": attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)),
    "vsock": attempt(lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM, 0)),
    "etc": attempt(lambda: Path("/etc/ffpf-was-here").write_text("")),
    "run": attempt(lambda: Path("/run/ffpf/was-here").write_text("")),
    "executable": attempt(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)),
    "unshare": attempt(lambda: (_ for _ in ()).throw(OSError(0, "denied"))
                       if ctypes.CDLL(None).unshare(0x10000000) else None),
}
Path("/run/ffpf/report.tmp").write_text(json.dumps(report))
Path("/run/ffpf/report.tmp").rename(f"/run/ffpf/report.{turn}")
notifier.ready(f"turn {turn}")
asyncio.run(notifier.keep_alive())
"""

DROP_IN = f"""
[Service]
ExecStart=
ExecStart={PYTHON} /run/units/service.py
{ENVIRONMENT}
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    files = {"service.py": SERVICE, "ffpfd.service.d/test.conf": DROP_IN}
    with Machine(tmp_path_factory.mktemp("machine"), files, "ffpfd.service") as made:
        yield made


def report(machine: Machine, turn: int) -> dict[str, Any]:
    path = machine.path(f"/run/ffpf/report.{turn}")
    wait_until(path.exists, f"turn {turn}", 30)
    wait_until(lambda: machine.shown("ffpfd", "StatusText") == f"turn {turn}", "READY", 30)
    found: dict[str, Any] = json.loads(path.read_text())
    path.unlink()
    return found


def maps(*turns: int) -> list[str]:
    return [f"map.{turn}" for turn in turns]


def test_the_store_and_the_hardening(machine: Machine) -> None:
    first = report(machine, 1)
    assert (first["kind"], first["names"], first["control"]) == ("systemd", [], [3])
    assert first["uid"] != 0
    assert (first["packet"], first["run"]) == ("done", "done")
    assert first["vsock"] == os.strerror(97)  # EAFNOSUPPORT
    assert first["etc"] == "Read-only file system"
    assert first["executable"] == "Operation not permitted"
    assert first["unshare"] == "denied"

    pid = machine.outer_pid(int(machine.shown("ffpfd", "MainPID")))
    found = Capabilities.of(pid)
    assert found.effective == found.permitted == found.bounding == NETFILTER
    assert found.no_new_privs

    for turn in (2, 3):  # as often as it likes
        os.kill(pid, signal.SIGKILL)
        again = report(machine, turn)
        assert again["names"] == maps(*range(1, turn))
        assert again["types"] == ["anon_inode:bpf-map"]
        assert again["control"] == [3]
        pid = machine.outer_pid(int(machine.shown("ffpfd", "MainPID")))
    assert int(machine.shown("ffpfd", "NFileDescriptorStore")) == 5  # three maps and the state's two files

    machine.systemctl("restart", "ffpfd.service")
    assert report(machine, 4)["names"] == maps(1, 2, 3)

    machine.systemctl("stop", "ffpfd.service")
    machine.systemctl("start", "ffpfd.service")
    assert report(machine, 1)["names"] == []


@pytest.mark.live
def test_captures_in_the_service(tmp_path: Path) -> None:
    """ffpfd itself, as the user ffpf, with all that is refused to it."""
    drop_in = DROP_IN.replace("/run/units/service.py", "-m pyffpf.cli.ffpfd")
    folder = tmp_path / "machine"
    folder.mkdir()
    with Netns() as ns, Machine(folder, {"ffpfd.service.d/test.conf": drop_in}, "ffpfd.socket", ns.name) as machine:
        control = machine.path("/run/ffpf/ffpfd.sock")
        wait_until(control.exists, "the socket", 30)
        reader = tcpdump(ns, control, tmp_path, "reader", "ether", "proto", "0x88b5")  # its connection starts ffpfd
        wait_listening(tmp_path, "reader")
        with Sender(ns, ns.right, RATE) as sender:
            for turn in range(1, 4):
                sender.wait_more(RATE // 10)
                if turn < 3:
                    os.kill(machine.outer_pid(int(machine.shown("ffpfd", "MainPID"))), signal.SIGKILL)
                else:
                    machine.systemctl("restart", "ffpfd.service")
                with ns.entered(), Tool(control, "test") as tool:
                    assert isinstance(tool, Tool)
                    status = tool.status()
                assert (status.adoptions, status.holder, [flow.program for flow in status.flows]) == (
                    turn, "systemd", ["tcpdump"])  # fmt: skip
            sender.wait_more(RATE // 10)
        check_unbroken(tmp_path, "reader", reader, sender.sent - 1)
        told = tcpdump(ns, control, tmp_path, "told")
        wait_listening(tmp_path, "told")
        machine.systemctl("stop", "ffpfd.socket", "ffpfd.service")
        assert told.wait(20) != 0
        assert "ffpfd has ended the capture: it was stopped" in (tmp_path / "told.err").read_text()
        assert machine.shown("ffpfd", "Result") == "success"
        assert machine.shown("ffpfd", "NFileDescriptorStore") == "0"


def test_the_control_socket_is_everybodys(machine: Machine) -> None:
    path = machine.path("/run/ffpf/ffpfd.sock")
    assert path.is_socket() and path.stat().st_mode & 0o777 == 0o666
    assert Path(machine.path("/run/ffpf")).stat().st_mode & 0o777 == 0o755
