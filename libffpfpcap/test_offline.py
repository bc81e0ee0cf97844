# SPDX-License-Identifier: BSD-3-Clause
"""Savefile handles: opening, reading, ends, filters, the FILE behind them. Same answers as stock."""

from __future__ import annotations

import ctypes
import os
import random
import struct
import zlib
from pathlib import Path

import pytest

from compat_tests import harness
from libffpfpcap.pcap_abi import (
    ENVIRONMENT,
    ERRBUF_SIZE,
    BpfInsn,
    BpfProgram,
    Handler,
    Pcap,
    PcapPkthdr,
    command,
    frame,
    main,
    on_ffpf,
    program,
    same_on_both,
    savefile,
    udp_frame,
)

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.fopen.restype = LIBC.fdopen.restype = ctypes.c_void_p
LIBC.fdopen.argtypes = (ctypes.c_int, ctypes.c_char_p)
LIBC.ftell.argtypes = LIBC.rewind.argtypes = LIBC.fclose.argtypes = LIBC.fileno.argtypes = (ctypes.c_void_p,)
LIBC.ftell.restype = ctypes.c_long
LIBC.fseek.argtypes = (ctypes.c_void_p, ctypes.c_long, ctypes.c_int)


class Loop:
    """A callback that notes the number of each packet and may act on some of them."""

    def __init__(self, p: Pcap) -> None:
        self.p = p
        self.seen: list[int] = []
        self.act: dict[int, object] = {}
        self.handler = Handler(self.packet)

    def packet(self, user: int, header: object, data: object) -> None:
        number = int.from_bytes(bytes(data[14:18]), "big")  # type: ignore[index]
        self.seen.append(number)
        action = self.act.pop(number, None)
        if callable(action):
            action()

    def call(self, name: str, count: int) -> None:
        """pcap_loop or pcap_dispatch: prints result and the packets' numbers."""
        self.seen = []
        result = getattr(self.p.lib, f"pcap_{name}")(self.p.handle, count, self.handler, None)
        print(name, count, result, self.seen, self.p.error() if result == -1 else "")


def numbered(path: Path, count: int) -> str:
    return savefile(path, [frame(number) for number in range(count)])


@program
def counts(lib: ctypes.CDLL, path: str) -> None:
    for name in ("dispatch", "loop"):
        for steps in ((3, 3, 100, 1), (-1, -1), (0, 0), (1, -1, 5), (8, 8), (7, 1, 1), (2147483647, 1)):
            p = Pcap.offline(lib, path)
            loop = Loop(p)
            for step in steps:
                loop.call(name, step)
            print("then next_ex", p.next()[0], p.next()[0])
            p.close()


def test_pitfall_14_counts_and_end_of_file(tmp_path: Path) -> None:
    text = same_on_both(counts, numbered(tmp_path / "a.pcap", 8))
    assert "dispatch -1 8 [0, 1, 2, 3, 4, 5, 6, 7]" in text
    assert "loop -1 0 [0, 1, 2, 3, 4, 5, 6, 7]" in text
    assert "then next_ex -2 -2" in text


@program
def broken(lib: ctypes.CDLL, path: str) -> None:
    for name in ("dispatch", "loop"):
        for at in (0, 3, 7):
            for count in (-1, 4, 8):
                p = Pcap.offline(lib, path)
                loop = Loop(p)
                loop.act[at] = lambda handle=p.handle: lib.pcap_breakloop(handle)
                for _ in range(4):
                    loop.call(name, count)
                p.close()
    p = Pcap.offline(lib, path)
    lib.pcap_breakloop(p.handle)
    header = PcapPkthdr()
    print(p.next()[0], p.next()[0], bool(lib.pcap_next(p.handle, ctypes.byref(header))))
    lib.pcap_breakloop(p.handle)
    print(bool(lib.pcap_next(p.handle, ctypes.byref(header))), bool(lib.pcap_next(p.handle, ctypes.byref(header))))
    lib.pcap_breakloop(p.handle)
    lib.pcap_breakloop(p.handle)
    Loop(p).call("loop", 1)
    Loop(p).call("loop", 1)
    p.close()


def test_pitfall_13_breakloop_inside_callbacks_keeps_the_count(tmp_path: Path) -> None:
    assert "dispatch -1 4 [0, 1, 2, 3] \ndispatch -1 -2 [] \n" in same_on_both(broken, numbered(tmp_path / "a.pcap", 8))


@program
def refiltered(lib: ctypes.CDLL, path: str) -> None:
    p = Pcap.offline(lib, path)

    def read_and_refuse_all() -> None:
        print("inside", p.next()[0])
        p.filter("less 10")

    loop = Loop(p)
    loop.act[10] = lambda: p.filter("ether[17] & 1 = 0")
    loop.act[20] = lambda: p.filter("ether[17] % 10 = 0 or ether[16] != 0")
    loop.act[300] = lambda: p.filter("")
    loop.act[302] = read_and_refuse_all
    loop.call("loop", -1)
    p.close()
    p = Pcap.offline(lib, path)
    p.filter("ether[17] = 7")
    print([data[16:18] for data in p.packets()])
    p.close()
    p = Pcap.offline(lib, path)
    for step in range(12):
        p.filter(f"ether[17] % 3 = {step % 3}")
        print(p.next()[1][14:18], end=" ")
    p.close()


def test_pitfall_16_filter_set_inside_a_callback_rules_the_next_packet(tmp_path: Path) -> None:
    same_on_both(refiltered, numbered(tmp_path / "a.pcap", 400))


@program
def nested(lib: ctypes.CDLL, path: str) -> None:
    p, q = Pcap.offline(lib, path), Pcap.offline(lib, path)
    loop, inner = Loop(p), Loop(q)
    loop.act[2] = lambda: inner.call("dispatch", 3)
    loop.act[3] = lambda: print("same handle", p.next()[1][14:18])
    inner.act[1] = lambda: lib.pcap_breakloop(p.handle)
    loop.call("loop", -1)
    loop.call("loop", 5)
    p.close()
    q.close()


def test_reading_inside_callbacks(tmp_path: Path) -> None:
    same_on_both(nested, numbered(tmp_path / "a.pcap", 300))


@program
def bad_programs(lib: ctypes.CDLL, path: str) -> None:
    p = Pcap.offline(lib, path)
    for instructions in (
        [], [(0x06, 0, 0, 0xFFFF)], [(0x06, 0, 0, 0)], [(0x28, 0, 0, 12)], [(0x05, 0, 0, 5), (0x06, 0, 0, 1)],
        [(0xFFFF, 0, 0, 0)], [(0x34, 0, 0, 0), (0x06, 0, 0, 1)], [(0x60, 0, 0, 16), (0x06, 0, 0, 1)],
        [(0x28, 0, 0, 1 << 31), (0x06, 0, 0, 1)], [(0x15, 9, 0, 0), (0x06, 0, 0, 1)], [(0x16, 0, 0, 0)],
        [(0x28, 0, 0, 0xFFFFF000), (0x16, 0, 0, 0)], [(0x00, 0, 0, 7), (0x16, 0, 0, 0)],
        [(0x30, 0, 0, 59), (0x06, 0, 0, 1)], [(0x30, 0, 0, 60), (0x06, 0, 0, 1)],
    ):  # fmt: skip
        array = (BpfInsn * max(len(instructions), 1))(*(BpfInsn(*one) for one in instructions))
        code = BpfProgram(len(instructions), array)
        valid = lib.bpf_validate(array, len(instructions))
        print(instructions, valid, lib.pcap_setfilter(p.handle, ctypes.byref(code)), p.error())
        if valid:
            header = PcapPkthdr(0, 0, 60, 1000)
            print(lib.bpf_filter(array, frame(1), 1000, 60), lib.bpf_filter(array, b"", 1000, 0))
            print(lib.pcap_offline_filter(ctypes.byref(code), ctypes.byref(header), frame(1)), p.next()[0])
    print(lib.bpf_filter(None, b"", 0, 0))
    print(lib.pcap_offline_filter(ctypes.byref(BpfProgram()), ctypes.byref(PcapPkthdr()), b""))
    p.close()


def test_filters_made_by_hand(tmp_path: Path) -> None:
    same_on_both(bad_programs, numbered(tmp_path / "a.pcap", 20))


@program
def own_program(lib: ctypes.CDLL, path: str) -> None:
    p = Pcap.offline(lib, path)
    LIBC.malloc.restype = ctypes.c_void_p
    LIBC.malloc.argtypes = (ctypes.c_size_t,)
    LIBC.free.argtypes = (ctypes.c_void_p,)
    memory = LIBC.malloc(16)
    ctypes.memmove(memory, bytes((BpfInsn * 2)(BpfInsn(0x30, 0, 0, 17), BpfInsn(0x16, 0, 0, 0))), 16)
    code = BpfProgram(2, ctypes.cast(memory, ctypes.POINTER(BpfInsn)))
    print(lib.pcap_setfilter(p.handle, ctypes.byref(code)))
    ctypes.memset(memory, 0xFF, 16)  # the handle has a copy
    LIBC.free(memory)
    print([data[17] for data in p.packets()])
    compiled = p.compile("ether[17] = 1")
    lib.pcap_freecode(ctypes.byref(compiled))
    print(compiled.bf_len, bool(compiled.bf_insns))
    compiled = p.compile("ether[17] = 1")
    LIBC.free(compiled.bf_insns)  # as programs do that know pcap_freecode
    p.close()


def test_pitfall_7_programs_are_copied_and_malloced(tmp_path: Path) -> None:
    same_on_both(own_program, numbered(tmp_path / "a.pcap", 6))


@program
def file_behind(lib: ctypes.CDLL, path: str) -> None:
    p = Pcap.offline(lib, path)
    file = lib.pcap_file(p.handle)
    print("position", LIBC.ftell(file), "selectable", lib.pcap_get_selectable_fd(p.handle) == LIBC.fileno(file))
    print("fileno", lib.pcap_fileno(p.handle))
    for _ in range(3):
        print(p.next()[1][14:18], LIBC.ftell(file))
    loop = Loop(p)
    loop.call("dispatch", 4)
    print("position", LIBC.ftell(file))
    print("seek", LIBC.fseek(file, 24 + 76 * 2, os.SEEK_SET), p.next()[1][14:18], LIBC.ftell(file))
    print("seek", LIBC.fseek(file, 24, os.SEEK_SET))
    loop.call("loop", -1)
    print("position", LIBC.ftell(file), p.next()[0])
    p.close()


def test_pitfall_8_the_files_position_is_the_programs(tmp_path: Path) -> None:
    same_on_both(file_behind, numbered(tmp_path / "a.pcap", 12))


@program
def from_file(lib: ctypes.CDLL, path: str) -> None:
    for skip in (0, 5):
        errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
        file = LIBC.fopen(path.encode(), b"rb")
        LIBC.fseek(file, skip, os.SEEK_SET)
        handle = lib.pcap_fopen_offline(file, errbuf)
        print(skip, bool(handle), errbuf.value)
        if handle:
            p = Pcap(lib, handle)
            print([data[14:18] for data in p.packets()])
            p.close()  # closes the file, too
        else:
            print(LIBC.fclose(file))
    for name in (None, b"", b"/no/such/file", b"/", b"/proc/self/mem"):
        errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
        print(name, bool(lib.pcap_open_offline(name, errbuf)), errbuf.value)
    errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
    print(bool(lib.pcap_fopen_offline(None, errbuf)), errbuf.value)
    for precision in (0, 1, 2, 77):
        handle = lib.pcap_open_offline_with_tstamp_precision(path.encode(), precision, errbuf)
        print(precision, bool(handle), errbuf.value)
        if handle:
            p = Pcap(lib, handle)
            header = p.next()[2]
            print(lib.pcap_get_tstamp_precision(handle), header.sec, header.frac, header.caplen, header.len)
            p.close()


def test_pitfall_snort_6_open_from_a_file(tmp_path: Path) -> None:
    same_on_both(from_file, numbered(tmp_path / "a.pcap", 3))


@program
def from_stdin(lib: ctypes.CDLL) -> None:
    p = Pcap.offline(lib, "-")
    print([data[14:18] for data in p.packets()])
    p.close()
    print("stdin is still open:", os.fstat(0).st_size >= 0)


@pytest.mark.parametrize("piped", [True, False])
def test_standard_input_is_not_closed(tmp_path: Path, piped: bool) -> None:
    path = Path(numbered(tmp_path / "a.pcap", 5000))
    outcomes: list[harness.Outcome] = []
    for side in (harness.STOCK, harness.FFPF):
        with path.open("rb") as file:
            stdin = path.read_bytes() if piped else file.fileno()
            outcomes.append(harness.run(command(from_stdin), side, stdin=stdin, env=ENVIRONMENT))
    stock, ffpf = outcomes
    harness.assert_same(stock, ffpf, harness.Expect(delivered=5000))
    assert stock.returncode == 0


@program
def truncated(lib: ctypes.CDLL, path: str) -> None:
    whole = Path(path).read_bytes()
    short = "short"  # each side runs in a directory of its own
    for size in [*range(60), len(whole) - 1, len(whole) - 60, len(whole) - 77]:
        Path(short).write_bytes(whole[:size])
        errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
        handle = lib.pcap_open_offline(short.encode(), errbuf)
        print(size, bool(handle), errbuf.value)
        if handle:
            p = Pcap(lib, handle)
            loop = Loop(p)
            for name in ("dispatch", "loop"):
                loop.call(name, -1)
            print(p.next()[0], p.error())
            p.close()


def test_pitfall_snort_5_truncated_files(tmp_path: Path) -> None:
    assert "truncated dump file; tried to read" in same_on_both(truncated, numbered(tmp_path / "a.pcap", 3))


@program
def kept(lib: ctypes.CDLL, path: str) -> None:
    p = Pcap.offline(lib, path)
    header, data = ctypes.POINTER(PcapPkthdr)(), ctypes.POINTER(ctypes.c_ubyte)()
    places = set()
    for number in range(200):
        assert lib.pcap_next_ex(p.handle, ctypes.byref(header), ctypes.byref(data)) == 1
        places.add(ctypes.addressof(header.contents))
        lib.pcap_setfilter(p.handle, ctypes.byref(BpfProgram(1, (BpfInsn * 1)(BpfInsn(0x06, 0, 0, 65535)))))
        lib.pcap_setfilter(p.handle, ctypes.byref(BpfProgram()))
        assert bytes(data[14:18]) == number.to_bytes(4, "big"), "a filter was set before the data was used"
    print("the header is the handle's:", len(places) == 1)
    for _ in range(3):
        status = lib.pcap_next_ex(p.handle, ctypes.byref(header), ctypes.byref(data))
        print(status, ctypes.addressof(header.contents) in places)
    p.close()


def test_pitfall_9_header_and_data_live_until_the_next_call(tmp_path: Path) -> None:
    same_on_both(kept, numbered(tmp_path / "a.pcap", 200))


@program
def threads(lib: ctypes.CDLL, path: str) -> None:
    import threading

    results: list[int] = []

    def work(text: str) -> None:
        errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
        p = Pcap(lib, lib.pcap_fopen_offline(LIBC.fopen(path.encode(), b"rb"), errbuf), errbuf)
        p.filter(text)
        results.append(len(list(p.packets())))
        p.close()

    workers = [threading.Thread(target=work, args=(f"udp port {port % 4}",)) for port in range(40)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(sorted(results))


def test_pitfall_22_and_snort_6_handles_of_many_threads(tmp_path: Path) -> None:
    path = savefile(tmp_path / "a.pcap", [udp_frame(number, number % 4) for number in range(1003)])
    assert same_on_both(threads, path, handles=40, served=10030) == str([250] * 10 + [251] * 30) + "\n"


@program
def wide_time(lib: ctypes.CDLL) -> None:
    path = "wide"  # each side runs in a directory of its own
    for magic in (0xA1B2C3D4, 0xA1B23C4D):
        for order in "<>":
            head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 100, 1)
            records = [(0, 0), (1, 999_999), (0x7FFFFFFF, 999_999_999), (0x80000000, 7), (0xFFFFFFFF, 0xFFFFFFFF)]
            body = b"".join(struct.pack(order + "IIII", sec, frac, 1, 1) + b"x" for sec, frac in records)
            Path(path).write_bytes(head + body)
            for precision in (0, 1):
                p = Pcap(lib, lib.pcap_open_offline_with_tstamp_precision(path.encode(), precision, None))
                headers = [p.next()[2] for _ in records]
                print(hex(magic), order, precision, [(one.sec, one.frac) for one in headers])
                p.close()


def test_time_stamps_of_any_value() -> None:
    same_on_both(wide_time)


@program
def grown(lib: ctypes.CDLL, path: str) -> None:
    p = Pcap.offline(lib, path)
    print(len(list(p.packets())))
    p.close()


def test_many_packets_in_odd_sizes(tmp_path: Path) -> None:
    packets = [frame(number, length=60 + number % 3000) for number in range(3000)]
    assert same_on_both(grown, savefile(tmp_path / "a.pcap", packets), served=3000) == "3000\n"


@program
def any_calls(lib: ctypes.CDLL, seed: str, path: str) -> None:
    for precision in (0, 1):
        errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
        handle = lib.pcap_open_offline_with_tstamp_precision(path.encode(), precision, errbuf)
        if not handle:
            print(errbuf.value)
            return
        p, chance = Pcap(lib, handle), random.Random(seed)

        def packet(user: int, header: object, data: object, p: Pcap = p, chance: random.Random = chance) -> None:
            one = header.contents  # type: ignore[attr-defined]
            octets = ctypes.string_at(data, one.caplen)  # type: ignore[arg-type]
            print(one.sec, one.frac, one.caplen, one.len, zlib.crc32(octets))
            if chance.random() < 0.01:
                lib.pcap_breakloop(p.handle)
            if chance.random() < 0.005:
                p.filter(chance.choice(("", "less 1000", "greater 70")))

        handler = Handler(packet)
        for _ in range(200):
            call = chance.choice(("dispatch", "loop", "next_ex", "filter"))
            count = chance.choice((-1, 0, 1, 2, 5, 50, 700))
            if call == "next_ex":
                status, octets, header = p.next()
                print(call, status, header.sec, header.frac, header.len, zlib.crc32(octets), p.error())
            elif call == "filter":
                code = BpfProgram()
                text = chance.choice((b"", b"ip", b"less 100", b"greater 60", b"tcp or udp"))
                if lib.pcap_compile(p.handle, ctypes.byref(code), text, 1, 0) == 0:
                    print(call, text, lib.pcap_setfilter(p.handle, ctypes.byref(code)), p.error())
                    lib.pcap_freecode(ctypes.byref(code))
            else:
                result = getattr(lib, f"pcap_{call}")(p.handle, count, handler, None)
                print(call, count, result, p.error())
        p.close()


def test_any_sequence_of_calls(tmp_path: Path) -> None:
    """The seed is the second word of the command that a failure prints."""
    chance = random.SystemRandom()
    packets = [udp_frame(number, length=60 + number * 7919 % 3000) for number in range(5000)]
    paths = [savefile(tmp_path / "a.pcap", packets)]
    captures = sorted(harness.SHARED_CAPTURES.glob("*"))
    paths += map(str, chance.sample(captures, min(8, len(captures))))
    for path in paths:
        same_on_both(any_calls, chance.randrange(1 << 32), path, handles=0)


@program
def left_in_callback(lib: ctypes.CDLL, path: str) -> None:
    p = Pcap.offline(lib, path)
    loop = Loop(p)
    loop.act[2] = lambda: LIBC.exit(0)
    print("in", flush=True)
    loop.call("loop", -1)


def test_exit_inside_a_callback_is_counted(tmp_path: Path) -> None:
    assert on_ffpf(left_in_callback, numbered(tmp_path / "a.pcap", 9), served=3) == "in\n"


if __name__ == "__main__":
    main()
