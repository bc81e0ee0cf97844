# SPDX-License-Identifier: BSD-3-Clause
"""Captures of savefiles: what is read, in every way of reading, and what misuse is told."""

from __future__ import annotations

import copy
import gc
import gzip
import io
import os
import pickle
import random
import signal
import struct
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import dpkt
import numpy as np
import pytest

import pyffpf
from compat_tests.capture_files import MAGIC_NS, PcapFormat, PcapngFile, Record, interface, section, stamped
from compat_tests.capture_imix import write_imix
from compat_tests.captures import families

COUNT = 3000


@pytest.fixture(scope="module")
def imix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("imix") / "imix.pcap"
    write_imix(path, COUNT, seed=7)
    return path


@pytest.fixture(scope="module")
def expected(imix: Path) -> list[tuple[int, bytes]]:
    """(ns, octets) by dpkt, which is independent of us."""
    with imix.open("rb") as file:
        return [(round(ts * 1e6) * 1000, octets) for ts, octets in dpkt.pcap.Reader(file)]


def packets_of(capture: pyffpf.Capture) -> list[tuple[int, bytes]]:
    return [(packet.ts_ns, packet.data) for packet in capture]


def test_packets_are_those_of_the_file(imix: Path, expected: list[tuple[int, bytes]]) -> None:
    with pyffpf.open(imix) as capture:
        assert packets_of(capture) == expected
        assert capture.link_type == 1
        assert capture.engine == "embedded"


@pytest.mark.parametrize("size", [1, 5, 128, 129, 4096])
@pytest.mark.parametrize("copy", [True, False])
def test_batches_of_any_size_hold_the_same(
    imix: Path, expected: list[tuple[int, bytes]], size: int, copy: bool
) -> None:
    found = []
    with pyffpf.open(str(imix)) as capture:
        for batch in capture.batches(size, copy=copy):
            assert 1 <= len(batch) <= size
            assert batch.octets is not None
            for row in range(len(batch)):
                octets = bytes(batch.view(row))
                assert octets == batch.packet(row).data
                found.append((int(batch["ts_ns"][row]), octets))
            assert (batch["caplen"] == batch["len"]).all()
            assert (batch["result"] == 0xFFFFFFFF).all()
    assert found == expected


def test_batches_stay_when_the_capture_goes_on(imix: Path, expected: list[tuple[int, bytes]]) -> None:
    with pyffpf.open(imix) as capture:
        batches = list(capture.batches(100))
    assert [(p.ts_ns, p.data) for batch in batches for p in batch] == expected


def test_every_source_of_the_same_octets(imix: Path, expected: list[tuple[int, bytes]]) -> None:
    octets = imix.read_bytes()
    packed = imix.with_suffix(".gz")
    packed.write_bytes(gzip.compress(octets, 1))
    skipped = io.BytesIO(b"before" + octets)
    skipped.seek(6)
    with imix.open("rb") as plain, gzip.open(packed) as unpacked, imix.open("rb", buffering=0) as raw:
        for source in (str(imix), f"file:{imix}", octets, bytearray(octets), memoryview(octets), skipped, plain, raw,
                       unpacked):  # fmt: skip
            with pyffpf.open(source) as capture:
                assert packets_of(capture) == expected, source
        assert plain.tell() == 0


def test_a_pipe_gives_packets_as_they_come() -> None:
    layout = PcapFormat(magic=MAGIC_NS)
    end, start = os.pipe()
    with os.fdopen(start, "wb", 0) as writer, os.fdopen(end, "rb", 0) as reader:
        writer.write(layout.header())
        capture = pyffpf.open(reader)
        for i in range(1, 4):
            writer.write(b"".join(layout.record(Record(bytes([i]) * 60, fraction=i)) for _ in range(i)))
            batch = capture.read_batch()
            assert batch is not None
            assert [(p.ts_ns % 1_000_000_000, p.data) for p in batch] == [(i, bytes([i]) * 60)] * i
        writer.close()
        assert capture.read_batch() is None
        capture.close()


def test_what_a_file_object_raises_is_raised_where_the_packets_end() -> None:
    class Failing(io.RawIOBase):
        def __init__(self, octets: bytes) -> None:
            self._parts = [octets]

        def readall(self) -> bytes:
            raise AssertionError("all at once")

        def read(self, size: int = -1, /) -> bytes:
            if not self._parts:
                raise RuntimeError("the disk is on fire")
            return self._parts.pop()

    octets = PcapFormat().file([Record(b"x" * 60)] * 3)
    with pyffpf.open(Failing(octets)) as capture:
        batch = capture.read_batch()
        assert batch is not None and len(batch) == 3
        with pytest.raises(RuntimeError, match="on fire"):
            capture.read_batch()
    with pytest.raises(RuntimeError, match="on fire"), pyffpf.open(Failing(octets[:-10])) as capture:
        list(capture.batches())


@pytest.mark.parametrize("name", sorted(families()))
def test_every_family_counts_the_same_in_every_way(name: str, tmp_path: Path) -> None:
    octets = families()[name](random.Random(name))
    try:
        with pyffpf.open(octets) as capture:
            totals = capture.count()
    except pyffpf.BadFile:
        return
    with pyffpf.open(octets) as capture:
        batches = list(capture.batches())
    assert totals == (
        sum(map(len, batches)), sum(int(b["caplen"].sum()) for b in batches), sum(int(b["len"].sum()) for b in batches)
    )  # fmt: skip
    with pyffpf.open(octets) as capture:
        heads = list(capture.headers(40, 64))
    together = np.concatenate([batch.headers(40) for batch in batches]) if batches else np.empty((0, 40), np.uint8)
    assert np.array_equal(np.concatenate(heads) if heads else np.empty((0, 40), np.uint8), together)
    for batch in batches:
        for packet, head in zip(batch, batch.headers(40), strict=True):
            assert bytes(head) == packet.data[:40].ljust(40, b"\0")


def test_a_filter_is_as_dpkt_finds_it(imix: Path, expected: list[tuple[int, bytes]]) -> None:
    def is_http(octets: bytes) -> bool:
        ip = dpkt.ethernet.Ethernet(octets).data
        return isinstance(ip, dpkt.ip.IP) and isinstance(ip.data, dpkt.tcp.TCP) and 80 in (ip.data.sport, ip.data.dport)

    wanted = [packet for packet in expected if is_http(packet[1])]
    with pyffpf.open(imix, "tcp port 80") as capture:
        assert packets_of(capture) == wanted
        counted = capture.statistics
    assert 0 < len(wanted) < COUNT
    assert (counted.seen, counted.delivered, counted.filtered) == (COUNT, len(wanted), COUNT - len(wanted))
    assert counted.dropped == 0 and set(counted.drops) >= {"kernel", "pbuf", "ibuf", "lapped"}


def test_a_filter_that_changes_holds_for_what_was_not_read(imix: Path, expected: list[tuple[int, bytes]]) -> None:
    with pyffpf.open(imix) as capture:
        first = capture.read_batch(10)
        capture.set_filter("udp")
        with pytest.raises(pyffpf.BadFilter, match="syntax error"):
            capture.set_filter("udp port port")
        assert capture.filter == "udp"
        rest = packets_of(capture)
    assert first is not None
    assert [(p.ts_ns, p.data) for p in first] == expected[:10]
    assert rest == [packet for packet in expected[10:] if packet[1][12:14] == b"\x08\0" and packet[1][23] == 17]


def test_a_packet_larger_than_a_batch_has_room_for() -> None:
    large = bytes(range(256)) * 12_000  # 3 MB: more than libpcap's snap length, which a file may have
    octets = PcapFormat(snap_len=0, link_type=231).file(stamped([b"small", large, b"small"]))
    with pyffpf.open(octets) as capture:
        assert [packet.data for packet in capture] == [b"small", large, b"small"]


def test_times_of_pcapng_are_nanoseconds() -> None:
    file = PcapngFile().add(section(), interface(resolution=9))
    octets = file.packets([b"x" * 60] * 3, start=1_700_000_000_123_456_789, step=1).bytes()
    with pyffpf.open(octets) as capture:
        assert [packet.ts_ns for packet in capture] == [1_700_000_000_123_456_789 + i for i in range(3)]


def test_a_file_cut_short_gives_what_it_has() -> None:
    octets = PcapFormat().file([Record(b"x" * 60)] * 5)
    with pyffpf.open(octets[:-7]) as capture:
        batch = capture.read_batch()
        assert batch is not None and len(batch) == 4
        with pytest.raises(pyffpf.BadFile, match="truncated"):
            capture.read_batch()


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pyffpf.open(tmp_path / "none.pcap")
    with pytest.raises(pyffpf.BadFile, match="unknown file format"):
        pyffpf.open(b"no savefile at all")
    with pytest.raises(pyffpf.BadFile, match="truncated"):
        pyffpf.open(b"")
    with pytest.raises(TypeError):
        pyffpf.open(5)
    with pytest.raises(ValueError, match="engine"):
        pyffpf.open("lo", engine="warp")
    with pytest.raises(pyffpf.BadFilter):
        pyffpf.open(PcapFormat().file([]), "nonsense nonsense")


# ---- packets in place ----


def test_a_view_keeps_the_capture_where_it_is(imix: Path, expected: list[tuple[int, bytes]]) -> None:
    with pyffpf.open(imix) as capture:
        batch = capture.read_batch(copy=False)
        assert batch is not None
        view = batch.view(3)
        with pytest.raises(pyffpf.StillViewed):
            capture.read_batch()
        with pytest.raises(BufferError):
            capture.set_filter("udp")
        assert bytes(view) == expected[3][1]
        with pytest.raises(ValueError, match="released"):
            batch.view(4)
        del view
        following = capture.read_batch(1)
        assert following is not None
        assert following.packet(0).data == expected[len(batch)][1]


def test_a_view_outlives_the_capture(imix: Path, expected: list[tuple[int, bytes]]) -> None:
    capture = pyffpf.open(imix)
    batch = capture.read_batch(copy=False)
    assert batch is not None and batch.octets is not None
    octets = batch.octets
    with pytest.raises(ValueError, match="read-only"):
        octets[0] = 1
    start = int(batch["offset"][0])
    capture.close()
    del capture
    gc.collect()
    assert bytes(octets[start : start + 60]) == expected[0][1][:60]


# ---- life ----


def test_a_closed_capture_says_so(imix: Path) -> None:
    with pyffpf.open(imix) as capture:
        assert not capture.closed
    capture.close()
    assert capture.closed
    for use in (capture.read_batch, capture.count, capture.fileno, lambda: capture.statistics, lambda: list(capture),
                lambda: capture.set_filter("ip"), lambda: capture.link_type):  # fmt: skip
        with pytest.raises(pyffpf.Closed):
            use()
    capture.stop()


def test_what_is_not_closed_is_warned_of(imix: Path) -> None:
    capture = pyffpf.open(imix)
    with pytest.warns(ResourceWarning, match="was not closed"):
        del capture


def test_stop_ends_the_packets(imix: Path) -> None:
    with pyffpf.open(imix) as capture:
        seen = 0
        for _ in capture.batches(10):
            seen += 1
            capture.stop()
        assert seen == 1
        assert capture.read_batch() is None


def test_a_callback_is_called_and_may_fail(imix: Path, expected: list[tuple[int, bytes]]) -> None:
    found: list[bytes] = []
    with pyffpf.open(imix) as capture:
        assert capture.loop(lambda packet: found.append(packet.data), 300) == 300
        with pytest.raises(ZeroDivisionError):
            capture.loop(lambda packet: 1 // 0)
    assert found == [octets for _, octets in expected[:300]]


@pytest.fixture
def waiting() -> Iterator[tuple[pyffpf.Capture, int]]:
    """A capture of a pipe that gives nothing, and the descriptor that would."""
    end, start = os.pipe()
    os.write(start, PcapFormat().header())
    with os.fdopen(end, "rb", 0) as reader:
        capture = pyffpf.open(reader)
        yield capture, start
        capture.close()
    os.close(start)


def test_a_second_thread_is_told(waiting: tuple[pyffpf.Capture, int]) -> None:
    capture, start = waiting
    thread = threading.Thread(target=lambda: capture.read_batch())
    thread.start()
    end = time.monotonic() + 10
    try:
        while time.monotonic() < end:
            try:
                _ = capture.statistics
            except pyffpf.Busy:
                break
        with pytest.raises(pyffpf.Busy, match="another thread"):
            capture.read_batch()
        with pytest.raises(pyffpf.Busy, match="stop it"):
            capture.close()
    finally:
        os.write(start, PcapFormat().record(Record(b"x" * 60)))
        thread.join()
    capture.close()


def test_stop_ends_a_wait_for_a_pipe(waiting: tuple[pyffpf.Capture, int]) -> None:
    capture, _ = waiting
    timer = threading.Timer(0.05, capture.stop)
    timer.start()
    assert capture.read_batch() is None
    timer.join()


def test_a_signal_ends_a_wait_and_loses_nothing(waiting: tuple[pyffpf.Capture, int]) -> None:
    capture, start = waiting
    record = PcapFormat().record(Record(b"y" * 60))
    os.write(start, record[:30])

    def interrupt() -> None:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        capture.read_batch()
    thread.join()
    os.write(start, record[30:])
    batch = capture.read_batch()
    assert batch is not None and [packet.data for packet in batch] == [b"y" * 60]


def test_a_forked_process_is_told(imix: Path, expected: list[tuple[int, bytes]]) -> None:
    with pyffpf.open(imix) as capture:
        first = capture.read_batch(5)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                capture.read_batch(5)
            except pyffpf.Busy as error:
                code = 0 if "forked" in str(error) else 2
                capture.close()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        rest = packets_of(capture)
    assert first is not None
    assert len(first) + len(rest) == len(expected)
    assert rest == expected[5:]


def test_packets_decode(imix: Path, expected: list[tuple[int, bytes]]) -> None:
    with pyffpf.open(imix, "tcp") as capture:
        packet = next(iter(capture))
    assert isinstance(packet.decode().data.data, dpkt.tcp.TCP)
    assert packet.decode("scapy")["TCP"].sport == struct.unpack_from(">H", packet.data, 34)[0]
    assert packet.time.timestamp() == pytest.approx(packet.ts, abs=1e-5)
    with pytest.raises(ValueError, match="decoder"):
        packet.decode("wireshark")


def test_packets_are_objects_of_the_core_that_keep_their_batch_and_nothing_else(imix: Path) -> None:
    with pyffpf.open(imix) as capture:
        batch = capture.read_batch(20)
        assert batch is not None
    gone = weakref.ref(batch)
    packets = [*batch, batch.packet(-1)]
    with pytest.raises(TypeError, match=r"batch\.packet"):
        pyffpf.Packet(batch, 0)  # type: ignore[call-arg]
    for of, packet in zip([*range(20), 19], packets, strict=True):
        assert isinstance(packet, pyffpf.Packet)
        assert not gc.is_tracked(packet)
        assert (packet.ts_ns, packet.caplen, packet.len) == tuple(
            int(batch[name][of]) for name in ("ts_ns", "caplen", "len")
        )
        assert packet.data == bytes(batch.view(of)) and len(packet) == packet.caplen
        with pytest.raises(AttributeError):
            packet.data = b""
    again = copy.copy(packets[4]), pickle.loads(pickle.dumps(packets[4]))
    assert {(p.ts_ns, p.data) for p in again} == {(packets[4].ts_ns, packets[4].data)}
    kept = packets[7]
    del packets, packet, again, batch
    assert gone() is not None and kept.data
    del kept
    assert gone() is None
