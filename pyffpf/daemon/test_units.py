# SPDX-License-Identifier: BSD-3-Clause
"""The units, as systemd's own tools read them."""

from __future__ import annotations

import configparser
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from pyffpf.daemon.holder_store import SYSTEMD_LIMIT
from pyffpf.daemon.privileges import NETFILTER, Cap

UNITS = Path(__file__).resolve().parent / "units"
EXPOSURE_MAX = 2.2  # of 10: what remains is the network, which is what it is for


def run(*argv: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, argv)), env={**os.environ, **environ}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The two units in a folder, with a program that is there: the real one may not be installed."""
    for name in ("ffpfd.service", "ffpfd.socket"):
        text = (UNITS / name).read_text()
        (tmp_path / name).write_text(text.replace("ExecStart=ffpfd", f"ExecStart={shutil.which('true')}"))
    return tmp_path


def read(name: str) -> configparser.RawConfigParser:
    """The unit; of a setting that is given several times, the last."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNITS / name)
    return parser


def test_systemd_understands_them(units: Path) -> None:
    done = run("systemd-analyze", "verify", "--man=no", units / "ffpfd.service", units / "ffpfd.socket")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_mistake_would_be_seen(units: Path) -> None:
    service = units / "ffpfd.service"
    service.write_text(service.read_text().replace("ProtectHostname=yes", "ProtectHostname=perhaps"))
    done = run("systemd-analyze", "verify", "--man=no", service)
    assert "perhaps" in done.stdout


def test_little_is_exposed(units: Path) -> None:
    threshold = f"--threshold={int(EXPOSURE_MAX * 10)}"
    done = run("systemd-analyze", "security", "--offline=yes", threshold, units / "ffpfd.service")
    assert done.returncode == 0 and "Overall exposure level" in done.stdout, done.stdout
    without = units / "ffpfd.service"
    without.write_text(without.read_text().replace("SystemCallFilter", "#"))
    assert run("systemd-analyze", "security", "--offline=yes", threshold, without).returncode != 0


def test_it_has_the_capabilities_that_the_daemon_keeps() -> None:
    service = read("ffpfd.service")["Service"]
    names = {f"CAP_{Cap(cap).name}" for cap in NETFILTER}
    assert set(service["CapabilityBoundingSet"].split()) == names
    assert set(service["AmbientCapabilities"].split()) == names
    assert int(service["FileDescriptorStoreMax"]) == SYSTEMD_LIMIT
    assert int(service["LimitNOFILE"]) > SYSTEMD_LIMIT


def test_anybody_may_ask() -> None:
    control = read("ffpfd.socket")["Socket"]
    assert control["ListenSequentialPacket"] == "/run/ffpf/ffpfd.sock"
    assert control["SocketMode"] == "0666"


def test_user_and_folder_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    made = run("systemd-sysusers", f"--root={tmp_path}", UNITS / "ffpf.sysusers.conf")
    assert made.returncode == 0, made.stdout
    (line,) = [line for line in (tmp_path / "etc" / "passwd").read_text().splitlines() if line.startswith("ffpf:")]
    _, _, uid, gid, _, home, shell = line.split(":")
    assert 0 < int(uid) < 1000 and (home, shell) == ("/", "/usr/sbin/nologin")
    made = run("systemd-tmpfiles", f"--root={tmp_path}", "--create", UNITS / "ffpf.tmpfiles.conf")
    assert made.returncode == 0, made.stdout
    found = (tmp_path / "run" / "ffpf").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (int(uid), int(gid), 0o755)
