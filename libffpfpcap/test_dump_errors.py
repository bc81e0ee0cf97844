# SPDX-License-Identifier: BSD-3-Clause
"""Savefiles that cannot be opened, appended to, or written to the end: stock's texts, stock's octets, stock's signs."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import struct
import sys
from pathlib import Path

import pytest

from compat_tests import harness
from compat_tests.netns import wait_until
from libffpfpcap.dump_abi import LIBC, Each, digest, dump_all, dump_to, prototypes
from libffpfpcap.pcap_abi import Pcap, frame, main, program, same_on_both, savefile

CLONE_NEWNS = 0x20000
MS_REC_PRIVATE = 0x44000
HEADER = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)


def packets(path: Path, count: int = 400, length: int = 1000) -> str:
    return savefile(path, [frame(number, length=length) for number in range(count)])


@program
def refused(lib: ctypes.CDLL, folder: str) -> None:
    prototypes(lib)
    where = Path(folder)
    plain = where / "plain"
    plain.write_bytes(b"x")
    ethernet = Pcap(lib, lib.pcap_open_dead(1, 100))
    odd = Pcap(lib, lib.pcap_open_dead(70000, 100))
    inactive = Pcap.create(lib, "lo")
    for p in (ethernet, odd, inactive):
        for name in (where / "none" / "file", where, "/proc/self/none", "", None, plain / "below"):
            text = str(name).encode() if name is not None else None
            print(lib.pcap_dump_open(p.handle, text), p.error())
            if p is not inactive:  # libpcap appends to anything, and to a file named by its own null pointer
                print(lib.pcap_dump_open_append(p.handle, text), p.error())
    fp = LIBC.fopen(str(plain).encode(), b"r")
    print(lib.pcap_dump_fopen(odd.handle, fp), odd.error())
    LIBC.fclose(fp)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    text = same_on_both(refused, tmp_path, handles=0)
    assert "link-layer type 70000 isn't supported in savefiles" in text
    assert "not-yet-activated pcap_t passed to pcap_dump_open" in text


@program
def appended(lib: ctypes.CDLL, source: str, path: str, content: str, precision: str) -> None:
    prototypes(lib)
    Path(path).unlink(missing_ok=True)
    if content != "absent":
        Path(path).write_bytes(bytes.fromhex(content))
    errbuf = ctypes.create_string_buffer(256)
    handle = lib.pcap_open_offline_with_tstamp_precision(source.encode(), int(precision), errbuf)
    p = Pcap(lib, handle, errbuf)
    dumper = lib.pcap_dump_open_append(p.handle, path.encode())
    if not dumper:
        print(p.error())
    else:
        print(lib.pcap_dump_ftell(dumper), dump_all(p, dumper, 5), LIBC.ftell(dumper), lib.pcap_dump_ftell64(dumper))
        print(dump_all(p, dumper), lib.pcap_dump_flush(dumper))
        lib.pcap_dump_close(dumper)
    print(digest(path))


def header(magic: int = 0xA1B2C3D4, order: str = "=", version: int = 4, snaplen: int = 262144, dlt: int = 1) -> bytes:
    return struct.pack(order + "IHHiIII", magic, 2, version, 0, 0, snaplen, dlt)


APPENDED = {
    "absent": None,
    "empty": b"",
    "header": HEADER,
    "packet": HEADER + struct.pack("=IIII", 1, 2, 3, 3) + b"abc",
    "half": HEADER + b"abcde",
    "short": HEADER[:20],
    "nano": header(0xA1B23C4D),
    "swapped": header(order=">"),
    "nano swapped": header(0xA1B23C4D, ">"),
    "kuznetzov": header(0xA1B2CD34),
    "navtel": header(0xA12B3C4D, ">"),
    "version": header(version=3),
    "snaplen": header(snaplen=100),
    "link type": header(dlt=101),
    "fcs": header(dlt=0x24000001),
    "text": b"this is no savefile at all",
}


@pytest.mark.parametrize("name", APPENDED)
def test_appending(tmp_path: Path, name: str) -> None:
    content = APPENDED[name]
    octets = "absent" if content is None else content.hex()
    source = packets(tmp_path / "a.pcap", 30)
    for precision in (0, 1):
        same_on_both(appended, source, tmp_path / "out.pcap", octets, precision)


@program
def fcs(lib: ctypes.CDLL, source: str, path: str) -> None:
    p = Pcap.offline(lib, source)
    dumper = dump_to(p, path)
    dump_all(p, dumper)
    lib.pcap_dump_close(dumper)
    print(digest(path), Path(path).read_bytes()[:24].hex())


def test_the_length_of_checksums_is_kept_in_the_header(tmp_path: Path) -> None:
    source = tmp_path / "a.pcap"
    source.write_bytes(header(dlt=0x24000001, snaplen=77) + struct.pack("=IIII", 1, 2, 3, 3) + b"abc")
    assert struct.pack("=I", 0x24000001).hex() in same_on_both(fcs, source, tmp_path / "out.pcap")


def write_until_it_fails(lib: ctypes.CDLL, source: str, target: str, flush: bool) -> str:
    """What the program can see, and where it saw the error first in steps of 50 packets."""
    p = Pcap.offline(lib, source)
    dumper = dump_to(p, target)
    first = None
    for step in range(8):
        dump_all(p, dumper, 50)
        if flush:
            result = lib.pcap_dump_flush(dumper)
            first = step if result and first is None else first
    seen = f"error first seen {first} {LIBC.ferror(dumper) != 0} flush {lib.pcap_dump_flush(dumper)}"
    lib.pcap_dump_close(dumper)
    return seen


@program
def full_disk(lib: ctypes.CDLL, source: str, folder: str, octets: str, flush: str) -> None:
    if LIBC.unshare(CLONE_NEWNS) or LIBC.mount(b"none", b"/", None, MS_REC_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "unshare")
    if LIBC.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, b"size=" + octets.encode()):
        raise OSError(ctypes.get_errno(), "mount")
    target = f"{folder}/out.pcap"
    print(write_until_it_fails(lib, source, target, flush == "flush"))
    print(digest(target))


@pytest.mark.parametrize("flush", ["flush", "at end"])
@pytest.mark.parametrize("octets", [4096, 65536, 131072, 1 << 20])
def test_full_disk(tmp_path: Path, octets: int, flush: str) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    text = same_on_both(full_disk, packets(tmp_path / "a.pcap"), folder, octets, flush)
    assert ("True" in text) == (octets < 400_000)


@program
def disk_full_from_the_first(lib: ctypes.CDLL, source: str, folder: str, step: str) -> None:
    """Packets whose error has been seen, in steps: the FILE meets the disk when its buffer is full, and not before."""
    if LIBC.unshare(CLONE_NEWNS) or LIBC.mount(b"none", b"/", None, MS_REC_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "unshare")
    if LIBC.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, b"size=65536"):
        raise OSError(ctypes.get_errno(), "mount")
    Path(folder, "filler").write_bytes(bytes(65536))
    p = Pcap.offline(lib, source)
    dumper = dump_to(p, f"{folder}/out.pcap")
    for number in range(200 // int(step)):
        dump_all(p, dumper, int(step))
        print(number, LIBC.ferror(dumper) != 0, lib.pcap_dump_ftell64(dumper))
    print(lib.pcap_dump_flush(dumper), Path(folder, "out.pcap").stat().st_size)
    lib.pcap_dump_close(dumper)


@pytest.mark.parametrize("step", [1, 7, 30, 100])
def test_a_disk_that_is_full_already(tmp_path: Path, step: int) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    text = same_on_both(disk_full_from_the_first, packets(tmp_path / "a.pcap", 200, 60), folder, step)
    assert "True" in text


@program
def limited(lib: ctypes.CDLL, source: str, target: str, octets: str) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(octets), before[1]))
    seen = write_until_it_fails(lib, source, target, True)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)  # the standard output may be a file, too
    print(seen, digest(target))


@pytest.mark.parametrize("octets", [10, 24, 30, 4096, 4100, 49_000, 49_500, 50_001, 200_000])
def test_limit_of_file_sizes(tmp_path: Path, octets: int) -> None:
    assert "True" in same_on_both(limited, packets(tmp_path / "a.pcap"), tmp_path / "out.pcap", octets)


@program
def device_that_is_full(lib: ctypes.CDLL, source: str) -> None:
    for flush in (True, False):
        print(write_until_it_fails(lib, source, "/dev/full", flush))


def test_dev_full(tmp_path: Path) -> None:
    assert "True" in same_on_both(device_that_is_full, packets(tmp_path / "a.pcap"), handles=2)


@program
def into_a_pipe(lib: ctypes.CDLL, source: str, keep: str) -> None:
    """A reader that goes away after `keep` octets, SIGPIPE ignored."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(into)
        left = int(keep)
        while left > 0 and (got := os.read(out, min(left, 4096))):
            left -= len(got)
        os._exit(0)
    os.close(out)
    p = Pcap.offline(lib, source)
    dumper = dump_to(p, f"/dev/fd/{into}")
    os.close(into)
    print(dump_all(p, dumper, 10), lib.pcap_dump_ftell(dumper), ctypes.get_errno() in (0, errno.ESPIPE))
    if int(keep) < 10_000:
        os.waitpid(child, 0)
    print(dump_all(p, dumper), lib.pcap_dump_flush(dumper), LIBC.ferror(dumper) != 0)
    lib.pcap_dump_close(dumper)


@pytest.mark.parametrize("keep", [0, 5000, 10_000_000])
def test_pipe_whose_reader_leaves(tmp_path: Path, keep: int) -> None:
    text = same_on_both(into_a_pipe, packets(tmp_path / "a.pcap"), keep)
    assert ("-1 True" in text.splitlines()[1] or "0 True" in text.splitlines()[1]) == (keep < 10_000_000)


@program
def killed_by_a_pipe(lib: ctypes.CDLL, source: str) -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    out, into = os.pipe()
    p = Pcap.offline(lib, source)
    dumper = dump_to(p, f"/dev/fd/{into}")
    os.close(out)
    os.close(into)
    dump_all(p, dumper)
    print("still there")


def test_sigpipe_ends_the_program(tmp_path: Path) -> None:
    """As a shell sees it, since the helper that compares demands an orderly end."""
    source = packets(tmp_path / "a.pcap")
    script = f"{sys.executable} {__file__} killed_by_a_pipe {source}; echo $?"
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    stock, ffpf = harness.run_both(["sh", "-c", script], env=environment)
    assert stock.stdout == ffpf.stdout == b"%d\n" % (128 + signal.SIGPIPE)


@program
def standard_output(lib: ctypes.CDLL, source: str) -> None:
    """Each packet is there at once after a flush, and the program's own writing keeps its place."""
    p = Pcap.offline(lib, source)
    dumper = dump_to(p, "-")

    def act(number: int, header: object, data: int) -> None:
        lib.pcap_dump(dumper, header, data)
        if number % 40 == 0:
            LIBC.fwrite(b"own", 1, 3, dumper)

    Each(act).loop(p)
    lib.pcap_dump_flush(dumper)


def test_standard_output(tmp_path: Path) -> None:
    source = packets(tmp_path / "a.pcap")
    stock, ffpf = harness.run_both(
        [sys.executable, __file__, "standard_output", source],
        env={"PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
    )
    assert stock.stdout == ffpf.stdout
    assert len(stock.stdout) > 400_000
    harness.assert_served(ffpf)


@pytest.mark.parametrize("options", [["-C", "1"], ["-C", "1", "-W", "2"], ["-U"], ["-C", "1", "-U"]])
def test_tcpdump_rotates_alike(tmp_path: Path, options: list[str]) -> None:
    source = packets(tmp_path / "a.pcap", 3000)
    found = []
    for side in (harness.STOCK, harness.FFPF):
        folder = tmp_path / side.name
        folder.mkdir()
        tmp_path.chmod(0o777)
        folder.chmod(0o777)
        outcome = harness.run(["tcpdump", "-Z", "root", "-r", source, "-w", str(folder / "f"), *options], side)
        assert outcome.returncode == 0, outcome.stderr
        if side is harness.FFPF:
            harness.assert_served(outcome, harness.Expect(delivered=3000))
        found.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert found[0] == found[1]
    assert len(found[1]) >= (1 if options == ["-U"] else 2)


def test_tcpdump_gives_complete_files_to_what_it_starts(tmp_path: Path) -> None:
    """What tcpdump starts it does not wait for."""
    source = packets(tmp_path / "a.pcap", 3000)
    note = tmp_path / "note"
    note.write_text("#!/bin/sh\nsha256sum <$1 >$1.tmp; mv $1.tmp $1.sum\n")
    note.chmod(0o755)
    found = []
    for side in (harness.STOCK, harness.FFPF):
        target = tmp_path / side.name
        command = ["tcpdump", "-Z", "root", "-r", source, "-w", str(target), "-C", "1", "-z", str(note)]
        outcome = harness.run(command, side)
        sums = [tmp_path / f"{side.name}{number}.sum" for number in ("", 1)]
        wait_until(lambda wanted=sums: all(path.exists() for path in wanted), "the started scripts")
        found.append([path.read_text() for path in sums])
    harness.assert_served(outcome, harness.Expect(delivered=3000))
    assert found[0] == found[1]


if __name__ == "__main__":
    main()
