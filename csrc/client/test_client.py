# SPDX-License-Identifier: BSD-3-Clause
"""The reader of ffpfd's lanes, over a daemon of the test's own: packets, filters, counts, and how a flow ends."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyffpf._core import lib

from client.fake_daemon import DLT_LINUX_SLL2, FakeDaemon, Source
from client.shared_reader import JEQ, LD_B, LD_H, RET, Insn, OpenError, Packet, SharedReader, frame, kind_is, number_of

DLT_LINUX_SLL = 113
PACKET_HOST, PACKET_OUTGOING = 0, 4
ANCILLARY = 0xFFFFF000  # SKF_AD_OFF
VLAN = 0x01  # FFPF_HOOK_VLAN


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    sources = {
        "feed0": Source(0),
        "judged-here": Source(0, level="userspace"),
        "eventfd": Source(0, wake="eventfd"),
        "any": Source(0, link_type=DLT_LINUX_SLL2),
        "lo": Source(1),
    }
    with FakeDaemon(tmp_path / "daemon.sock", sources) as made:
        yield made


@pytest.mark.parametrize("device", ["feed0", "eventfd"])
def test_packets_of_two_lanes_in_order_and_in_one_range(daemon: FakeDaemon, device: str) -> None:
    with SharedReader(daemon.path, device, immediate=True) as reader:
        daemon.feed(frame(number, length=60 + number % 900) for number in range(500))
        packets = reader.read(500)  # each lies in the batch's range: see SharedReader
        assert [number_of(packet.data) for packet in packets] == list(range(500))
        assert [packet.wire_len for packet in packets] == [60 + number % 900 for number in range(500)]
        assert all(a.ns <= b.ns for a, b in itertools.pairwise(packets))
        counters = reader.counters()
        assert (counters.seen, counters.delivered, counters.waiting) == (500, 500, 0)
        assert reader.reader.info.filter_kind == lib.FFPF_FILTER_NONE


@pytest.mark.parametrize(("device", "kind"), [("feed0", "KERNEL"), ("judged-here", "JIT")])
def test_a_filter_holds_from_the_packet_after_it_was_set(daemon: FakeDaemon, device: str, kind: str) -> None:
    with SharedReader(daemon.path, device, immediate=True) as reader:
        daemon.feed(frame(number, number % 3) for number in range(300))
        reader.until(lib.FFPF_BATCH)
        first = [number_of(packet.data) for packet in reader.release(10)]
        assert first == list(range(10)) and len(reader.left) > 50
        assert reader.set_filter(kind_is(1)) == 0
        assert reader.reader.info.filter_kind == getattr(lib, f"FFPF_FILTER_{kind}")
        daemon.feed(frame(number, number % 3) for number in range(300, 400))
        wanted = [number for number in range(10, 400) if number % 3 == 1]
        assert reader.numbers(len(wanted)) == wanted
        counters = reader.counters()
        assert counters.seen - counters.waiting <= 400 and counters.delivered == 10 + len(wanted)


def test_filters_that_change_again_and_again(daemon: FakeDaemon) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    with SharedReader(daemon.path, "feed0", nonblock=True) as reader:
        kind, number, last = 4, 0, -1  # 4: no filter
        for _ in range(200):
            daemon.feed(frame(number + i, (number + i) % 4) for i in range(rng.randrange(12)))
            number = len(daemon.flows) and int(reader.counters().seen + reader.counters().waiting)
            if rng.random() < 0.4:
                kind = rng.randrange(5)
                assert reader.set_filter(kind_is(kind) if kind < 4 else None) == 0
            if reader.next() != lib.FFPF_BATCH:
                continue
            for packet in reader.release(rng.randrange(len(reader.left) + 1)):
                assert kind == 4 or packet.data[18] == kind
                assert number_of(packet.data) > last
                last = number_of(packet.data)
            if reader.left:
                assert reader.set_filter(kind_is(kind) if kind < 4 else None) == 0


def test_accepting_all_is_no_filter(daemon: FakeDaemon) -> None:
    with SharedReader(daemon.path, "feed0") as reader:
        assert reader.set_filter([(RET, 0, 0, 262144)]) == 0
        assert reader.reader.info.filter_kind == lib.FFPF_FILTER_NONE
        assert daemon.requests[-1] == {"id": 3, "op": "filter", "flow": 1, "insns": None}


def test_what_the_kernel_would_refuse_is_not_sent(daemon: FakeDaemon) -> None:
    too_long: list[Insn] = [(LD_B, 0, 0, 0)] * 4096 + kind_is(1)
    divides: list[Insn] = [(0x34, 0, 0, 0), *kind_is(1)]  # DIV by 0: libpcap takes it
    with SharedReader(daemon.path, "feed0", immediate=True) as reader:
        for insns in (too_long, divides[1:]):
            assert reader.set_filter(insns) == 0
            assert (daemon.requests[-1]["insns"] is None) == (insns is too_long)
        assert reader.set_filter(too_long) == 0
        daemon.feed(frame(number, number % 2) for number in range(10))
        assert reader.numbers(5) == [1, 3, 5, 7, 9]


@pytest.mark.parametrize("device", ["feed0", "judged-here"])
def test_a_packet_is_cut_at_what_its_filter_returns(daemon: FakeDaemon, device: str) -> None:
    with SharedReader(daemon.path, device, immediate=True, snap_len=100) as reader:
        assert reader.set_filter(kind_is(1, result=30)) == 0
        daemon.feed([frame(1, 1, 200)])
        daemon.feed([frame(2, 1, 200)], flags=VLAN, vlan_tci=5, vlan_tpid=0x8100)
        plain, tagged = reader.read(2)
        assert plain.data == frame(1, 1, 200)[:30] and plain.wire_len == 200
        assert tagged.data == (frame(2)[:12] + bytes.fromhex("81000005") + frame(2, 1, 200)[12:])[:34]
        assert tagged.wire_len == 204 and tagged.vlan == (0x8100, 5)


def test_directions(daemon: FakeDaemon) -> None:
    with SharedReader(daemon.path, "feed0", immediate=True) as reader:
        assert reader.ops.set_direction(reader.reader, lib.FFPF_DIR_OUT) == 0
        assert reader.set_filter(kind_is(1)) == 0
        for number in range(40):
            daemon.feed([frame(number, number % 2)], pkt_type=PACKET_OUTGOING if number % 4 < 2 else PACKET_HOST)
        assert reader.numbers(10) == list(range(1, 40, 4))
        reader.until(lib.FFPF_TIMEOUT)
        counters = reader.counters()
        assert (counters.seen, counters.delivered, counters.misdirected, counters.waiting) == (40, 10, 10, 0)


# ---- moves ----


@pytest.mark.parametrize("fresh", [False, True])
def test_lanes_that_move_lose_nothing_and_stay_in_one_range(daemon: FakeDaemon, fresh: bool) -> None:
    """A reader that is in the middle of what a lane holds reads that first. SharedReader looks at the range."""
    with SharedReader(daemon.path, "feed0", immediate=True) as reader:
        got: list[int] = []
        for step in range(12):
            daemon.feed(map(frame, range(100 * step, 100 * step + 50)))
            if step % 3:
                reader.until(lib.FFPF_BATCH)
                got += [number_of(packet.data) for packet in reader.release()]
            daemon.flows[0].move(step % 2, fresh)
            daemon.feed(map(frame, range(100 * step + 50, 100 * step + 100)))
            got += reader.numbers(100 * step + 100 - len(got))
        assert got == list(range(1200))
        assert sum(request["op"] == "successor" for request in daemon.requests) >= 12
        counters = reader.counters()
        assert (counters.seen, counters.delivered, counters.waiting) == (1200, 1200, 0)


def test_memory_that_a_lane_left_is_given_back(daemon: FakeDaemon) -> None:
    with SharedReader(daemon.path, "feed0", immediate=True) as reader:
        mapped = []
        for step in range(8):
            daemon.flows[0].move(0, fresh=True)
            daemon.feed([frame(2 * step), frame(2 * step + 1)])
            reader.read(2)
            lines = Path("/proc/self/maps").read_text().splitlines()
            mapped.append(sum("ffpf-lane" in line and " r--s " in line for line in lines))
        assert max(mapped[3:]) <= 3  # two lanes, and what one of them just left


# ---- cooked ----


def sll2(number: int, kind: int, *, ifindex: int = 7, pkt_type: int = PACKET_HOST, protocol: int = 0x88B5) -> bytes:
    """A packet as the hook stores it: what would lie behind an Ethernet header, with a header of LINUX_SLL2."""
    head = protocol.to_bytes(2, "big") + b"\0\0" + ifindex.to_bytes(4, "big") + (1).to_bytes(2, "big")
    head += bytes([pkt_type, 6]) + bytes.fromhex("0200000000010000")
    return head + frame(number, kind)[14:]


def sll(packet: bytes, tag: bytes = b"") -> bytes:
    """The same with a header of LINUX_SLL."""
    return b"\0" + packet[10:11] + packet[8:10] + b"\0" + packet[11:20] + tag + packet[:2] + packet[20:]


@pytest.mark.parametrize("dlt", [DLT_LINUX_SLL, DLT_LINUX_SLL2])
def test_any_in_both_cooked_forms(daemon: FakeDaemon, dlt: int) -> None:
    with SharedReader(daemon.path, "any", immediate=True) as reader:
        assert reader.reader.info.link_type == DLT_LINUX_SLL
        reader.link_type(dlt)
        header = 16 if dlt == DLT_LINUX_SLL else 20
        assert reader.set_filter(kind_is(1, at=header + KIND_IN_PAYLOAD)) == 0
        packets = [sll2(number, number % 3) for number in range(60)]
        daemon.feed(packets, protocol=0x88B5, hatype=1)
        daemon.feed([sll2(100, 1)], protocol=0x88B5, hatype=1, flags=VLAN, vlan_tci=9, vlan_tpid=0x8100)
        got = reader.read(21)
        wanted = packets[1::3]
        tagged = sll2(100, 1)
        if dlt == DLT_LINUX_SLL:
            assert [packet.data for packet in got] == [*map(sll, wanted), sll(tagged, bytes.fromhex("81000009"))]
        else:
            assert [packet.data for packet in got] == [*wanted, tagged]
        assert got[-1].vlan == (0x8100, 9)
        assert all(packet.wire_len == len(packet.data) for packet in got)
        assert reader.reader.info.filter_kind == lib.FFPF_FILTER_KERNEL
        counters = reader.counters()
        assert (counters.delivered, counters.waiting) == (21, 0)


KIND_IN_PAYLOAD = 4


@pytest.mark.parametrize("dlt", [DLT_LINUX_SLL, DLT_LINUX_SLL2])
def test_loads_of_a_cooked_header_that_only_we_can_do(daemon: FakeDaemon, dlt: int) -> None:
    """The link-layer address: the kernel does not know it, so all packets come and are judged here."""
    address = 6 if dlt == DLT_LINUX_SLL else 12
    insns: list[Insn] = [(LD_B, 0, 0, address + 5), (JEQ, 0, 1, 1), (RET, 0, 0, 262144), (RET, 0, 0, 0)]
    with SharedReader(daemon.path, "any", immediate=True) as reader:
        reader.link_type(dlt)
        assert reader.set_filter(insns) == 0
        assert daemon.requests[-1]["insns"] is None
        other = bytearray(sll2(1, 0))
        other[17] = 2
        daemon.feed([sll2(0, 0), bytes(other), sll2(2, 0)], protocol=0x88B5)
        got = reader.read(2)
        assert [packet.data[-46:][:4] for packet in got] == [frame(number)[14:18] for number in (0, 2)]
        assert reader.reader.info.filter_kind == lib.FFPF_FILTER_JIT
        reader.until(lib.FFPF_TIMEOUT)
        counters = reader.counters()
        assert (counters.seen, counters.filtered, counters.delivered) == (3, 1, 2)


def test_cooked_metadata_goes_to_the_kernel(daemon: FakeDaemon) -> None:
    """`outbound` and a protocol, in the kernel's own words."""
    with SharedReader(daemon.path, "any", immediate=True) as reader:
        reader.link_type(DLT_LINUX_SLL2)
        insns: list[Insn] = [(LD_H, 0, 0, 0), (JEQ, 0, 3, 0x88B5), (LD_B, 0, 0, 10), (JEQ, 0, 1, 4)]
        assert reader.set_filter([*insns, (RET, 0, 0, 262144), (RET, 0, 0, 0)]) == 0
        sent = daemon.flows[0]
        assert sent.flow.generation == 2
        daemon.feed([sll2(1, 0)], protocol=0x88B5)
        daemon.feed([sll2(2, 0, pkt_type=PACKET_OUTGOING)], protocol=0x88B5, pkt_type=PACKET_OUTGOING)
        assert [packet.data[20:24] for packet in reader.read(1)] == [frame(2)[14:18]]
        assert reader.counters().waiting == 0


def test_cooked_packets_beyond_the_arena_come_in_the_next_batch(daemon: FakeDaemon) -> None:
    big = [sll2(number, 1) + bytes([number]) * 60000 for number in range(12)]
    with SharedReader(daemon.path, "any", immediate=True) as reader:
        for octets in big:
            daemon.feed([octets], protocol=0x88B5)
        got: list[Packet] = []
        while len(got) < 12:
            reader.until(lib.FFPF_BATCH)
            got += reader.release()
        assert [packet.data for packet in got] == [sll(octets) for octets in big]


# ---- the end ----


def test_a_daemon_that_dies_takes_nothing_along(daemon: FakeDaemon) -> None:
    def die() -> None:
        daemon.hang_up()
        daemon.feed([frame(1), frame(2, 1)])

    with SharedReader(daemon.path, "feed0", timeout_ms=0, immediate=True) as reader:
        waiting = threading.Timer(0.2, die)
        waiting.start()
        assert reader.numbers(2) == [1, 2]  # it waited while the daemon died
        waiting.join()
        assert reader.set_filter(kind_is(1)) == 0  # the hooks run none: it is judged here
        assert reader.reader.info.filter_kind == lib.FFPF_FILTER_JIT
        daemon.feed([frame(3), frame(4, 1)])
        assert reader.numbers(1) == [4]
        assert reader.set_filter(None) == 0
        daemon.feed([frame(5)])
        assert reader.numbers(1) == [5]


def test_without_a_daemon_a_filter_in_the_hooks_cannot_be_changed(daemon: FakeDaemon) -> None:
    with SharedReader(daemon.path, "feed0", immediate=True) as reader:
        assert reader.set_filter(kind_is(1)) == 0
        daemon.hang_up()
        assert reader.set_filter(kind_is(2)) == -lib.FFPF_E_NO_SERVER
        daemon.feed([frame(1), frame(2, 1)])
        assert reader.numbers(1) == [2]  # the old filter is in force


def test_who_is_revoked_reads_why(daemon: FakeDaemon) -> None:
    with SharedReader(daemon.path, "feed0", immediate=True) as reader:
        daemon.say({"event": "of a later version", "flow": 1})
        daemon.say({"event": "revoked", "flow": 1, "reason": "no longer a member"})
        daemon.flows[0].detach()
        reader.until(lib.FFPF_FAILED)
        assert reader.error == (lib.FFPF_E_DENIED, "ffpfd has ended the capture: no longer a member")


def test_the_end_of_a_source(daemon: FakeDaemon) -> None:
    with SharedReader(daemon.path, "feed0", immediate=True) as ended, SharedReader(daemon.path, "feed0") as vanished:
        daemon.feed([frame(1)])
        daemon.say({"event": "source", "flow": 2, "state": "down"})
        daemon.say({"event": "source", "flow": 2, "state": "gone"})
        for flow in daemon.flows:
            flow.end()
        assert ended.numbers(1) == vanished.numbers(1) == [1]
        ended.until(lib.FFPF_END)
        vanished.until(lib.FFPF_FAILED)
        assert vanished.error == (lib.FFPF_E_DEVICE_GONE, "The interface disappeared")


def test_a_child_that_closes_what_it_inherited_ends_nothing(daemon: FakeDaemon) -> None:
    with SharedReader(daemon.path, "feed0", immediate=True) as reader:
        daemon.feed([frame(1), frame(2)])
        pid = os.fork()
        if pid == 0:
            reader.ops.close(reader.reader)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert reader.numbers(2) == [1, 2]
        feeding = threading.Thread(target=daemon.feed, args=(map(frame, range(3, 3000)),))
        feeding.start()
        assert reader.numbers(2997) == list(range(3, 3000))  # R goes on
        feeding.join()
        assert len(daemon.requests) == 2


def test_wake_ends_a_wait_without_limit(daemon: FakeDaemon) -> None:
    with SharedReader(daemon.path, "feed0", timeout_ms=0) as reader:
        timer = threading.Timer(0.1, lambda: reader.ops.wake(reader.reader))
        timer.start()
        assert reader.next() == lib.FFPF_INTERRUPTED
        timer.join()


def test_a_timeout_is_kept_on_an_idle_source(daemon: FakeDaemon) -> None:
    with SharedReader(daemon.path, "feed0", timeout_ms=50) as reader:
        assert reader.next() == lib.FFPF_TIMEOUT
        daemon.feed([frame(1)])  # far fewer than are worth a wake-up
        assert reader.numbers(1) == [1]


def test_an_interface_of_another_number_is_refused(daemon: FakeDaemon) -> None:
    daemon.sources["lo"] = Source(77)
    with pytest.raises(OpenError, match="another one") as refused:
        SharedReader(daemon.path, "lo")
    assert refused.value.code == lib.FFPF_E_NOT_SUPPORTED


def test_link_types_that_do_not_fit_are_refused(daemon: FakeDaemon) -> None:
    daemon.sources["lo"] = Source(1, link_type=12)
    with pytest.raises(OpenError, match="link type"):
        SharedReader(daemon.path, "lo")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("denied", lib.FFPF_E_PERMISSION),
        ("no-such-device", lib.FFPF_E_NO_SUCH_DEVICE),
        ("device-down", lib.FFPF_E_DEVICE_DOWN),
        ("not-supported", lib.FFPF_E_NOT_SUPPORTED),
        ("limit", lib.FFPF_E_DENIED),
        ("busy", lib.FFPF_E_DENIED),
        ("of a later version", lib.FFPF_E_DENIED),
    ],
)
def test_refusals_keep_their_words(tmp_path: Path, code: str, expected: int) -> None:
    with (
        FakeDaemon(tmp_path / "daemon.sock", {}, refusal=(code, "because")) as daemon,
        pytest.raises(OpenError) as refused,
    ):
        SharedReader(daemon.path, "feed0")
    assert (refused.value.code, refused.value.text) == (expected, "because")


def test_no_daemon(tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(OpenError) as refused:
        SharedReader(tmp_path / "none.sock", "feed0")
    assert refused.value.code == lib.FFPF_E_NO_SERVER
    assert refused.value.text == f"{tmp_path}/none.sock: No such file or directory"
    assert time.monotonic() - begin < 5
