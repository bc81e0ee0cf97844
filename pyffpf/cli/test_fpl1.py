# SPDX-License-Identifier: BSD-3-Clause
"""fpl1 as its users call it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fpl.fpl1 import assemble, disassemble
from pyffpf.testing_flows import TCP, savefile

COUNT = ".memory 8; pkt.u8 23; push 6; eq; dup; addm.u32 4; ret\n"


def fpl1(*words: object, text: str | bytes = COUNT) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "pyffpf.cli.fpl1", *map(str, words)]
    return subprocess.run(command, input=text if isinstance(text, bytes) else text.encode(), capture_output=True,
                          timeout=60)  # fmt: skip


def test_check_says_nothing_or_what_is_wrong(tmp_path: Path) -> None:
    done = fpl1("check")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    program = tmp_path / "web.fpl1"
    program.write_text("push 1\n  psh 2\n")
    done = fpl1("check", program)
    assert done.returncode == 1
    assert done.stderr.decode().startswith(f"{program}:2:3: psh is no operation\n    psh 2\n    ^\n  Is it push")
    assert fpl1("check", tmp_path / "none").returncode == 1
    assert fpl1("mend").returncode == 2


def test_objects_and_text(tmp_path: Path) -> None:
    octets = assemble(COUNT).to_bytes()
    assert fpl1("assemble", "--binary").stdout == octets
    assert bytes.fromhex(fpl1("assemble").stdout.decode()) == octets
    file = tmp_path / "count"
    assert fpl1("assemble", "--output", file).stdout == b""
    assert file.read_bytes() == octets
    text = fpl1("disassemble", file).stdout.decode()
    assert text == disassemble(assemble(COUNT))
    assert fpl1("assemble", "--binary", text=text).stdout == octets
    assert fpl1("assemble", "--binary", "--mbuf", 100).stdout == assemble(COUNT, memory_bytes=128).to_bytes()
    assert b"it is not as long as it says" in fpl1("disassemble", text=octets[:-1]).stderr


@pytest.mark.parametrize("results", [False, True])
def test_run_on_a_savefile(results: bool, tmp_path: Path) -> None:
    done = fpl1("run", "--read", savefile(tmp_path), *(["--results"] if results else []))
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert lines[-6:] == [
        "packets 42",
        f"let_through {TCP}",
        "out_of_steps 0",
        "extended 0",
        "refused 0",
        f"MEM[1] {TCP}",
    ]
    assert [line.rsplit(": ", 1)[1] for line in lines[:-6]] == ["1"] * (TCP if results else 0)


def test_run_says_what_is_wrong(tmp_path: Path) -> None:
    assert fpl1("run").stderr == b"fpl1: run needs a savefile: --read FILE\n"
    assert b"No such file" in fpl1("run", "--read", tmp_path / "none").stderr
    done = fpl1("run", "--read", savefile(tmp_path), text="push 0; dup; call Nowhere; ret")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"Nowhere" in done.stderr


def test_translate(tmp_path: Path) -> None:
    text = fpl1("translate", "--mbuf", 8, text="IF (PKT.IP_PROTO == PROTO_TCP) THEN MEM[1]++; RETURN 1; FI").stdout
    lines = fpl1("run", "--read", savefile(tmp_path), text=text).stdout.decode().splitlines()
    assert lines[:2] == ["packets 42", f"let_through {TCP}"]
    assert lines[-1] == f"MEM[1] {TCP}"
    assert fpl1("translate", "--link", "raw", text="RETURN 1;").returncode == 0
    assert fpl1("translate", text="RETURN").stderr.startswith(b"<stdin>:1:7: the program ends too early")
    assert b"4096 instructions" in fpl1("translate", text="R[0] += 1;" * 2000).stderr
