# SPDX-License-Identifier: BSD-3-Clause
"""Handles that a daemon serves: what the pcap functions do, over a daemon of the test's own with known packets."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence

import pytest

from client.fake_daemon import DLT_LINUX_SLL2, FakeDaemon, Source
from compat_tests import harness, pcapfile
from compat_tests.harness import Expect, Outcome, Run
from compat_tests.netns import wait_until
from libffpfpcap import shared_programs
from libffpfpcap.pcap_abi import ENVIRONMENT, Program, command, udp_frame

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--"]
SHARED = Expect(engine="shared")
SOURCES = {"feed0": Source(0), "any": Source(0, link_type=DLT_LINUX_SLL2), "lo": Source(1)}


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    """Where every user can reach it."""
    with harness.scratch() as directory, FakeDaemon(directory / "daemon.sock", dict(SOURCES)) as made:
        yield made


def start(daemon: FakeDaemon, argv: Sequence[str], engine: str = "shared", **env: str) -> Run:
    return Run(argv, harness.FFPF, env={"FFPF_SOCKET": str(daemon.path), "FFPF_ENGINE": engine, **env})


def finish(run: Run, expect: Expect = SHARED) -> Outcome:
    outcome = run.finish(60)
    assert outcome.returncode == 0, outcome.stderr.decode()
    harness.assert_served(outcome, expect)
    return outcome


def records(content: bytes) -> list[bytes]:
    return [record.data for record in pcapfile.records(content)]


# ---- tcpdump, whose user is nobody and holds no capability ----

MANY = [udp_frame(number, 53 if number % 3 else 9, 60 + number % 700) for number in range(3000)]


@pytest.mark.parametrize("engine", ["shared", "auto"])
def test_tcpdump_writes_exactly_what_was_fed(daemon: FakeDaemon, engine: str) -> None:
    run = start(daemon, [*NOBODY, "tcpdump", "-i", "feed0", "-w", "out", "-c", "2000", "udp port 53"], engine)
    daemon.wait_flows(1)
    daemon.feed(MANY)
    outcome = finish(run)
    assert records(outcome.files["out"]) == [octets for n, octets in enumerate(MANY) if n % 3]
    assert b"2000 packets captured\n" in outcome.stderr
    (line,) = outcome.stats
    assert "filter=kernel" in line.text and line.delivered == 2000


def test_tcpdump_cuts_packets_and_judges_them_itself(daemon: FakeDaemon) -> None:
    daemon.sources["feed0"] = Source(0, level="userspace")
    run = start(daemon, [*NOBODY, "tcpdump", "-i", "feed0", "-s", "50", "-w", "out", "udp port 53"])
    daemon.wait_flows(1)
    daemon.feed(MANY)
    wait_until(lambda: not daemon.flows[0].unread(), "all to be read", 20)
    time.sleep(0.1)
    run.signal(signal.SIGINT)
    outcome = finish(run)
    assert records(outcome.files["out"]) == [octets[:50] for n, octets in enumerate(MANY) if n % 3]
    assert "filter=jit" in outcome.stats[0].text
    assert b"2000 packets captured\n2000 packets received by filter\n0 packets dropped by kernel\n" in outcome.stderr


def test_two_tools_of_one_daemon(daemon: FakeDaemon) -> None:
    """Each with its own filter; one prints, as it drops root where it is root."""
    runs = [
        start(daemon, [*NOBODY, "tcpdump", "-i", "feed0", "-w", "out", "-c", "1000", "udp port 9"]),
        start(daemon, ["tcpdump", "-Z", "nobody", "-i", "feed0", "-nn", "-t", "-c", "2000", "udp port 53"]),
    ]
    daemon.wait_flows(2)
    daemon.feed(MANY)
    first, second = (finish(run) for run in runs)
    assert records(first.files["out"]) == MANY[::3]
    assert second.stdout.count(b"10.9.9.9.53") == 2000


# ---- how it fails ----


def answer(daemon: FakeDaemon, *words: str, engine: str = "shared") -> str:
    run = start(daemon, command(shared_programs.activates, *words), engine, **ENVIRONMENT)
    outcome = run.finish(60)
    assert outcome.returncode == 0, outcome.stderr.decode()
    return outcome.stdout.decode()


def test_what_only_a_capture_of_ones_own_has_is_refused(daemon: FakeDaemon) -> None:
    assert answer(daemon, "feed0") == "0 "
    assert answer(daemon, "feed0", "protocol_linux=2048") == "-1 FFPF_ENGINE=shared: it captures all protocols"
    assert answer(daemon, "feed0", "protocol_linux=3") == "0 "
    assert answer(daemon, "feed0", "rfmon=1") == "-1 FFPF_ENGINE=shared: it has no monitor mode"
    assert answer(daemon, "usbmon0") == "-1 FFPF_ENGINE=shared: only the system's libpcap serves this device"
    assert len(daemon.flows) == 2


def test_refusals_have_libpcaps_status_and_the_daemons_words() -> None:
    with harness.scratch() as directory:
        for number, (code, expected) in enumerate(
            {
                "denied": "-8 FFPF_ENGINE=shared: because",
                "no-such-device": "-5 No such device exists",
                "device-down": "-9 That device is not up",
                "limit": "-1 FFPF_ENGINE=shared: because",
                "not-supported": "-1 FFPF_ENGINE=shared: because",
            }.items()
        ):
            path = directory / f"{number}.sock"
            with FakeDaemon(path, {}, refusal=(code, "because")) as daemon:
                assert answer(daemon, "feed0") == expected


def test_a_daemon_that_refuses_leaves_the_embedded_engine() -> None:
    with harness.scratch() as directory, FakeDaemon(directory / "s", {}, refusal=("denied", "because")) as daemon:
        run = start(daemon, command(shared_programs.activates, "lo"), "auto", **ENVIRONMENT)
        outcome = run.finish(60)
        assert outcome.stdout == b"0 "
        assert [line.engine for line in outcome.stats] == ["embedded"]
        assert [request["op"] for request in daemon.requests] == ["hello", "open"]


def test_a_source_of_the_daemons_alone_says_why_it_cannot_be_opened() -> None:
    with (
        harness.scratch() as directory,
        FakeDaemon(directory / "s", {}, refusal=("not-supported", "because")) as daemon,
    ):
        assert answer(daemon, "netfilter:input", engine="auto") == "-5 ffpfd: because"
        assert answer(daemon, "lo", engine="auto") == "0 "


# ---- what programs do with a handle ----


def run_program(daemon: FakeDaemon, function: Program, *words: object) -> Run:
    return start(daemon, command(function, *words), **ENVIRONMENT)


def test_an_event_loop(daemon: FakeDaemon) -> None:
    run = run_program(daemon, shared_programs.selects)
    daemon.wait_flows(1)
    wait_until(lambda: b"idle" in run.so_far("stdout"), "the program to wait", 20)
    daemon.feed(MANY[:100])
    time.sleep(0.2)
    daemon.feed(MANY[100:300])
    assert finish(run).stdout == b"idle [] True\n300 [] 0 (300, 0, 0)\n"


def test_waits_end_by_breakloop_and_by_the_timeout(daemon: FakeDaemon) -> None:
    assert finish(run_program(daemon, shared_programs.breaks)).stdout == b"-2\n0 0 True\n"


def test_a_filter_set_by_the_callback(daemon: FakeDaemon) -> None:
    run = run_program(daemon, shared_programs.changes)
    wait_until(lambda: b"ready" in run.so_far("stdout"), "the program to be ready", 20)
    daemon.feed(MANY[:60])
    daemon.wait_flows(1)
    daemon.feed(MANY[60:100])
    assert finish(run).stdout.splitlines()[1:] == [b"True", b"(0, 0)"]


def test_any_answers_as_it_does_embedded(daemon: FakeDaemon) -> None:
    ours = finish(run_program(daemon, shared_programs.links)).stdout
    embedded = harness.run(command(shared_programs.links), harness.FFPF, env={**ENVIRONMENT, "FFPF_ENGINE": "embedded"})
    assert ours == embedded.stdout, ours


def test_inject_has_the_callers_own_rights(daemon: FakeDaemon) -> None:
    assert finish(run_program(daemon, shared_programs.injects)).stdout.decode().splitlines() == [
        '-1 Sending packets isn\'t supported on the "feed0" device',
        "60 0",
        "-1 socket: Operation not permitted",
    ]


def test_a_child_goes_on_reading(daemon: FakeDaemon) -> None:
    run = run_program(daemon, shared_programs.forks)
    daemon.wait_flows(1)
    daemon.feed(MANY)
    outcome = run.finish(60)
    assert outcome.stdout == b"3000 (3000, 0, 0)\n", outcome.stderr
    assert {line.engine for line in outcome.stats if line.handles} == {"shared"}


def test_dumping_out_of_several_lanes(daemon: FakeDaemon) -> None:
    daemon.sources["feed0"] = Source(0)
    run = run_program(daemon, shared_programs.dumps, "out")
    daemon.wait_flows(1)
    for part in range(6):
        daemon.feed(MANY[500 * part : 500 * part + 500])
        daemon.flows[0].move(part % 2, fresh=part > 2)
    outcome = finish(run)
    assert records(outcome.files["out"]) == MANY
