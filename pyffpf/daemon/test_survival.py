# SPDX-License-Identifier: BSD-3-Clause
"""ffpfd killed under load: running captures lose nothing, and the next one serves old and new clients alike."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat_tests.netns import Netns, wait_until
from pyffpf.daemon.survival import Ffpfd, Sender, numbers

KILLS = int(os.environ.get("FFPF_TEST_KILLS", "5"))
RATE = 5000


@pytest.fixture
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


def capture(ffpfd: Ffpfd, folder: Path, name: str, *more: str) -> subprocess.Popen[bytes]:
    """An unmodified tcpdump in the shared engine, that writes name.pcap."""
    environ = {**os.environ, "FFPF_SOCKET": str(ffpfd.socket), "FFPF_STATS": str(folder / f"{name}.stats")}
    command = [sys.executable, "-m", "pyffpf.cli.run", "--engine", "shared", "tcpdump", "-i", ffpfd.ns.left, "-U", "-w",
               str(folder / f"{name}.pcap"), "-Z", "root", *more]  # fmt: skip
    with (folder / f"{name}.err").open("wb") as errors:
        return ffpfd.ns.popen(command, stdin=subprocess.DEVNULL, stderr=errors, env=environ)


def wait_listening(folder: Path, name: str) -> None:
    path = folder / f"{name}.err"
    wait_until(lambda: "listening on" in path.read_text(), f"{name}: {path.read_text()}", 30)


def test_no_packet_is_lost_over_kills(ns: Netns, tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    ffpfd = Ffpfd(ns, tmp_path)
    ffpfd.start()
    ffpfd.wait_ready(adoptions=0)
    old = capture(ffpfd, tmp_path, "old", "ether", "proto", "0x88b5")
    wait_listening(tmp_path, "old")
    with Sender(ns, ns.right, RATE) as sender:
        sender.wait_more(RATE // 10)
        for turn in range(KILLS):
            time.sleep(chance.random() * 0.3)
            ffpfd.kill()
            sender.wait_more(RATE // 20)
            ffpfd.start()
            if chance.random() < 0.5:  # killed again, perhaps while it takes over
                time.sleep(chance.random() * 0.6)
                ffpfd.kill()
                ffpfd.start()
            status = ffpfd.wait_ready()
            assert [flow.program for flow in status.flows] == ["tcpdump"], ffpfd.said()
            assert status.adoptions > turn
            new = capture(ffpfd, tmp_path, f"new{turn}", "-c", "20")
            assert new.wait(30) == 0, (tmp_path / f"new{turn}.err").read_text()
        sender.wait_more(RATE // 10)
    wait_until(lambda: numbers(tmp_path / "old.pcap")[-1:] == [sender.sent - 1], "the last packet", 20)
    old.send_signal(signal.SIGINT)
    assert old.wait(20) == 0
    found = numbers(tmp_path / "old.pcap")
    assert found == list(range(found[0], sender.sent)), gaps(found)
    stats = (tmp_path / "old.stats").read_text()
    assert "engine=shared" in stats, stats
    ffpfd.stop()


def gaps(found: list[int]) -> str:
    odd = [(a, b) for a, b in itertools.pairwise(found) if b != a + 1]
    return f"{len(odd)} gaps: {odd[:10]}"
