# SPDX-License-Identifier: BSD-3-Clause
"""Unmodified tools of which one stands still: what its group, another group, and it itself get; and what is counted."""

from __future__ import annotations

import signal

import pytest

from compat_tests import harness, live, numbered, shared
from compat_tests.harness import Outcome, Stats
from compat_tests.netns import Netns
from compat_tests.numbered import Senders
from compat_tests.shared import ANNA, BERT, Ffpfd

pytestmark = pytest.mark.live

PPS = 1500  # of which a lane holds what comes in two seconds
SIZE = 600
CONFIG = shared.CONFIG.replace('"16 MiB"', '"2 MiB"').replace("stall_ms = 0", "stall_ms = 300")


def ended(outcome: Outcome) -> tuple[dict[int, list[int]], Stats]:
    """The numbers that it has of each stream, in its order, and what it counted."""
    assert outcome.returncode == 0, outcome.stderr
    harness.assert_served(outcome, harness.Expect(engine="shared"))
    (stats,) = [line for line in outcome.stats if line.handles]
    streams = numbered.by_stream(numbered.of_savefile(outcome.files["out"]))
    for numbers in streams.values():
        assert numbers == sorted(set(numbers)), "packets came twice, or late"
    assert stats.delivered == sum(len(numbers) for numbers in streams.values())
    return streams, stats


@pytest.mark.parametrize("bms", ["srp", "frp"])
def test_a_tool_that_stands_still(ns: Netns, bms: str) -> None:
    with Ffpfd(ns, CONFIG + f'\n[group.{ANNA.gid}]\nbms = "{bms}"\n') as ffpfd:
        argv = ["tcpdump", "-i", ns.left, "-w", "out"]
        still, beside = shared.start(ffpfd, ANNA, argv), shared.start(ffpfd, ANNA, argv)
        other = shared.start(ffpfd, BERT, [*argv, "udp"])
        with shared.discarded([still, beside, other]):
            for run in (still, beside, other):
                live.wait_ready(run, b"listening on")
            with Senders(ns, PPS, size=SIZE) as senders:
                ffpfd.wait_status(lambda document: all(f.delivered > 400 for f in document.flows), "all to read")
                still.signal(signal.SIGSTOP)
                if bms == "srp":
                    ffpfd.wait_status(lambda document: any(g.moves for g in document.groups), "its group to move")
                senders.wait_more(2500)
                passed = senders.sent()
                still.signal(signal.SIGCONT)
                senders.wait_more(1000)
                sent = senders.stop()
            document = ffpfd.wait_read()
            for run in (still, beside, other):
                run.signal(signal.SIGINT)
            outcomes = [run.finish(shared.PATIENCE_S) for run in (still, beside, other)]

    for flow in document.flows:
        shared.assert_lawful(flow)
    (of_still, stats_still), (of_beside, stats_beside), (of_other, stats_other) = map(ended, outcomes)
    total = sum(sent.values())
    assert stats_other.dropped == 0
    assert {stream: [*range(count)] for stream, count in sent.items()} == of_other
    # who stood still has what came before, and what came after it had caught up; what is missing between is counted
    for stream, numbers in of_still.items():
        assert numbers[:100] == [*range(100)]
        assert numbers[-100:] == [*range(sent[stream] - 100, sent[stream])]
        assert len(numbers) < passed[stream] + 1000
    assert stats_still.dropped > 0
    assert stats_still.seen == total, stats_still.text
    # its neighbour lost, under SRP, what came while all waited; nothing under FRP; and knows how much
    missing = total - sum(len(numbers) for numbers in of_beside.values())
    assert stats_beside.dropped == missing and stats_beside.seen == total, stats_beside.text
    assert (missing > 0) == (bms == "srp")
