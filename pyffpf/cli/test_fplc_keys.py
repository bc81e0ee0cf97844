# SPDX-License-Identifier: BSD-3-Clause
"""fplc's keys and signed records, as their users call it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = "RETURN PKT.TCP_DPORT == 80;\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a key `key`, trusted in `trust`, and a record `web.fplo` that it signed."""
    for words in (
        ["keygen", str(tmp_path / "key")],
        ["trust", "add", str(tmp_path / "key.pub"), "--trust", str(tmp_path / "trust")],
        ["compile", "--key", str(tmp_path / "key"), "--output", str(tmp_path / "web.fplo")],
    ):
        done = fplc(*words)
        assert (done.returncode, done.stderr) == (0, "")
    return tmp_path


def fplc(*words: str, trust: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pyffpf.cli.fplc", *words]
    environment = {**os.environ, "FFPF_TRUST": trust}
    return subprocess.run(command, input=TEXT, capture_output=True, text=True, timeout=60, env=environment)


def verify(folder: Path) -> subprocess.CompletedProcess[str]:
    return fplc("verify", str(folder / "web.fplo"), trust=str(folder / "trust"))


def test_a_record_says_what_it_has(folder: Path) -> None:
    done = verify(folder)
    assert (done.returncode, done.stderr) == (0, "")
    listed = fplc("trust", "list", "--trust", str(folder / "trust")).stdout
    key = listed.split()[0]
    assert listed == f"{key}  for ever\n"
    assert f"key                            {key}\n" in done.stdout
    assert "octets of MBuf                 0\n" in done.stdout
    for machine in ("x86-64", "aarch64"):
        for link_type in (1, 12, 113, 276):
            assert f"code, {machine}, link type {link_type}" in done.stdout


def test_secret_keys_are_secret(folder: Path) -> None:
    key = folder / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert fplc("keygen", str(key)).returncode == 1  # never overwritten
    for mode in (0o640, 0o604, 0o601):
        key.chmod(mode)
        done = fplc("compile", "--key", str(key), "--output", str(folder / "other.fplo"))
        assert (done.returncode, done.stdout) == (1, "")
        assert f"{key}: others can read this secret key" in done.stderr
        assert not (folder / "other.fplo").exists()
    key.chmod(0o600)
    key.write_text("ffpf-secret-key 1\ned25519 00\n")
    assert f"{key}: no secret key" in fplc("compile", "--key", str(key)).stderr


def test_rotation(folder: Path) -> None:
    trust = str(folder / "trust")
    assert (
        fplc("rotate", str(folder / "key"), str(folder / "new"), "--until", "2099-01-31", trust=trust).returncode == 0
    )
    lines = sorted(line.split("  ")[1] for line in fplc("trust", "list", trust=trust).stdout.splitlines())
    assert lines == ["for ever", "until 2099-01-31 23:59:59"]
    assert verify(folder).returncode == 0  # what the old key signed
    signed = ["compile", "--key", str(folder / "new"), "--output", str(folder / "web.fplo"), "--link", "raw"]
    assert fplc(*signed).returncode == 0
    assert "link type 12" in verify(folder).stdout
    assert "link type 1 " not in verify(folder).stdout


def test_keys_that_end_and_are_removed(folder: Path) -> None:
    trust = str(folder / "trust")
    key = fplc("trust", "list", trust=trust).stdout.split()[0]
    again = ["trust", "add", str(folder / "key.pub"), "--until", "2020-01-31T12:00:00Z"]
    assert fplc(*again, trust=trust).stdout == f"{key}\n"
    assert fplc("trust", "list", trust=trust).stdout == f"{key}  ended 2020-01-31 12:00:00\n"
    done = verify(folder)
    assert done.returncode == 1
    assert f"web.fplo: its key is trusted no more: see not-after in {trust}/{key}.pub" in done.stderr
    assert fplc("trust", "remove", key, trust=trust).returncode == 0
    assert "its key is not trusted" in verify(folder).stderr
    assert fplc("trust", "remove", key, trust=trust).returncode == 1
    assert "no id of a key" in fplc("trust", "remove", "../key", trust=trust).stderr
    assert fplc("trust", "add", str(folder / "key.pub"), "--until", "soon", trust=trust).returncode == 2


def test_what_is_no_record_or_no_key(folder: Path) -> None:
    record = folder / "web.fplo"
    octets = bytearray(record.read_bytes())
    octets[600] ^= 1
    record.write_bytes(octets)
    done = verify(folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{record}: it was changed, or forged")
    record.unlink()
    assert f"{record}: No such file or directory" in verify(folder).stderr
    assert "no file of a public key" in fplc("trust", "add", str(folder / "key"), trust=str(folder / "trust")).stderr
