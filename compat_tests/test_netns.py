# SPDX-License-Identifier: BSD-3-Clause
"""The namespaces of the tests: nothing in them but the test's own packets, nothing left behind."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compat_tests.netns import NETNS_DIR, Netns, remove_stale, wait_until

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parent.parent


def names() -> set[str]:
    return {entry.name for entry in NETNS_DIR.iterdir()} if NETNS_DIR.is_dir() else set()


def test_goes_with_all_that_runs_in_it() -> None:
    with Netns() as ns:
        assert ns.name in names()
        plain = ns.popen(["sleep", "600"])
        deaf = ns.popen(["sh", "-c", "trap '' TERM INT HUP; echo ready; sleep 600"], stdout=subprocess.PIPE)
        assert deaf.stdout is not None
        assert deaf.stdout.readline() == b"ready\n"
    assert ns.name not in names()
    assert plain.returncode is not None and deaf.returncode is not None
    ns.close()


OWNER = """
import sys
from compat_tests.netns import Netns
ns = Netns().__enter__()
ns.popen(["sleep", "600"])
print(ns.name, flush=True)
sys.stdin.read()
"""


def test_a_killed_owners_namespace_goes_with_the_next() -> None:
    command = [sys.executable, "-c", OWNER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as owner:
        assert owner.stdout is not None
        name = owner.stdout.readline().strip()
        remove_stale()
        assert name in names(), "its owner lives"
        owner.send_signal(signal.SIGKILL)
    assert name in names()
    with Netns():
        assert name not in names()


def test_no_packets_but_ours() -> None:
    with Netns() as ns:
        with ns.entered():
            ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        with ear:
            started = time.monotonic()
            while (left := 1.0 - (time.monotonic() - started)) > 0:
                assert not select.select([ear], [], [], left)[0], ear.recv(2048)
            ns.send(ns.left, [b"\xff" * 12 + b"\x88\xb5" + bytes(46)])
            assert select.select([ear], [], [], 5)[0]


def test_the_caller_comes_home() -> None:
    def here() -> int:
        return os.stat("/proc/thread-self/ns/net").st_ino  # noqa: PTH116

    home = here()
    with Netns() as ns:
        with ns.entered():
            assert here() != home
        assert here() == home
        wait_until(lambda: ns.is_up(ns.left) and ns.is_up(ns.right), "both ends")
