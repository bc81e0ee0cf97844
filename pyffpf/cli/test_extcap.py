# SPDX-License-Identifier: BSD-3-Clause
"""ffpf-extcap, asked as Wireshark asks it; and tshark, which captures through it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat_tests import pcapfile
from compat_tests.netns import Netns, wait_until
from pyffpf.cli import extcap

FRAMES = [bytes(12) + b"\x08\x00" + bytes([number]) * 50 for number in range(10)]
ARP = bytes(12) + b"\x08\x06" + bytes(50)


@pytest.fixture
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert extcap.main(list(words)) == 0
    return capsys.readouterr().out


def test_interfaces_and_options_are_told_as_the_protocol_has_them(capsys: pytest.CaptureFixture[str]) -> None:
    lines = asked(capsys, "--extcap-interfaces", "--extcap-version=4.0").splitlines()
    assert re.fullmatch(r"extcap \{version=[\d.]+\}\{display=FFPF\}", lines[0])
    assert "interface {value=ffpf-any}{display=FFPF: any}" in lines
    assert lines[-1].startswith("interface {value=ffpf-flow}")
    assert asked(capsys, "--extcap-dlts", "--extcap-interface", "ffpf-lo") == (
        "dlt {number=1}{name=EN10MB}{display=Ethernet}\n"
    )
    assert asked(capsys, "--extcap-config", "--extcap-interface", "ffpf-lo") == ""
    assert asked(capsys, "--extcap-config", "--extcap-interface", "ffpf-flow").startswith(
        "arg {number=0}{call=--graph}"
    )


def test_filters_are_judged(capsys: pytest.CaptureFixture[str]) -> None:
    judge = ("--extcap-interface", "ffpf-lo", "--extcap-capture-filter")
    assert asked(capsys, *judge, "tcp port 80") == ""
    assert "syntax error" in asked(capsys, *judge, "tcp port")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--extcap-interfaces, or --extcap-interface NAME"),
        (["--extcap-interface", "ffpf-lo", "--capture"], "--capture needs --fifo"),
        (["--extcap-interface", "ffpf-flow", "--capture", "--fifo", "x"], "ffpf-flow needs --graph"),
    ],
)
def test_wrong_questions(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        extcap.main(words)
    assert ended.value.code == extcap.USAGE
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--extcap-interface", "ffpf-nosuch0"], "nosuch0"),
        (["--extcap-interface", "ffpf-lo", "--extcap-capture-filter", "tcp port"], "syntax error"),
        (["--extcap-interface", "ffpf-flow", "--graph", "(device,lo) -> (nosuch)"], "nosuch"),
    ],
)
def test_what_cannot_be_captured_is_said(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert extcap.main([*words, "--capture", "--fifo", str(tmp_path / "out")]) == extcap.FAILED
    assert said in capsys.readouterr().err


@pytest.mark.live
@pytest.mark.parametrize(
    "words",
    [
        ["--extcap-interface", "ffpf-{left}", "--extcap-capture-filter", "ip"],
        ["--extcap-interface", "ffpf-flow", "--graph", "(device,{left}) -> (BPF,ip)"],
    ],
)
def test_packets_go_into_the_fifo_until_it_is_told_to_end(ns: Netns, tmp_path: Path, words: list[str]) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    words = [word.replace("{left}", ns.left) for word in words]
    command = [sys.executable, "-m", "pyffpf.cli.extcap", *words, "--capture", "--fifo", str(fifo)]
    taken = tmp_path / "taken"
    with taken.open("wb") as out:
        reader = ns.popen(["cat", str(fifo)], stdout=out)
    running = ns.popen(command, env={**os.environ, "FFPF_ENGINE": "embedded"})
    wait_until(lambda: len(ns.run(["cat", "/proc/net/packet"]).stdout.splitlines()) > 1, "a capture", 20)

    def came() -> bool:
        ns.send(ns.right, [*FRAMES, ARP])
        content = taken.read_bytes()
        return pcapfile.is_savefile(content) and len(list(pcapfile.records(content))) >= len(FRAMES)

    wait_until(came, "packets", 20)
    running.send_signal(signal.SIGTERM)
    assert running.wait(20) == 0
    assert reader.wait(20) == 0
    seen = list(pcapfile.records(taken.read_bytes()))
    assert {record.data for record in seen} <= set(FRAMES)


@pytest.mark.live
def test_tshark_captures_through_it(ns: Netns, tmp_path: Path) -> None:
    """tshark finds what lies in the folder of extcap programs, which is ours for it, and begins the capture itself."""
    folder = tmp_path / "extcap"
    folder.mkdir()
    script = folder / "ffpf-extcap"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m pyffpf.cli.extcap "$@"\n')
    script.chmod(0o755)
    env = {**os.environ, "FFPF_ENGINE": "embedded"}
    known = subprocess.run(["tshark", "-G", "folders"], capture_output=True, text=True, check=True).stdout
    place = re.search(r"^Extcap path:\s*(\S+)$", known, re.MULTILINE)
    assert place
    mounted = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$1"; shift; exec "$@"', str(folder), place[1]]
    listed = ns.run([*mounted, "tshark", "-D"], env=env).stdout
    assert f"FFPF: {ns.left}" in listed
    argv = [
        *mounted,
        "tshark",
        "-n",
        "-i",
        f"ffpf-{ns.left}",
        "-f",
        "arp",
        "-c",
        "3",
        "-T",
        "fields",
        "-e",
        "frame.len",
    ]
    running = ns.popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def ended() -> bool:
        ns.send(ns.right, [*FRAMES, ARP])
        return running.poll() is not None

    wait_until(ended, "tshark to end", 60)
    out, err = running.communicate()
    assert running.returncode == 0, err
    assert out.split() == [str(len(ARP)).encode()] * 3
