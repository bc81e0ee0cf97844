# SPDX-License-Identifier: BSD-3-Clause
"""Savefiles that programs write: the same octets as stock's, however the program goes about it."""

from __future__ import annotations

import ctypes
import os
import random
import struct
import threading
from pathlib import Path

import pytest

from libffpfpcap.dump_abi import (
    IO_UNBUFFERED,
    LIBC,
    Each,
    digest,
    dump_all,
    dump_to,
    modified,
    prototypes,
    write_calls,
)  # fmt: skip
from libffpfpcap.pcap_abi import (
    ERRBUF_SIZE,
    Pcap,
    frame,
    main,
    on_ffpf,
    own_network,
    program,
    same_on_both,
    send,
)  # fmt: skip

NANO_MAGIC = 0xA1B23C4D


def mixed(path: Path, count: int, order: str = "=", magic: int = 0xA1B2C3D4) -> str:
    """A savefile of packets of 14 to 3000 octets, the same on every run; returns its name."""
    rng = random.Random(7)
    octets = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, 1)
    for number in range(count):
        length = rng.choice((14, 60, 60, 60, 200, 511, 512, 513, 1500, 3000))
        packet = frame(number, length=length).ljust(length, bytes([number & 0xFF]))[:length]
        octets += struct.pack(order + "IIII", 1_700_000_000 + number, number * 77 % 10**6, length, length + number % 3)
        octets += packet
    path.write_bytes(octets)
    return str(path)


@program
def copied(lib: ctypes.CDLL, source: str, target: str, text: str) -> None:
    p = Pcap.offline(lib, source)
    if text:
        p.filter(text)
    dumper = dump_to(p, target)
    print(dump_all(p, dumper, 7), dump_all(p, dumper, 1), dump_all(p, dumper), lib.pcap_dump_ftell(dumper))
    lib.pcap_dump_close(dumper)
    p.close()
    print(digest(target))


@pytest.mark.parametrize("text", ["", "greater 1000", "ether[17] & 1 = 0", "less 59"])
@pytest.mark.parametrize(
    ("order", "magic"), [("<", 0xA1B2C3D4), (">", 0xA1B2C3D4), ("<", NANO_MAGIC), ("<", 0xA1B2CD34)], ids=str
)
def test_copies_are_equal(tmp_path: Path, order: str, magic: int, text: str) -> None:
    source = mixed(tmp_path / "a.pcap", 3000, order, magic)
    same_on_both(copied, source, tmp_path / "out.pcap", text)


@program
def nanoseconds(lib: ctypes.CDLL, source: str, target: str) -> None:
    errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
    p = Pcap(lib, lib.pcap_open_offline_with_tstamp_precision(source.encode(), 1, errbuf), errbuf)
    dumper = dump_to(p, target)
    dump_all(p, dumper)
    lib.pcap_dump_close(dumper)
    print(digest(target), Path(target).read_bytes()[:24].hex())


def test_nanosecond_handles_write_nanosecond_files(tmp_path: Path) -> None:
    for magic in (NANO_MAGIC, 0xA1B2C3D4):
        text = same_on_both(nanoseconds, mixed(tmp_path / "a.pcap", 200, "=", magic), tmp_path / "out.pcap")
        assert text.split()[-1].startswith(struct.pack("=I", NANO_MAGIC).hex())


@program
def changed_headers(lib: ctypes.CDLL, source: str, target: str) -> None:
    p = Pcap.offline(lib, source)
    dumper = dump_to(p, target)

    def act(number: int, header: object, data: int) -> None:
        caplen = header.contents.caplen  # type: ignore[attr-defined]
        if number % 5 == 0:
            lib.pcap_dump(dumper, modified(header, caplen=caplen // 2), data)  # type: ignore[arg-type]
        elif number % 5 == 1:
            lib.pcap_dump(dumper, modified(header, sec=2**33 + number, frac=-1), data)  # type: ignore[arg-type]
        elif number % 5 == 2:
            lib.pcap_dump(dumper, modified(header, caplen=caplen - 14), data + 14)  # type: ignore[arg-type]
        elif number % 5 == 3:
            copy = ctypes.create_string_buffer(ctypes.string_at(data, caplen), caplen)
            lib.pcap_dump(dumper, header, ctypes.addressof(copy))
        if number % 3 == 0:
            lib.pcap_dump(dumper, header, data)
            lib.pcap_dump(dumper, modified(header, len=5), data)  # type: ignore[arg-type]

    Each(act).loop(p)
    lib.pcap_dump_close(dumper)
    print(digest(target))


def test_packets_that_the_program_changed_or_copied(tmp_path: Path) -> None:
    same_on_both(changed_headers, mixed(tmp_path / "a.pcap", 2000), tmp_path / "out.pcap")


@program
def positions(lib: ctypes.CDLL, source: str, target: str) -> None:
    p = Pcap.offline(lib, source)
    dumper = dump_to(p, target)
    seen = [lib.pcap_dump_ftell64(dumper)]

    def act(number: int, header: object, data: int) -> None:
        lib.pcap_dump(dumper, header, data)
        seen.append(lib.pcap_dump_ftell64(dumper))
        if number % 100 == 50:
            seen.append(lib.pcap_dump_ftell(dumper))
        if number % 250 == 3:
            print(lib.pcap_dump_flush(dumper), Path(target).stat().st_size == seen[-1])

    Each(act).loop(p)
    lib.pcap_dump_close(dumper)
    print(seen, digest(target))


def test_positions_count_what_is_gathered(tmp_path: Path) -> None:
    text = same_on_both(positions, mixed(tmp_path / "a.pcap", 1500), tmp_path / "out.pcap")
    assert "0 True" in text
    assert "False" not in text


@program
def cast_between(lib: ctypes.CDLL, source: str, target: str) -> None:
    """Between read calls the dumper is an ordinary FILE."""
    p = Pcap.offline(lib, source)
    dumper = dump_to(p, target)
    for step in (1, 400, 3, 500, 9):
        dump_all(p, dumper, step)
        print(LIBC.ftell(dumper), lib.pcap_dump_ftell(dumper))
        LIBC.fwrite(b"xyz", 1, 3, dumper)
        print(LIBC.ftell(dumper), LIBC.ferror(dumper))
    LIBC.fseek(dumper, 24, 0)
    dump_all(p, dumper, 300)
    print(LIBC.ftell(dumper), LIBC.fflush(dumper), os.lseek(LIBC.fileno(dumper), 0, os.SEEK_CUR))
    LIBC.fseek(dumper, 0, 2)
    dump_all(p, dumper, 300)
    LIBC.fclose(dumper)  # libpcap's own tests do so
    print(digest(target))
    again = dump_to(p, target)  # most likely at the address of the one before
    dump_all(p, again)
    lib.pcap_dump_close(again)
    print(digest(target))


def test_pitfall_6_a_dumper_is_a_file(tmp_path: Path) -> None:
    same_on_both(cast_between, mixed(tmp_path / "a.pcap", 2500), tmp_path / "out.pcap")


@program
def cast_within(lib: ctypes.CDLL, source: str, target: str, how: str) -> None:
    p = Pcap.offline(lib, source)
    dumper = dump_to(p, target)

    def act(number: int, header: object, data: int) -> None:
        lib.pcap_dump(dumper, header, data)
        if number % 50 == 20:
            fp = lib.pcap_dump_file(dumper) if how == "asked" else dumper
            LIBC.fwrite(b"between", 1, 7, fp)
            if how == "asked":
                print(LIBC.fflush(fp), Path(target).stat().st_size)
        if number % 50 == 30:
            print(lib.pcap_dump_ftell(dumper))

    Each(act).loop(p)
    lib.pcap_dump_close(dumper)
    print(digest(target))


@pytest.mark.parametrize("how", ["asked", "cast"])
def test_octets_of_the_programs_own_stay_where_it_put_them(tmp_path: Path, how: str) -> None:
    same_on_both(cast_within, mixed(tmp_path / "a.pcap", 1500), tmp_path / "out.pcap", how)


@program
def flushed_by_cast(lib: ctypes.CDLL, source: str, target: str, everything: str) -> None:
    """As snort 2 writes its tcpdump.log: each packet is on disk before the next one is looked at."""
    p = Pcap.offline(lib, source)
    dumper = dump_to(p, target)
    sizes = []

    def act(number: int, header: object, data: int) -> None:
        if number % 2 == 0:  # those that raise no alert are not logged
            lib.pcap_dump(dumper, header, data)
            LIBC.fflush(None if everything == "everything" else dumper)
            sizes.append(Path(target).stat().st_size)

    Each(act).loop(p)
    print(sizes)
    lib.pcap_dump_close(dumper)


@pytest.mark.parametrize("what", ["the dumper", "everything"])
def test_a_packet_that_the_program_flushes_by_a_cast_is_on_disk(tmp_path: Path, what: str) -> None:
    text = same_on_both(flushed_by_cast, mixed(tmp_path / "a.pcap", 300), tmp_path / "out.pcap", what)
    sizes = [int(size) for size in text.strip("[]\n").split(", ")]
    assert len(set(sizes)) == len(sizes) == 150


@program
def unbuffered(lib: ctypes.CDLL, source: str, target: str) -> None:
    p = Pcap.offline(lib, source)
    dumper = dump_to(p, target)
    LIBC.setvbuf(dumper, None, IO_UNBUFFERED, 0)

    def act(number: int, header: object, data: int) -> None:
        lib.pcap_dump(dumper, header, data)
        if number % 100 == 5:
            print(Path(target).stat().st_size)

    Each(act).loop(p)
    lib.pcap_dump_close(dumper)


def test_an_unbuffered_file_gets_each_packet_at_once(tmp_path: Path) -> None:
    same_on_both(unbuffered, mixed(tmp_path / "a.pcap", 300), tmp_path / "out.pcap")


@program
def many_files(lib: ctypes.CDLL, source: str, target: str, files: str) -> None:
    p = Pcap.offline(lib, source)
    names = [f"{target}.{number}" for number in range(int(files))]
    dumpers = [dump_to(p, name) for name in names]
    rng = random.Random(3)

    def act(number: int, header: object, data: int) -> None:
        which = rng.randrange(len(dumpers))
        lib.pcap_dump(dumpers[which], header, data)
        if number % 301 == 300:
            lib.pcap_dump_close(dumpers[which])
            print(digest(names[which]))
            dumpers[which] = dump_to(p, names[which])

    Each(act).loop(p)
    for dumper, name in zip(dumpers, names, strict=True):
        lib.pcap_dump_close(dumper)
        print(digest(name))


@pytest.mark.parametrize("files", [1, 2, 5, 80])
def test_one_batch_into_many_files_that_come_and_go(tmp_path: Path, files: int) -> None:
    same_on_both(many_files, mixed(tmp_path / "a.pcap", 3000), tmp_path / "out", files)


@program
def next_and_nested(lib: ctypes.CDLL, source: str, other: str, target: str) -> None:
    p, q = Pcap.offline(lib, source), Pcap.offline(lib, other)
    dumper = dump_to(p, target)

    def act(number: int, header: object, data: int) -> None:
        lib.pcap_dump(dumper, header, data)
        if number % 100 == 40:
            print(dump_all(q, dumper, 15))
        if number % 100 == 60:
            status, octets, copy = p.next()
            print(status)
            if status == 1:
                lib.pcap_dump(dumper, ctypes.byref(copy), ctypes.cast(ctypes.c_char_p(octets), ctypes.c_void_p))

    Each(act).loop(p, 900)
    for _ in range(20):
        status, octets, copy = p.next()
        lib.pcap_dump(dumper, ctypes.byref(copy), ctypes.cast(ctypes.c_char_p(octets), ctypes.c_void_p))
    print(status, dump_all(q, dumper), dump_all(p, dumper))
    lib.pcap_dump_close(dumper)
    print(digest(target))


def test_packets_of_two_handles_in_one_file(tmp_path: Path) -> None:
    one, other = mixed(tmp_path / "a.pcap", 1500), mixed(tmp_path / "b.pcap", 700)
    same_on_both(next_and_nested, one, other, tmp_path / "out.pcap", handles=2)


@program
def opened_by_the_program(lib: ctypes.CDLL, source: str, target: str) -> None:
    """pcap_dump_fopen, and a FILE that libpcap never saw; the program writes between packets as it likes."""
    prototypes(lib)
    for header_first in (True, False):
        p = Pcap.offline(lib, source)
        fp = LIBC.fopen(target.encode(), b"w")
        if header_first:
            assert lib.pcap_dump_fopen(p.handle, fp) == fp

        def act(number: int, header: object, data: int, to: int = fp) -> None:
            lib.pcap_dump(to, header, data)
            LIBC.fwrite(b"-", 1, 1, to)
            if number % 100 == 9:
                LIBC.fflush(to)

        Each(act).loop(p)
        lib.pcap_dump_close(fp)
        print(digest(target))


def test_files_that_the_program_opened(tmp_path: Path) -> None:
    same_on_both(opened_by_the_program, mixed(tmp_path / "a.pcap", 500), tmp_path / "out.pcap", handles=2)


@program
def gathering(lib: ctypes.CDLL, source: str, target: str) -> None:
    p = Pcap.offline(lib, source)
    dumper = dump_to(p, target)
    before = write_calls()
    dump_all(p, dumper)
    print(write_calls() - before, Path(target).stat().st_size == Path(source).stat().st_size)


def test_packets_are_gathered_and_written_before_the_loop_returns(tmp_path: Path) -> None:
    source = mixed(tmp_path / "a.pcap", 10_000)  # 6 MB: libpcap makes about 1,500 calls
    calls, complete = on_ffpf(gathering, source, tmp_path / "out.pcap").split()
    assert int(calls) < 200
    assert complete == "True"


@program
def threads(lib: ctypes.CDLL, source: str, target: str) -> None:
    """Each thread its own handle and file; then two threads into one file, behind a lock."""
    prototypes(lib)

    def copy(name: str) -> None:
        p = Pcap.offline(lib, source)
        dumper = dump_to(p, name)
        dump_all(p, dumper)
        lib.pcap_dump_close(dumper)

    shared = Pcap.offline(lib, source)
    common = dump_to(shared, target)
    lock = threading.Lock()

    def merge() -> None:
        p = Pcap.offline(lib, source)

        def act(number: int, header: object, data: int) -> None:
            with lock:
                lib.pcap_dump(common, header, data)

        Each(act).loop(p)

    for work, arguments in ((copy, [(f"{target}.0",), (f"{target}.1",)]), (merge, [(), ()])):
        running = [threading.Thread(target=work, args=args) for args in arguments]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    lib.pcap_dump_close(common)
    print(digest(f"{target}.0"), digest(f"{target}.1"))
    merged = Pcap.offline(lib, target)
    packets = sorted(merged.packets())
    print(len(packets), hash_of(packets))


def hash_of(packets: list[bytes]) -> int:
    return sum(struct.unpack_from("!H", packet)[0] * len(packet) for packet in packets)


def test_threads(tmp_path: Path) -> None:
    same_on_both(threads, mixed(tmp_path / "a.pcap", 2000), tmp_path / "out.pcap", handles=6)


@program
def forked(lib: ctypes.CDLL, source: str, target: str) -> None:
    """A child that ends at once, and one that goes on writing to a file of its own."""
    p = Pcap.offline(lib, source)
    dumper = dump_to(p, target)

    def act(number: int, header: object, data: int) -> None:
        lib.pcap_dump(dumper, header, data)
        if number % 400 == 200:
            lib.pcap_dump_flush(dumper)
            lib.pcap_dump(dumper, header, data)
            child = os.fork()
            if child == 0:
                LIBC._exit(0)
            os.waitpid(child, 0)

    Each(act).loop(p)
    lib.pcap_dump_close(dumper)
    print(digest(target))


def test_children_do_not_write_again_what_was_gathered(tmp_path: Path) -> None:
    same_on_both(forked, mixed(tmp_path / "a.pcap", 1500), tmp_path / "out.pcap")


@program
def exiting(lib: ctypes.CDLL, source: str, target: str, who: str) -> None:
    """exit() inside a callback, by the thread itself or by another one: what was dumped is in the file."""
    p = Pcap.offline(lib, source)
    dumper = dump_to(p, target)
    reached, never = threading.Event(), threading.Event()

    def act(number: int, header: object, data: int) -> None:
        lib.pcap_dump(dumper, header, data)
        if number == 777:
            if who == "itself":
                LIBC.exit(0)
            reached.set()
            never.wait()

    each = Each(act)
    if who == "itself":
        each.loop(p)
    threading.Thread(target=each.loop, args=(p,), daemon=True).start()
    reached.wait()
    LIBC.exit(0)


@pytest.mark.parametrize("who", ["itself", "another"])
def test_exit_inside_a_callback_loses_nothing(tmp_path: Path, who: str) -> None:
    source = mixed(tmp_path / "a.pcap", 1000)
    for run in (same_on_both, on_ffpf):
        run(exiting, source, tmp_path / "out.pcap", who)
        written = (tmp_path / "out.pcap").read_bytes()
        assert written == Path(source).read_bytes()[: len(written)]
        assert len(record_lengths(written)) == 778


def record_lengths(octets: bytes) -> list[int]:
    """Captured lengths of the records of a savefile of this machine's byte order."""
    lengths, at = [], 24
    while at < len(octets):
        lengths.append(struct.unpack_from("=IIII", octets, at)[2])
        at += 16 + lengths[-1]
    return lengths


@program
def live(lib: ctypes.CDLL, target: str) -> None:
    own_network()
    p = Pcap.live(lib, "va", immediate_mode=0)
    dumper = dump_to(p, target)
    expected = bytearray(Path(target).read_bytes() or struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))

    def act(number: int, header: object, data: int) -> None:
        lib.pcap_dump(dumper, header, data)
        h = header.contents  # type: ignore[attr-defined]
        expected.extend(struct.pack("=iiII", h.sec, h.frac, h.caplen, h.len) + ctypes.string_at(data, h.caplen))
        if number % 7 == 0:
            lib.pcap_dump(dumper, modified(header, len=9999), data)  # type: ignore[arg-type]
            expected.extend(struct.pack("=iiII", h.sec, h.frac, h.caplen, 9999) + ctypes.string_at(data, h.caplen))

    send("vb", *[frame(number, length=60 + number * 13 % 1400) for number in range(500)])
    send("vb", frame(3, vlan=bytes.fromhex("81000005")))
    print(Each(act).loop(p, 501))
    lib.pcap_dump_close(dumper)
    print(Path(target).read_bytes() == expected, len(expected))


@pytest.mark.live
def test_live_packets(tmp_path: Path) -> None:
    assert same_on_both(live, tmp_path / "out.pcap").split()[1] == "True"


@program
def closed_first(lib: ctypes.CDLL, source: str, target: str) -> None:
    p = Pcap.offline(lib, source)
    dumper = dump_to(p, target)
    dump_all(p, dumper, 100)
    p.close()
    lib.pcap_dump_close(dumper)
    print(digest(target))


def test_closing_the_handle_before_the_file(tmp_path: Path) -> None:
    same_on_both(closed_first, mixed(tmp_path / "a.pcap", 300), tmp_path / "out.pcap")


if __name__ == "__main__":
    main()
