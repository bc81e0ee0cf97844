# SPDX-License-Identifier: BSD-3-Clause
"""Savefiles that are not whole yet, and programs that use the FILE too: as with the system's libpcap."""

from __future__ import annotations

import itertools
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyffpf._core import ffi, lib

from compat_tests.capture_files import PcapFormat, PcapngFile, enhanced, interface, section, stamped
from source.savefile_stock import OurReader, StockReader, as_file, read_ours, read_stock

PACKETS = [bytes([n]) * size for n, size in enumerate((60, 0, 1500, 5000, 60, 9000, 1))]
RECORDS = stamped(PACKETS)
PCAP = PcapFormat()
PCAPNG_HEAD = PcapngFile().add(section(), interface()).bytes()
HEADS = {"pcap": PCAP.header(), "pcapng": PCAPNG_HEAD}
PIECES = {
    "pcap": [PCAP.record(record) for record in RECORDS],
    "pcapng": [enhanced("<", data, 1_700_000_000_000_000 + i) for i, data in enumerate(PACKETS)],
}
Reader = type[OurReader] | type[StockReader]


@pytest.mark.parametrize("kind", HEADS)
def test_a_packet_is_delivered_as_soon_as_it_is_whole(kind: str) -> None:
    """On a pipe: nothing behind the packet has been written when it is read."""
    reading, writing = os.pipe()
    os.write(writing, HEADS[kind])
    reader = OurReader(reading)
    for data, piece in zip(PACKETS, PIECES[kind], strict=True):
        os.write(writing, piece[:-1])
        os.write(writing, piece[-1:])
        event = reader.next()
        assert event[4:] == (data,)
        assert not select.select([reading], [], [], 0)[0]
    os.close(writing)
    assert reader.next() == ("end",)
    reader.close()
    os.close(reading)


@pytest.mark.parametrize("kind", HEADS)
def test_fifo_with_a_slow_writer(kind: str, tmp_path: Path) -> None:
    """Octet by octet, through a FIFO; the reader waits and gets every packet."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    content = HEADS[kind] + b"".join(PIECES[kind][:3])

    def feed() -> None:
        with fifo.open("wb", buffering=0) as out:
            for at in range(0, len(content), 7):
                out.write(content[at : at + 7])

    thread = threading.Thread(target=feed)
    thread.start()
    fd = os.open(fifo, os.O_RDONLY)
    story = read_ours(fd)
    os.close(fd)
    thread.join()
    with as_file(content) as file:
        assert story == read_stock(file)


def grown(reader_class: Reader, kind: str) -> list[object]:
    """What a reader says while its file grows: between packets, in the midst of one, with and without clearerr."""
    said: list[object] = []
    pieces = PIECES[kind]
    with as_file(HEADS[kind] + pieces[0]) as fd:
        reader = reader_class(fd)

        def append(octets: bytes) -> None:
            os.pwrite(fd, octets, os.fstat(fd).st_size)

        said += [reader.next(), reader.next(), reader.at_end()]
        append(pieces[1] + pieces[2])
        said += [reader.next(), reader.at_end()]  # the end sticks
        reader.clear_end()
        said += [reader.next(), reader.next(), reader.next(), reader.at_end()]
        reader.clear_end()
        append(pieces[3][:30])
        said += [reader.next(), reader.next(), reader.at_end()]
        append(pieces[3][30:] + pieces[4])
        said += [reader.next()]
        reader.clear_end()
        said += [reader.next(), reader.position()]
        reader.close()
    return said


@pytest.mark.parametrize("kind", HEADS)
def test_a_file_that_grows(kind: str) -> None:
    ours = grown(OurReader, kind)
    assert ours == grown(StockReader, kind)
    assert sum(isinstance(event, tuple) and len(event) == 5 for event in ours) >= 3


def moved(reader_class: Reader, kind: str) -> list[object]:
    """Positions after each packet, and packets after the program has moved the FILE: back, forth, to the end."""
    starts = list(itertools.accumulate(map(len, PIECES[kind]), initial=len(HEADS[kind])))
    with as_file(HEADS[kind] + b"".join(PIECES[kind])) as fd:
        reader = reader_class(fd)
        said: list[object] = [reader.position()]
        for _ in range(3):
            said += [reader.next(), reader.position()]
        reader.seek(starts[1])
        said += [reader.next(), reader.position(), reader.next()]
        reader.seek(starts[5])
        said += [reader.next(), reader.next(), reader.next(), reader.position()]
        reader.seek(starts[0])
        said += [reader.next(), reader.position()]
        reader.seek(starts[-1])
        said += [reader.next(), reader.position()]
        reader.close()
    return said


@pytest.mark.parametrize("kind", HEADS)
def test_a_program_that_moves_the_file(kind: str) -> None:
    assert moved(OurReader, kind) == moved(StockReader, kind)


def left_for_others(read: Callable[[int], object], content: bytes) -> int:
    """The offset of the shared descriptor after reading `content` to its end, or failing to."""
    with as_file(content) as fd:
        read(fd)
        return os.lseek(fd, 0, os.SEEK_CUR)


def test_position_of_the_descriptor_after_close() -> None:
    """Others may go on where we stopped: after some packets, at the end, after a header that is none."""
    content = HEADS["pcap"] + b"".join(PIECES["pcap"])

    def first_two(reader_class: Reader) -> Callable[[int], object]:
        def read(fd: int) -> None:
            reader = reader_class(fd)
            reader.next()
            reader.next()
            reader.close()

        return read

    assert left_for_others(first_two(OurReader), content) == left_for_others(first_two(StockReader), content)
    for whole in (content, b"no savefile, but long enough", content[:20], content[:-1]):
        assert left_for_others(read_ours, whole) == left_for_others(read_stock, whole)


EXIT_PROGRAM = """
import os, sys
sys.path[:0] = {path!r}
from source import savefile_stock
reader = getattr(savefile_stock, sys.argv[1])(0)
while reader.next() != ("end",):
    pass
sys.stdout.write(str(os.lseek(0, 0, os.SEEK_CUR)))
"""


def test_position_at_the_end_without_close() -> None:
    """Standard input is shared with who comes next."""
    content = HEADS["pcap"] + b"".join(PIECES["pcap"])
    for name in ("OurReader", "StockReader"):
        with as_file(content) as fd:
            command = [sys.executable, "-c", EXIT_PROGRAM.format(path=sys.path), name]
            said = subprocess.run(command, stdin=fd, capture_output=True, text=True, timeout=60)
        assert said.stdout == str(len(content)), said


def open_ours(fp: object) -> tuple[object, object]:
    out, error = ffi.new("struct ffpf_reader **"), ffi.new("struct ffpf_error *")
    assert lib.ffpf_savefile_open(out, fp, ffi.NULL, error) == 0, ffi.string(error.text)
    return out[0], ffi.new("struct ffpf_batch *")


def data_of(reader: object, batch: object) -> Iterator[bytes]:
    while reader.ops.next(reader, batch) == lib.FFPF_BATCH:  # type: ignore[attr-defined]
        for i in range(batch.count):  # type: ignore[attr-defined]
            yield ffi.buffer(batch.pkts[i].data, batch.pkts[i].cap_len)[:]  # type: ignore[attr-defined]
        reader.ops.release(reader, batch.count)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", HEADS)
def test_a_file_without_descriptor(kind: str) -> None:
    """fmemopen(3)."""
    content = HEADS[kind] + b"".join(PIECES[kind])
    memory = ffi.from_buffer(bytearray(content))
    fp = lib.fmemopen(memory, len(content), b"rb")
    reader, batch = open_ours(fp)
    assert reader.ops.poll_fd(reader) == -1  # type: ignore[attr-defined]
    assert list(data_of(reader, batch)) == PACKETS
    reader.ops.close(reader)  # type: ignore[attr-defined]
    lib.fclose(fp)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("piped", [False, True])
def test_octets_that_the_program_pushed_back(kind: str, piped: bool) -> None:
    """It looks at the first octet and gives it back, as programs do that know many formats."""
    content = HEADS[kind] + b"".join(PIECES[kind])
    with as_file(content) as fd:
        if piped:
            fd, writing = os.pipe()
            os.write(writing, content)
            os.close(writing)
        fp = lib.fdopen(os.dup(fd), b"rb")
        first = lib.fgetc(fp)
        assert lib.ungetc(first, fp) == content[0]
        reader, batch = open_ours(fp)
        assert list(data_of(reader, batch)) == PACKETS
        reader.ops.close(reader)  # type: ignore[attr-defined]
        lib.fclose(fp)


def test_wake_before_next() -> None:
    with as_file(HEADS["pcap"] + PIECES["pcap"][0]) as fd:
        fp = lib.fdopen(os.dup(fd), b"rb")
        reader, batch = open_ours(fp)
        reader.ops.wake(reader)  # type: ignore[attr-defined]
        assert reader.ops.next(reader, batch) == lib.FFPF_INTERRUPTED  # type: ignore[attr-defined]
        assert reader.ops.next(reader, batch) == lib.FFPF_BATCH  # type: ignore[attr-defined]
        reader.ops.close(reader)  # type: ignore[attr-defined]
        lib.fclose(fp)


SIGNAL_PROGRAM = """
import os, signal, sys
sys.path[:0] = {path!r}
from source import savefile_stock
reader_class = getattr(savefile_stock, sys.argv[1])
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, sys.argv[2] == "interrupt")
reading, writing = os.pipe()
os.write(writing, bytes.fromhex(sys.argv[3]))
reader = reader_class(reading)
if os.fork() == 0:
    import time
    time.sleep(0.3)
    os.kill(os.getppid(), signal.SIGALRM)
    time.sleep(0.2)
    os.write(writing, bytes.fromhex(sys.argv[4]))
    os._exit(0)
os.close(writing)
print(reader.next())
print(reader.next())
os.wait()
"""


@pytest.mark.parametrize("how", ["interrupt", "restart"])
def test_a_signal_while_it_waits_for_a_pipe(how: str) -> None:
    """A handler without SA_RESTART makes the read fail, one with it does not: read(2)'s rules, as in libpcap."""
    program = SIGNAL_PROGRAM.format(path=sys.path)
    said = [
        subprocess.run(
            [sys.executable, "-c", program, name, how, HEADS["pcap"].hex(), PIECES["pcap"][0].hex()],
            capture_output=True,
            text=True,
            timeout=60,
        )
        for name in ("OurReader", "StockReader")
    ]
    assert said[0].returncode == said[1].returncode == 0, said
    assert said[0].stdout == said[1].stdout
    assert ("Interrupted system call" in said[0].stdout) == (how == "interrupt")
