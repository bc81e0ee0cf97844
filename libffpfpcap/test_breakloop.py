# SPDX-License-Identifier: BSD-3-Clause
"""pcap_breakloop, exits and forks: the cases of test_breakloop.c on stock and on FFPF."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from compat_tests import harness
from libffpfpcap.pcap_abi import frame, savefile

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, linked with libpcap as any other program is."""
    source = Path(__file__).with_suffix(".c")
    output = tmp_path_factory.mktemp("breakloop") / "cases"
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", source, "-lpcap", "-o",
                    output], check=True)  # fmt: skip
    return output


def in_own_network(command: list[str]) -> list[str]:
    quiet = "for i in all default; do echo 1 > /proc/sys/net/ipv6/conf/$i/disable_ipv6; done; ip link set lo up"
    return ["unshare", "-n", "sh", "-c", quiet + '; exec "$@"', "sh", *command]


@pytest.mark.parametrize("device", ["lo", "any"])
@pytest.mark.parametrize("case", ["signal", "signal_restart", "thread", "storm", "other_signal"])
def test_pitfall_13_breakloop(cases: Path, case: str, device: str) -> None:
    stock, ffpf = harness.run_both(in_own_network([str(cases), case, device]))
    harness.assert_same(stock, ffpf)
    assert (stock.returncode, stock.stdout == b"") == (0, False)


@pytest.mark.parametrize(("case", "status", "delivered"), [("exit", 7, 3), ("longjmp", 0, 10)])
def test_leaving_callbacks(cases: Path, tmp_path: Path, case: str, status: int, delivered: int) -> None:
    path = savefile(tmp_path / "a.pcap", [frame(number) for number in range(10)])
    stock, ffpf = harness.run_both([str(cases), case, path])
    harness.assert_same(stock, ffpf)
    assert stock.returncode == status
    assert ffpf.total("delivered") == delivered


def test_forked_children_do_not_report_twice(cases: Path, tmp_path: Path) -> None:
    path = savefile(tmp_path / "a.pcap", [frame(number) for number in range(10)])
    stock, ffpf = harness.run_both([str(cases), "fork", path])
    harness.assert_same(stock, ffpf)
    assert (ffpf.total("handles"), ffpf.total("delivered")) == (1, 2)


def test_daemons_report_what_they_read_of_their_parents_handle(cases: Path, tmp_path: Path) -> None:
    path = savefile(tmp_path / "a.pcap", [frame(number) for number in range(10)])
    stock, ffpf = harness.run_both([str(cases), "daemon", path])
    harness.assert_same(stock, ffpf)
    assert (ffpf.total("handles"), ffpf.total("delivered")) == (1, 10)


def test_one_line_on_standard_error(cases: Path, tmp_path: Path) -> None:
    path = savefile(tmp_path / "a.pcap", [frame(number) for number in range(10)])
    outcome = harness.run([str(cases), "longjmp", path], harness.STOCK, env={
        "LD_PRELOAD": str(harness.library_path()), "FFPF_STATS": "1"})  # fmt: skip
    lines = outcome.stderr.decode().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("ffpf: engine=embedded handles=1 seen=10 filtered=0 delivered=10 dropped=0 (kernel=0 ")
    assert " filter=none program=cases pid=" in lines[0]


def test_no_line_without_a_handle(cases: Path) -> None:
    outcome = harness.run([str(cases), "no-such-case"], harness.STOCK, env={
        "LD_PRELOAD": str(harness.library_path()), "FFPF_STATS": "1"})  # fmt: skip
    assert (outcome.returncode, outcome.stderr) == (2, b"")
