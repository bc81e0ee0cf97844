# SPDX-License-Identifier: BSD-3-Clause
"""Python's side of the soak: captures and filter graphs as a program would have them, in a process of their own, and
what must hold of what they tell.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyffpf
import pyffpf.capture
import pyffpf.remote_flow
from compat_tests.soak.numbers import HEAD, SNAP, Counted, Seen, Stay, bounds, findings
from compat_tests.soak.tools import seen_as_json, seen_of_json

Say = Callable[[], None]
OnEnd = Callable[[Callable[[], None]], None]
POLL_S = 0.25


def read(
    device: str, text: str, seen: Seen, group: str | None, naps: float, chance: random.Random
) -> Callable[[Say, OnEnd], dict[str, Any]]:
    """A capture that is read to its end. naps: it sleeps so many seconds at most between two batches, now and then."""

    def work(say: Say, on_end: OnEnd) -> dict[str, Any]:
        ending: list[bool] = []
        with pyffpf.open(device, text, engine="shared", snaplen=SNAP, group=group) as capture:

            def end() -> None:
                ending.append(True)
                capture.stop()

            on_end(end)
            say()
            while (batch := capture.read_batch(4096, timeout=1.0)) is not None:
                if len(batch):
                    seen.take(batch.headers(HEAD))
                if naps and not ending and chance.random() < 0.2:
                    time.sleep(chance.random() * naps)
            counted = capture.statistics
            return {
                "seen": counted.seen,
                "filtered": counted.filtered,
                "delivered": counted.delivered,
                "drops": {cause: packets for cause, packets in counted.drops.items() if packets},
                "has": seen_as_json(seen),
            }

    return work


def judge_read(told: dict[str, Any], stay: Stay) -> tuple[list[str], Counted, int]:
    seen = seen_of_json(told["has"])
    dropped = sum(told["drops"].values())
    found = []
    if told["seen"] != told["filtered"] + told["delivered"] + dropped:
        found.append("seen is not filtered + delivered + dropped")
    counted = Counted(told["seen"], told["delivered"], dropped, told["drops"])
    found += findings(seen, counted, stay)
    return ([*found, f"{told}"] if found else []), counted, seen.count


def watch(text: str, reads: bool) -> Callable[[Say, OnEnd], dict[str, Any]]:
    """A flow of ffpfd whose counters are looked at until the end; if asked its packets are read, too. Its counting
    node is named n, in its text."""

    def work(say: Say, on_end: OnEnd) -> dict[str, Any]:
        ending: list[bool] = []
        on_end(lambda: ending.append(True))
        with pyffpf.Flow(text, engine="shared", deliver=["n"] if reads else []) as flow:
            if reads:
                flow["n"].begin()
            say()
            last, back, had = 0, 0, 0
            while not ending:
                if reads:
                    batch = flow["n"].read_batch(4096, timeout=POLL_S)
                    had += 0 if batch is None else len(batch)
                else:
                    time.sleep(POLL_S)
                now = int(flow["n"].mbuf["packets"])
                back, last = back + (now < last), now
            nodes = [
                {
                    "class": node.class_name,
                    "in": (counters := node.counters).packets_in,
                    "out": counters.packets_out,
                    "filtered": counters.filtered,
                    "dropped": {cause: packets for cause, packets in counters.dropped.items() if packets},
                }
                for node in flow.nodes
            ]
            return {"nodes": nodes, "back": back, "had": had, "levels": [node.level for node in flow.nodes]}

    return work


def judge_watch(step: int, rest: int) -> Callable[[dict[str, Any], Stay], tuple[list[str], Counted, int]]:
    def verdict(told: dict[str, Any], stay: Stay) -> tuple[list[str], Counted, int]:
        found, counted, count = judge_document(told["nodes"], stay, step, rest)
        if told["back"]:
            found.append(f"its counter went back {told['back']} times")
        if told["had"] > count:
            found.append(f"it read {told['had']} packets, and {count} were counted")
        return ([*found, f"{told}"] if found else []), counted, count

    return verdict


def judge_document(
    nodes: Sequence[Mapping[str, Any]], stay: Stay, step: int, rest: int
) -> tuple[list[str], Counted, int]:
    """Nodes as ffpf-flow --json tells them: the law of each, and what came to the one that counts."""
    found = []
    for node in nodes:
        if node["in"] != node["out"] + node["filtered"] + sum(node["dropped"].values()):
            found.append(f"({node['class']}): in is not out + filtered + dropped")
    counting = next(node for node in nodes if node["class"] == "packetcount")
    dropped = sum(sum(node["dropped"].values()) for node in nodes)
    least, most = bounds(stay, step, rest)
    if not least <= counting["in"] + dropped or counting["in"] > most:
        found.append(f"{least} to {most} packets came, and it counted {counting['in']}, {dropped} dropped")
    return ([*found, f"{nodes}"] if found else []), Counted(dropped=dropped), int(counting["in"])
