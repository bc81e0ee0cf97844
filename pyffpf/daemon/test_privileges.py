# SPDX-License-Identifier: BSD-3-Clause
"""What the kernel says that a process may do after drop(); each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from pyffpf.daemon import privileges
from pyffpf.daemon.privileges import CAPTURE, NETFILTER, Cap

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root drops privileges")

NOBODY = 65534

# Prints what /proc says of this process, and of a program that it starts.
PROBE = """
import json, os, subprocess, sys
from pyffpf.daemon import privileges
{before}
privileges.drop(frozenset({keep}), user={user!r})
{after}
def shown(text):
    fields = dict(line.split(":\\t", 1) for line in text.splitlines() if ":\\t" in line)
    return {{name: fields[name] for name in fields if name.startswith(("Cap", "NoNew", "Uid", "Gid"))}}
child = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
print(json.dumps([shown(open("/proc/self/status").read()), shown(child)]))
"""


def probe(keep: frozenset[int], user: str | None = None, before: str = "", after: str = "") -> list[dict[str, str]]:
    program = PROBE.format(keep=sorted(map(int, keep)), user=user, before=before, after=after)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result: list[dict[str, str]] = json.loads(done.stdout)
    return result


def mask(caps: frozenset[int]) -> str:
    return f"{sum(1 << cap for cap in caps):016x}"


NOTHING = mask(frozenset())


@pytest.mark.parametrize("keep", [CAPTURE, NETFILTER], ids=["capture", "netfilter"])
@pytest.mark.parametrize("user", [None, "nobody"])
def test_keeps_what_it_needs_and_nothing_else(keep: frozenset[int], user: str | None) -> None:
    own, child = probe(keep, user)
    assert (own["CapPrm"], own["CapEff"], own["CapBnd"]) == (mask(keep),) * 3
    assert (own["CapInh"], own["CapAmb"]) == (NOTHING, NOTHING)
    assert own["NoNewPrivs"] == "1"
    assert own["Uid"].split() == [str(NOBODY if user else 0)] * 4
    # Whoever it starts has nothing, root or not.
    assert (child["CapPrm"], child["CapEff"], child["CapInh"], child["CapAmb"]) == (NOTHING,) * 4
    assert child["NoNewPrivs"] == "1"


def test_what_is_left_is_enough_to_capture() -> None:
    after = "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()"
    probe(CAPTURE, "nobody", before="import socket", after=after)


def test_nothing_comes_back() -> None:
    after = """
try:
    os.setuid(0)
except PermissionError:
    pass
else:
    raise SystemExit("root again")
"""
    probe(CAPTURE, "nobody", after=after)


def test_what_was_not_there_is_missing() -> None:
    before = "privileges.drop_capabilities(frozenset({13}))"
    after = f"assert privileges.missing(frozenset({sorted(map(int, CAPTURE))})) == ['CAP_PERFMON', 'CAP_BPF'], 1"
    own, _ = probe(CAPTURE, before=before, after=after)
    assert own["CapEff"] == mask(frozenset({Cap.NET_RAW}))


@pytest.mark.parametrize(
    ("before", "user", "text"),
    [
        ("import threading, time; threading.Thread(target=time.sleep, args=(5,), daemon=True).start()", None,
         "capabilities belong to threads"),
        ("", "no-such-user", "there is no user no-such-user"),
        (f"os.setuid({NOBODY})", "root", "only root can become root"),
    ],
    ids=["threads", "no-user", "not-root"],
)  # fmt: skip
def test_refusals(before: str, user: str | None, text: str) -> None:
    program = PROBE.format(keep=[], user=user, before=before, after="")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"PrivilegeError: {text}" in done.stderr


def test_reads_another_process() -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeping:
        found = privileges.Capabilities.of(sleeping.pid)
        sleeping.kill()
    assert found == privileges.Capabilities.of()
