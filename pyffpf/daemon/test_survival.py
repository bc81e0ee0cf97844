# SPDX-License-Identifier: BSD-3-Clause
"""ffpfd killed under load: running captures lose nothing, and the next one serves old and new clients alike."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat_tests.netns import Netns
from pyffpf.daemon.survival import Ffpfd, Sender, check_unbroken, tcpdump, wait_listening

KILLS = int(os.environ.get("FFPF_TEST_KILLS", "5"))
RATE = 5000


@pytest.fixture
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


@pytest.mark.live
def test_no_packet_is_lost_over_kills(ns: Netns, tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    ffpfd = Ffpfd(ns, tmp_path)
    ffpfd.start()
    ffpfd.wait_ready(adoptions=0)
    old = tcpdump(ns, ffpfd.socket, tmp_path, "old", "ether", "proto", "0x88b5")
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
            new = tcpdump(ns, ffpfd.socket, tmp_path, f"new{turn}", "-c", "20")
            assert new.wait(30) == 0, (tmp_path / f"new{turn}.err").read_text()
        sender.wait_more(RATE // 10)
    check_unbroken(tmp_path, "old", old, sender.sent - 1)
    ffpfd.stop()
