# SPDX-License-Identifier: BSD-3-Clause
"""Captures in several threads, with libpcap called as Snort 3 (libdaq 3) and Suricata call it. See ids_driver.c."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from compat_tests import harness, live, offline
from compat_tests.harness import Case, Expect, Outcome
from compat_tests.live import LiveCase
from compat_tests.netns import Netns
from compat_tests.shared import Ffpfd

FORMS = ("snort", "suricata")
OPTIONS = {
    "all": [],
    "filter": ["-f", "ip and not tcp port 22"],
    "three threads": ["-z", "3", "-f", "udp or tcp"],
    "the first five": ["-n", "5"],
}
TEXT = "tcp and not vlan"


def read(outcome: Outcome) -> int:
    """Packets that all threads got."""
    return sum(int(number) for number in re.findall(rb"(?m)^thread \d+: (\d+) packets$", outcome.stdout))


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("form", FORMS)
def test_reads_the_same(captures: tuple[Path, ...], ids_driver: str, form: str, option: str) -> None:
    sound = offline.stock_counts(captures)
    # Where not all is read, the library may have looked at more than the program got.
    delivered = None if "-n" in OPTIONS[option] else read
    chosen = captures if option == "all" else captures[::4]
    cases = [
        Case(
            (ids_driver, form, "-r", str(path), *OPTIONS[option]),
            Expect(handles=int(path in sound), delivered=delivered),
        )
        for path in chosen
    ]
    harness.assert_all_same(cases)


def test_reads_standard_input(traffic_files: dict[str, Path], ids_driver: str) -> None:
    content = traffic_files["mixed"].read_bytes()
    stock, ffpf = harness.run_both((ids_driver, "snort", "-r", "-", "-f", "udp"), stdin=content)
    assert read(stock) > 0
    harness.assert_same(stock, ffpf, Expect(delivered=read))


def live_cases(ids_driver: str, form: str, files: dict[str, Path], engine: str) -> list[LiveCase]:
    """Each ends at the last packet that passes its filter, so that the statistics are those of all the traffic."""
    every = sum(offline.stock_counts(tuple(files.values())).values())
    passing = sum(
        len(harness.run(["tcpdump", "-nn", "-t", "-q", "-r", str(path), TEXT], harness.STOCK).stdout.splitlines())
        for path in files.values()
    )

    def case(*words: str, handles: int = 1) -> LiveCase:
        argv = (ids_driver, form, "-i", "{left}", *words)
        return LiveCase(argv, b"started", None, Expect(engine=engine, handles=handles, delivered=read))

    return [
        case("-n", str(every)),
        case("-n", str(every), "-z", "3", "-s", "64", handles=3),
        case("-n", str(passing), "-z", "2", "-b", "4194304", "-f", TEXT, handles=2),
    ]


@pytest.mark.live
@pytest.mark.parametrize("engine", ["embedded", "shared"])
@pytest.mark.parametrize("form", FORMS)
def test_captures_the_same(ns: Netns, traffic_files: dict[str, Path], ids_driver: str, form: str, engine: str) -> None:
    replayed = {name: traffic_files[name] for name in ("fragmented", "vlan", "mixed")}  # the last one ends with TCP

    def replay() -> None:
        for path in replayed.values():
            live.replay(ns, path)

    cases = live_cases(ids_driver, form, replayed, engine)
    if engine == "embedded":
        live.assert_same_live(ns, cases, replay, env={"FFPF_ENGINE": "embedded"})
        return
    with Ffpfd(ns) as ffpfd:
        live.assert_same_live(ns, cases, replay, env={"FFPF_SOCKET": str(ffpfd.socket), "FFPF_ENGINE": "shared"})


@pytest.mark.live
@pytest.mark.parametrize("words", [["-i", "nosuch0"], ["-i", "{left}", "-f", "port ("]])
@pytest.mark.parametrize("form", FORMS)
def test_refuses_with_the_same_words(ns: Netns, ids_driver: str, form: str, words: list[str]) -> None:
    argv = ns.command([ids_driver, form, *(word.replace("{left}", ns.left) for word in words), "-n", "1"])
    stock, ffpf = harness.run_both(argv)
    assert stock.returncode == 1 and stock.stdout
    harness.assert_same(stock, ffpf)
