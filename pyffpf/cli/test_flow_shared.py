# SPDX-License-Identifier: BSD-3-Clause
"""ffpf-flow with ffpfd as it is run, for users without rights, on a veth pair of a network namespace. Needs root and
eBPF."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from compat_tests import shared
from compat_tests.netns import Netns, wait_until
from pyffpf.daemon.test_kernel import IPV4, IPV6, frames
from pyffpf.daemon.testing import open_to_all

SHARED = shared.User(61001, 61009)  # two users of a group, so that they share what runs
OTHER = shared.User(61002, 61009)
CONFIG = shared.CONFIG.replace("users = [", 'groups = ["61009"]\nusers = [')


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with Netns() as made:
        wait_until(lambda: made.is_up(made.left), "the interface")
        yield made


@pytest.fixture(scope="module")
def ffpfd(ns: Netns) -> Iterator[shared.Ffpfd]:
    with shared.Ffpfd(ns, CONFIG) as made:
        yield made


def command(ffpfd: shared.Ffpfd, user: shared.User, *words: object) -> list[str]:
    python = [shared.interpreter(), "-m", "pyffpf.cli.flow"]
    path = ":".join(entry for entry in sys.path if entry)
    settings = ["env", f"PYTHONPATH={path}", f"FFPF_SOCKET={ffpfd.socket}", "PYTHONDONTWRITEBYTECODE=1"]
    return user.command([*settings, *python, *map(str, words)])


def run(ffpfd: shared.Ffpfd, user: shared.User, *words: object) -> subprocess.CompletedProcess[str]:
    argv = ffpfd.ns.command(command(ffpfd, user, *words))
    return subprocess.run(argv, capture_output=True, text=True, timeout=120)


@contextmanager
def running(ffpfd: shared.Ffpfd, user: shared.User, *words: object) -> Iterator[subprocess.Popen[str]]:
    """The command, from when its flows are active in ffpfd on."""
    before = len(active(ffpfd))
    process = ffpfd.ns.popen(command(ffpfd, user, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: process.poll() is not None or len(active(ffpfd)) > before, "the flows", 60)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def listed(ffpfd: shared.Ffpfd) -> list[dict[str, Any]]:
    done = run(ffpfd, SHARED, "--list", "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["graphs"]
    return found


def active(ffpfd: shared.Ffpfd) -> list[dict[str, Any]]:
    from pyffpf.shared_flow import graphs

    with ffpfd.ns.entered():
        return [one for one in graphs(ffpfd.socket) if one["state"] == "active"]


def test_users_without_rights_count_in_the_kernel(ns: Netns, ffpfd: shared.Ffpfd, tmp_path: Path) -> None:
    open_to_all(tmp_path)
    tmp_path.chmod(0o777)
    picture = tmp_path / "flow.dot"
    text = f"(device,{ns.left}) -> (BPF,ip) -> n=(packetcount)"
    words = ["--no-promisc", "--json", "--verbose", text]
    with running(ffpfd, SHARED, "--graph", picture, *words) as first, running(ffpfd, OTHER, *words) as second:
        ns.send(ns.right, frames(IPV4, 30) + frames(IPV6, 4))
        wait_until(lambda: all(one["nodes"][2]["in"] == 30 for one in active(ffpfd)), "30 packets")
        shown = run(ffpfd, OTHER, "--list").stdout
        assert shown.count(text) == 2
        assert " 61001 " in shown
        assert " 61002 " in shown
        assert "ffpf-flow" in shown
        for process in (first, second):
            process.send_signal(signal.SIGINT)
        results = [process.communicate(timeout=60) for process in (first, second)]
    for out, said in results:
        nodes = json.loads(out)["flows"][0]["nodes"]
        assert [node["level"] for node in nodes] == ["kernel"] * 3
        assert [(node["in"], node["out"], node["filtered"]) for node in nodes[1:]] == [(34, 30, 4), (30, 30, 0)]
        assert nodes[2]["report"] == {"packets": 30}
        assert said == "ffpf-flow: flows run in ffpfd\n"
    assert "in 34" in picture.read_text()
    assert "kernel" in picture.read_text()


def test_follow_shows_packets_of_a_node_in_the_middle(ns: Netns, ffpfd: shared.Ffpfd) -> None:
    text = f"(device,{ns.left}) -> six=(BPF,ip6) -> (packetcount)"
    with running(ffpfd, SHARED, "--engine", "shared", "--no-promisc", "--follow", "six", "--count", 5, text) as process:
        ns.send(ns.right, frames(IPV4, 3) + frames(IPV6, 5))
        out, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert len(out.splitlines()) == 5
    assert "(packetcount)" in said


def test_results_agree_though_packets_come_meanwhile(ns: Netns, ffpfd: shared.Ffpfd) -> None:
    text = f'(device,{ns.left}) -> (BPF,ip) -> program=(FPL-2,"MEM[0]++; RETURN 1;",8) -> (packetcount)'
    with running(ffpfd, SHARED, "--no-promisc", "--json", "--mbuf", "program", "--seconds", 3, text) as process:
        while process.poll() is None:
            ns.send(ns.right, frames(IPV4, 20))
        out, _ = process.communicate(timeout=60)
    _, ip, program, count = json.loads(out)["flows"][0]["nodes"]
    came = ip["out"]
    assert came > 0
    assert (program["in"], program["mbuf"], count["in"], count["report"]) == (
        came,
        {"0": came},
        came,
        {"packets": came},
    )


def test_sigusr2_pauses_and_goes_on(ns: Netns, ffpfd: shared.Ffpfd) -> None:
    text = f"(device,{ns.left}) -> (BPF,ip) -> (packetcount)"
    with running(ffpfd, SHARED, "--no-promisc", "--json", text) as process:
        process.send_signal(signal.SIGUSR2)
        wait_until(lambda: not active(ffpfd), "the pause", 30)
        assert [one["state"] for one in listed(ffpfd)] == ["paused"]
        ns.send(ns.right, frames(IPV4, 7))
        process.send_signal(signal.SIGUSR2)
        wait_until(lambda: bool(active(ffpfd)), "the end of the pause", 30)
        ns.send(ns.right, frames(IPV4, 2))
        wait_until(lambda: active(ffpfd)[0]["nodes"][2]["in"] == 2, "two packets")
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert json.loads(out)["flows"][0]["nodes"][2]["report"] == {"packets": 2}


def test_explain_says_why_a_node_is_not_in_the_kernel(ns: Netns, ffpfd: shared.Ffpfd) -> None:
    text = f"(device,{ns.left}) -> (BPF,ip) -> (rate,window=1s) | (packetcount)"
    done = run(ffpfd, SHARED, "--no-promisc", "--explain", text)
    assert done.returncode == 0, done.stderr
    lines = [line.split(maxsplit=4) for line in done.stdout.splitlines()[2:]]
    assert [(words[1], words[3]) for words in lines] == [
        (f"(device,{ns.left})", "kernel"), ("(BPF,ip)", "kernel"), ("(rate,window=1s)", "userspace"),
        ("(packetcount)", "kernel"),
    ]  # fmt: skip
    assert re.fullmatch(r"\(worker of group \S+\) +the kernel has no rate", lines[2][4])


def test_being_refused_is_an_error_that_says_why(ns: Netns, ffpfd: shared.Ffpfd) -> None:
    text = f"(device,{ns.left}) -> (packetcount)"
    done = run(ffpfd, shared.EVE, "--engine", "shared", text)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ffpf-flow: flow 1: ffpfd refuses: ")
    done = run(ffpfd, shared.EVE, "--verbose", text)
    assert done.returncode == 1
    assert "flows run in this process: flow 1: ffpfd refuses: " in done.stderr
    last = next(line for line in done.stderr.splitlines() if "Operation not permitted" in line)
    assert last.startswith("ffpf-flow: flow 1: 1:9: ")
    assert "; ffpfd: ffpfd refuses: user 61004 may not capture" in last
    done = run(ffpfd, SHARED, f"(device,{ns.left}) -> (rate,sometimes)")
    assert (done.returncode, "Operation" in done.stderr) == (2, False)
    first, shown, caret = done.stderr.splitlines()
    column = len(f"(device,{ns.left}) -> (rate,")
    assert first.startswith(f"ffpf-flow: flow 1: 1:{column + 1}: ")
    assert (shown[2 + column :], caret) == ("sometimes)", " " * (2 + column) + "^")
    done = run(ffpfd, SHARED, "--engine", "shared", "(device,/tmp/none.pcap)")
    assert done.returncode == 1
    assert "ffpfd does not open it" in done.stderr


def test_without_ffpfd_flows_run_here(ns: Netns, tmp_path: Path) -> None:
    python = [sys.executable, "-m", "pyffpf.cli.flow", "--socket", str(tmp_path / "none"), "--verbose", "--explain"]
    done = ns.run([*python, f"(device,{ns.left}) -> (packetcount)"])
    assert "userspace" in done.stdout
    assert "flows run in this process: flow 1: ffpfd is not running" in done.stderr
    done = subprocess.run([*python[:-1], "--list"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "ffpfd is not running" in done.stderr
    settings = {**os.environ, "FFPF_ENGINE": "both"}
    done = subprocess.run([*python, "(device,lo)"], capture_output=True, text=True, env=settings)
    assert done.returncode == 2
    assert "there is no engine 'both'" in done.stderr
