# SPDX-License-Identifier: BSD-3-Clause
"""A filter that alternates between disjoint sets of numbered packets, on a flow that captures: what is delivered passed
the filter in force, where it changed is told exactly, and no other flow misses or repeats a packet.

FFPF_TEST_FILTERS says how many times (compat_tests/README.md).
"""

from __future__ import annotations

import mmap
import os
import random
import shutil
import signal
import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from compat_tests import bpfcalls, harness, live, numbered, shared
from compat_tests.harness import Outcome
from compat_tests.netns import Netns
from compat_tests.numbered import Numbered, Senders
from compat_tests.shared import ANNA, BERT, Client, Ffpfd

pytestmark = pytest.mark.live

TURNS = int(os.environ.get("FFPF_TEST_FILTERS", "100"))
PORTS = (1001, 1002)
PPS = 2000
ALTERNATING = [f"udp dst port {port}" for port in PORTS]
SETTLED = 20  # packets that are sent before and behind all changes


@pytest.fixture
def ffpfd(ns: Netns) -> Iterator[Ffpfd]:
    """With room for all packets of a reader that reads none until the end."""
    config = shared.CONFIG.replace('"16 MiB"', '"128 MiB"').replace('"512 KiB"', '"8 MiB"')
    with Ffpfd(ns, config) as running:
        yield running


@pytest.fixture
def driver() -> Iterator[str]:
    with harness.scratch() as folder:
        source = Path(__file__).resolve().parent / "drivers" / "alternate_filters.py"
        yield str(shutil.copy(source, folder))


def assert_served(outcome: Outcome) -> None:
    assert outcome.returncode == 0, outcome.stderr
    harness.assert_served(outcome, harness.Expect(engine="shared"))
    assert outcome.total("dropped") == 0, outcome.stats


def assert_of_its_filter(lines: Sequence[tuple[int, Numbered]], turns: int) -> None:
    """Each packet passes the filter that was set last, and none comes twice or late. Not that all are there which pass
    it: as on stock, what an earlier filter let pass and was not read yet is judged by the new one."""
    for turn, packet in lines:
        assert packet.port == PORTS[turn % 2], f"turn {turn}: {packet}"
    for numbers in numbered.by_stream(packet for _, packet in lines).values():
        assert numbers == sorted(set(numbers)), "packets came twice, or late"
    assert len({turn for turn, _ in lines}) > turns // 2


def test_pcap_setfilter_alternates(ns: Netns, ffpfd: Ffpfd, driver: str) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed={seed}")
    others = {
        "all, same group": (ANNA, []),
        "one port, same group": (ANNA, ["udp dst port 1002"]),
        "all, another group": (BERT, ["ip[9] == 17 and len > 50"]),
    }
    tcpdump = ["tcpdump", "-i", ns.left, "-w", "out"]
    runs = {name: shared.start(ffpfd, user, [*tcpdump, *words]) for name, (user, words) in others.items()}
    argv = [shared.interpreter(), "-s", driver, ns.left, str(TURNS), str(seed), *ALTERNATING]
    with shared.discarded(list(runs.values())):
        for run in runs.values():
            live.wait_ready(run, b"listening on")
        changing = shared.start(ffpfd, ANNA, argv)
        with shared.discarded([changing]):
            live.wait_ready(changing, b"ready")
            with Senders(ns, PPS, PORTS) as senders:
                outcome = changing.finish(1000)
                senders.wait_more(SETTLED)
                sent = senders.stop()
        ffpfd.wait_read(flows=len(runs))
        for run in runs.values():
            run.signal(signal.SIGINT)
        outcomes = {name: run.finish(shared.PATIENCE_S) for name, run in runs.items()}

    assert_served(outcome)
    lines = [line.split() for line in outcome.stdout.decode().splitlines()]
    packets = [(int(turn), numbered.parse(bytes.fromhex(octets))) for turn, octets in lines]
    assert_of_its_filter([(turn, packet) for turn, packet in packets if packet], TURNS)
    for name, other in outcomes.items():
        assert_served(other)
        captured = numbered.of_savefile(other.files["out"])
        if "one port" not in name:
            numbered.assert_unbroken(captured, sent, name)
            continue
        for stream, numbers in numbered.by_stream(captured).items():
            assert numbers == [*range(1, sent[stream], 2)], f"{name}, stream {stream}"


# ---- the same, looked at in the memories themselves


@dataclass(frozen=True)
class Entry:
    """What an IBuf says of one packet, and the packet's port."""

    position: int
    index: int
    port: int


def mapped(fd: int) -> bytes:
    facts = bpfcalls.map_facts(fd)
    octets = facts["value_size"] * facts["max_entries"]
    with mmap.mmap(fd, octets, mmap.MAP_SHARED, mmap.PROT_READ) as memory:
        return bytes(memory)


def entries(lane: bytes, ibuf: bytes) -> list[Entry]:
    """All that an IBuf has, from its first on: nobody has overwritten any. csrc/layout.h has the picture."""
    pbuf, log2 = struct.unpack_from("=II", lane, 16)
    first, slots = struct.unpack_from("=II", ibuf, 16)
    (begin,), (end,) = struct.unpack_from("=Q", ibuf, 48), struct.unpack_from("=Q", ibuf, 64)
    assert end - begin <= 1 << slots, "the IBuf was too small for this test"
    found = []
    for position in range(begin, end):
        index, result = struct.unpack_from("=II", ibuf, first + 8 * (position & ((1 << slots) - 1)))
        assert result
        record = pbuf + 64 * (index & ((1 << log2) - 1))
        (octets,) = struct.unpack_from("=I", lane, record + 16)
        packet = numbered.parse(lane[record + 48 : record + 48 + octets])
        found.append(Entry(position, index, packet.port if packet else 0))
    return found


def assert_exact(everything: Sequence[Entry], filtered: Sequence[Entry], begins: Sequence[int]) -> None:
    """One lane. `begins[g]` is the first position that the g-th filter judged; filter g wants PORTS[g % 2].

    There are places in `everything` at which the filters can have changed so that `filtered` is exactly what each let
    pass. [low, high] is where filter g may have come into force, given all that the ones before let pass."""
    place = {entry.index: number for number, entry in enumerate(everything)}
    wanted = {port: [n for n, entry in enumerate(everything) if entry.port == port] for port in PORTS}
    low = high = 0
    for turn, (begin, end) in enumerate(zip(begins, [*begins[1:], 1 << 62], strict=True)):
        port = PORTS[turn % 2]
        passed = [place[entry.index] for entry in filtered if begin <= entry.position < end]
        assert all(everything[number].port == port for number in passed), f"filter {turn} let another's packet pass"
        all_of_port = wanted[port]
        if not passed:
            after = bisect_left(all_of_port, high)
            high = all_of_port[after] if after < len(all_of_port) else len(everything)
            continue
        first = bisect_left(all_of_port, passed[0])
        assert all_of_port[first : first + len(passed)] == passed, f"filter {turn} missed or repeated a packet"
        before = all_of_port[first - 1] + 1 if first else 0
        assert max(low, before) <= min(high, passed[0]), f"filter {turn} did not begin where filter {turn - 1} ended"
        behind = first + len(passed)
        low, high = passed[-1] + 1, all_of_port[behind] if behind < len(all_of_port) else len(everything)
    assert high == len(everything), "the last filter missed packets at the end"


def test_every_change_has_an_exact_place(ns: Netns, ffpfd: Ffpfd) -> None:
    """Two flows of one group on the same lanes, of which one changes its filter, and neither reads before the end."""
    seed = random.randrange(1 << 32)
    print(f"seed={seed}")
    chance = random.Random(seed)
    programs = [shared.compiled(text) for text in ALTERNATING]

    def work() -> None:
        client = Client(ffpfd)
        _, everything = client.open(ns.left)
        flow, filtered = client.open(ns.left)
        begins: list[list[int]] = []

        def change() -> None:
            answer = client.control.ask("filter", flow=flow, insns=programs[len(begins) % 2]).fields
            assert answer["level"] == "kernel" and answer["generation"] == len(begins) + 2
            begins.append(list(answer["positions"]))

        change()
        with Senders(ns, PPS // 2, PORTS) as senders:
            senders.wait_more(SETTLED)
            for _ in range(TURNS - 1):
                senders.wait_more(chance.randrange(8))
                change()
            senders.wait_more(SETTLED)
            sent = senders.stop()
        seen = 0
        for lane, positions in enumerate(zip(*begins, strict=True)):
            memory = mapped(filtered[f"lane:{lane}"])
            whole = entries(memory, mapped(everything[f"ibuf:{lane}"]))
            seen += len(whole)
            assert list(positions) == sorted(positions)
            assert_exact(whole, entries(memory, mapped(filtered[f"ibuf:{lane}"])), positions)
        assert seen == sum(sent.values())

    with ns.entered():
        work()
