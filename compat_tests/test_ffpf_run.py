# SPDX-License-Identifier: BSD-3-Clause
"""ffpf-run with the real library: what it starts is served by FFPF, what it cannot serve it does not start."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat_tests import harness, live
from compat_tests.netns import Netns

FFPF_RUN = [sys.executable, "-m", "pyffpf.cli.run"]
CAP_NET_RAW = 13
NET_RAW = struct.pack("<IIIII", 2 << 24 | 1, 1 << CAP_NET_RAW, 0, 0, 0)  # cap_net_raw=ep
NOBODY = 65534


def ffpf_run(*argv: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FFPF_", "LD_"))}
    env.update(PYTHONPATH=str(harness.ROOT), FFPF_LIBRARY=str(harness.library_path()), **environ)
    return subprocess.run([*FFPF_RUN, *argv], env=env, capture_output=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def capture(captures: tuple[Path, ...]) -> str:
    return str(next(path for path in captures if path.name == "mixed.pcap"))


def test_a_tool_runs_on_ffpf_and_says_so(capture: str) -> None:
    stock = harness.run(["tcpdump", "-nn", "-r", capture, "ip"], harness.STOCK)
    served = ffpf_run("--stats", "tcpdump", "-nn", "-r", capture, "ip", TZ="UTC", LC_ALL="C")
    assert served.stdout == stock.stdout and served.returncode == 0
    (found,) = harness.STATS_LINE.findall(served.stderr.decode())
    line = harness.Stats.parse(found)
    assert line.lawful and line.engine == "embedded" and (line.handles, line.seen) == (1, 40)
    assert line.delivered == len(stock.stdout.splitlines())


def test_without_stats_nothing_is_added(capture: str) -> None:
    stock = harness.run(["tcpdump", "-nn", "-r", capture], harness.STOCK)
    served = ffpf_run("--engine", "embedded", "tcpdump", "-nn", "-r", capture, TZ="UTC", LC_ALL="C")
    assert (served.stdout, served.stderr, served.returncode) == (stock.stdout, stock.stderr, 0)


def test_scripts_are_served(capture: str, tmp_path: Path) -> None:
    script = tmp_path / "count.py"
    script.write_text(f"#!{sys.executable}\nimport pcap, sys\nprint(sum(1 for _ in pcap.pcap(sys.argv[1])))\n")
    script.chmod(0o755)
    served = ffpf_run("--stats", str(script), capture)
    assert served.stdout == b"40\n" and b"engine=embedded handles=1 seen=40 " in served.stderr


def test_exit_codes_are_the_tools() -> None:
    assert ffpf_run("tcpdump", "-r", "/no/such/file").returncode == 1
    assert ffpf_run("sh", "-c", "exit 3").returncode == 3
    assert ffpf_run("no-such-command-at-all").returncode == 127


@pytest.fixture
def privileged() -> Iterator[dict[str, Path]]:
    """Copies of tcpdump that a user may start and that give rights, where every user may reach them."""
    found = shutil.which("tcpdump")
    assert found
    with harness.scratch() as directory:
        directory.chmod(0o755)
        copies = {}
        for name in ("plain", "capable", "setuid"):
            copies[name] = Path(shutil.copy(found, directory / name))
        os.setxattr(copies["capable"], "security.capability", NET_RAW)
        copies["setuid"].chmod(0o755 | stat.S_ISUID)
        yield copies


def as_nobody(ns: Netns, program: Path, *words: str) -> harness.Outcome:
    """Runs the program under FFPF's preload as nobody, past ffpf-run: what would happen if it did not refuse."""
    nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return harness.run(ns.command([*nobody, str(program), *words]), harness.FFPF)


@pytest.mark.parametrize("name", ["capable", "setuid"])
def test_privileged_copies_would_silently_be_stock(ns: Netns, privileged: dict[str, Path], name: str) -> None:
    """The reason for the refusal: the loader ignores LD_PRELOAD, and nothing in the output tells."""
    outcome = as_nobody(ns, privileged[name], "-i", ns.left, "-L")
    assert outcome.returncode == 0 and not outcome.stats
    assert as_nobody(ns, privileged["plain"], "--version").stats


@pytest.mark.parametrize("name", ["capable", "setuid"])
def test_privileged_copies_are_refused_to_nobody(privileged: dict[str, Path], name: str, capture: str) -> None:
    """In a child that has become nobody, since not every user can reach this interpreter and the project."""
    program = privileged[name]
    code = f"""
import os, sys
from pyffpf.cli import run
run.parse(["load", "what", "argparse", "loads", "late"])
os.setgroups([]); os.setresgid({NOBODY}, {NOBODY}, {NOBODY}); os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
sys.exit(run.main(["{program}", "-r", "{capture}"]))
"""
    env = {
        **os.environ,
        "PYTHONPATH": str(harness.ROOT),
        "FFPF_LIBRARY": str(harness.published(harness.library_path())),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    words = {"capable": "has file capabilities", "setuid": "is set-user-ID"}
    assert f"ffpf-run: {program} {words[name]}" in done.stderr and "LD_PRELOAD" in done.stderr


@pytest.mark.parametrize("name", ["capable", "setuid", "plain"])
def test_root_runs_them_all_on_ffpf(privileged: dict[str, Path], name: str, capture: str) -> None:
    """For root these rights are no difference, and the loader obeys."""
    served = ffpf_run("--stats", str(privileged[name]), "-nn", "-r", capture)
    assert served.returncode == 0 and b"engine=embedded handles=1 seen=40 " in served.stderr


def test_live(ns: Netns, traffic_files: dict[str, Path]) -> None:
    """Signals reach the tool: there is no process in between."""
    argv = ns.command([*FFPF_RUN, "--stats", "tcpdump", "-i", ns.left, "-nn"])
    env = {"PYTHONPATH": str(harness.ROOT), "FFPF_LIBRARY": str(harness.library_path())}
    run = harness.Run(argv, harness.STOCK, env=env)
    try:
        live.wait_ready(run, b"listening on")
        live.replay(ns, traffic_files["mixed"])
        live.settle()
        outcome = harness.stop_signal(run)
    finally:
        run.discard()
    assert live.captured(outcome) == 40 and outcome.returncode == 0
    assert b"engine=embedded handles=1 seen=40 " in outcome.stderr
