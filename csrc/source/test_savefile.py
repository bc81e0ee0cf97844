# SPDX-License-Identifier: BSD-3-Clause
"""Savefiles: what ours reads, and says of what it cannot read, is what the system's libpcap does."""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path

import pytest
from pyffpf._core import ffi, lib

from compat_tests import capture_files as files
from compat_tests import captures
from compat_tests.capture_files import PcapFormat, PcapngFile, Record, enhanced, interface, section, stamped
from source.savefile_stock import (
    MICRO,
    as_file,
    as_stream,
    assert_same,
    first_difference,
    read_ours,
    read_stock,
    stock,
)  # fmt: skip

SHARED = Path(__file__).resolve().parents[3] / "shared" / "captures"
ODD = (1, 3, 7, 64, 1021)
FAMILIES = dict(captures.made_families())


@pytest.mark.parametrize("name", FAMILIES)
def test_families(name: str) -> None:
    content = FAMILIES[name]
    assert_same(content, chunks=ODD if len(content) < 100_000 else (4096, 1))


@pytest.mark.skipif(not SHARED.exists(), reason="the shared captures are optional")
def test_shared_captures() -> None:
    paths = sorted(path for path in SHARED.iterdir() if path.suffix != ".md")
    assert paths
    for path in paths:
        content = path.read_bytes()
        try:
            assert_same(content, chunks=(1, 4000, 17, 4096) if len(content) < 30_000 else (4096, 4095))
        except AssertionError as error:
            raise AssertionError(f"{path.name}: {error}") from error


PACKETS = [bytes(range(n)) for n in (1, 0, 14, 60)]
SMALL_PCAPS = {
    "us": PcapFormat(snap_len=100).file(stamped(PACKETS)),
    "ns-swapped": PcapFormat(order=">", magic=files.MAGIC_NS).file(stamped(PACKETS, units=10**9)),
    "kuznetzov": PcapFormat(magic=files.MAGIC_KUZNETZOV, snap_len=40).file(stamped(PACKETS)),
    "lying": PcapFormat(snap_len=20).file(stamped(PACKETS)),
}
SMALL_PCAPNGS = {
    "all": PcapngFile()
    .add(section(options=files.option("<", 1, b"hi")), interface(resolution=9, offset=5))
    .packets(PACKETS)
    .add(interface(), enhanced("<", b"two", 5, interface_id=1), files.simple("<", PACKETS[3]))
    .add(files.obsolete("<", PACKETS[3], 7), section(), interface(), enhanced("<", b"last", 9))
    .bytes(),
    "swapped": PcapngFile(">").add(section(">"), interface(">", resolution=0x8A)).packets(PACKETS).bytes(),
    "simple": PcapngFile()
    .add(section(), interface(snap_len=30))
    .add(files.simple("<", PACKETS[2], wire_len=14))
    .bytes(),
}
SMALL = {**SMALL_PCAPS, **SMALL_PCAPNGS}


@pytest.mark.parametrize("name", SMALL)
def test_every_truncation_point(name: str) -> None:
    content = SMALL[name]
    for cut in range(len(content)):
        assert_same(content[:cut], chunks=(5, 1, 9))


@pytest.mark.parametrize("name", SMALL)
def test_every_corrupted_octet(name: str) -> None:
    """Each octet takes values that change lengths, types and signs."""
    content = SMALL[name]
    for at in range(len(content)):
        for value in {content[at] ^ bit for bit in (1, 0x80)} | {0, 4, 0xFF, content[at] ^ 0xFF}:
            assert_same(content[:at] + bytes([value]) + content[at + 1 :], precisions=(MICRO,))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    "magic", [files.MAGIC_US, files.MAGIC_NS, files.MAGIC_KUZNETZOV, files.MAGIC_MESQUITA, files.MAGIC_NAVTEL, 0]
)
def test_magics_and_versions(magic: int, order: str) -> None:
    for version in [
        (0, 0),
        (1, 9),
        (2, 0),
        (2, 1),
        (2, 2),
        (2, 3),
        (2, 4),
        (2, 5),
        (3, 0),
        (543, 0),
        (543, 1),
        (65535, 4),
    ]:
        records = [*stamped(PACKETS), Record(bytes(20), wire_len=5), Record(bytes(5), wire_len=20)]
        for layout in (PcapFormat(order, magic, version), PcapFormat(order, magic, (2, 4))):
            content = PcapFormat(order, magic, version).header() + b"".join(map(layout.record, records))
            assert_same(content, chunks=(11,))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("snap_len", [0, 1, 19, 262143, 262144, 262145, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("link_type", [1, 101, 231, 249, 279])
def test_snapshot_lengths(link_type: int, snap_len: int, order: str) -> None:
    """0 and what does not fit an int are replaced; the largest record depends on the link type."""
    for magic in (files.MAGIC_US, files.MAGIC_KUZNETZOV):
        layout = PcapFormat(order, magic, snap_len=snap_len, link_type=link_type)
        large = [1024 * 1024, 1024 * 1024 + 1] if link_type == 249 else [262144, 262145]
        for size in (0, 20, *large):
            assert_same(layout.file([Record(bytes(20)), Record(bytes(size)), Record(b"after")]), precisions=(MICRO,))
        for claimed in (262145, 8 * 1024 * 1024 + 1, 128 * 1024 * 1024, 128 * 1024 * 1024 + 1, 0x7FFFFFFF, 0xFFFFFFFF):
            assert_same(layout.file([Record(bytes(64), cap_len=claimed)]), precisions=(MICRO,))
    content = PcapngFile(order).add(section(order), interface(order, link_type, snap_len)).packets(PACKETS).bytes()
    assert_same(content, precisions=(MICRO,))


def test_link_types() -> None:
    """Every LINKTYPE_ to its DLT_ and back, with the bits that tell of the frame check sequence."""
    for link_type in [*range(400), 1000, 0xFFFF, 0x03FFFFFF]:
        for extra in (0, 0x04000000, 0xF4000000, 0xFC000000):
            with as_file(PcapFormat(link_type=link_type | extra).file([])) as fd:
                theirs = read_stock(fd)
            with as_file(PcapFormat(link_type=link_type | extra).file([])) as fd:
                assert read_ours(fd) == theirs, hex(link_type | extra)
        if link_type <= 0xFFFF:
            content = PcapngFile().add(section(), interface("<", link_type), interface("<", link_type)).bytes()
            assert_same(content, precisions=(MICRO,))


def test_dlt_to_linktype() -> None:
    """What a file written by libpcap says of each DLT_."""
    with as_file(b"") as fd:
        path = f"/proc/self/fd/{fd}"
        for dlt in range(400):
            handle = stock.pcap_open_dead(dlt, 100)
            dumper = stock.pcap_dump_open(handle, path.encode())
            expected = -1
            if dumper:
                stock.pcap_dump_close(dumper)
                expected = struct.unpack_from("<I", Path(path).read_bytes(), 20)[0]
            stock.pcap_close(handle)
            assert lib.ffpf_dlt_to_linktype(dlt) == expected, dlt


def test_times_of_broken_files() -> None:
    """Fractions and seconds of any 32 bits, scaled both ways: libpcap's have 64 bits."""
    values = [0, 1, 999, 999_999, 1_000_000, 2_147_483, 2_147_484, 0x7FFFFFFF, 0x80000000, 0xFFFFFC18, 0xFFFFFFFF]
    for order in "<>":
        for magic in (files.MAGIC_US, files.MAGIC_NS, files.MAGIC_KUZNETZOV):
            records = [Record(b"x", seconds=a, fraction=b) for a in values for b in values]
            assert_same(PcapFormat(order, magic).file(records), chunks=(23,))


def test_pcapng_clocks() -> None:
    """Every if_tsresol octet, with time stamps at both ends of 64 bits and offsets of both signs."""
    for order in "<>":
        for octet in range(256):
            for offset in (None, -1, 1_600_000_000, -(2**63)):
                out = PcapngFile(order).add(section(order), interface(order, resolution=octet, offset=offset))
                for ticks in (0, 1, 999_999, 1_000_000, 123_456_789_012_345_678, 2**63, 2**64 - 1):
                    out.add(enhanced(order, b"x", ticks), enhanced(order, b"y", ticks - 1))
                assert_same(out.bytes())


def idb(options: bytes) -> bytes:
    return files.block("<", files.BLOCK_INTERFACE, struct.pack("<HHI", 1, 0, 0) + options)


opt = files.option
IDB_OPTIONS = {
    "two resolutions": opt("<", 9, b"\6") + opt("<", 9, b"\6"),
    "two offsets": opt("<", 14, bytes(8)) + opt("<", 14, bytes(8)),
    "resolution of two octets": opt("<", 9, b"\6\6"),
    "resolution of none": opt("<", 9, b""),
    "offset of four": opt("<", 14, bytes(4)),
    "end with a length": opt("<", 0, b"oops"),
    "value beyond the block": struct.pack("<HH", 2, 100) + b"eth0",
    "header cut": opt("<", 2, b"eth0"),
    "after the end": opt("<", 0, b"") + opt("<", 9, b"wrong"),
    "no end": opt("<", 9, b"\3"),
    "longest": opt("<", 2, bytes(65535)),
}


@pytest.mark.parametrize("name", IDB_OPTIONS)
@pytest.mark.parametrize("first", [True, False])
def test_interface_options(name: str, first: bool) -> None:
    out = PcapngFile().add(section())
    if not first:
        out.add(interface(), enhanced("<", b"before", 1))
    out.add(idb(IDB_OPTIONS[name]), enhanced("<", b"after", 12345))
    assert_same(out.bytes(), chunks=(100,))


EPB = enhanced("<", b"packet", 1)
HOSTILE = {
    "no interface": [section(), EPB],
    "simple without interface": [section(), files.simple("<", b"x")],
    "obsolete without interface": [section(), files.obsolete("<", b"x", 1)],
    "only a section": [section()],
    "section after section": [section(), section(), interface(), EPB],
    "unknown interface": [section(), interface(), EPB, enhanced("<", b"x", 1, interface_id=1), EPB],
    "section forgets interfaces": [section(), interface(), EPB, section(), EPB],
    "other order": [section(), interface(), EPB, section(">"), interface(">")],
    "other order, a length that passes": [
        section(),
        interface(),
        files.block("<", files.BLOCK_SECTION, section(">")[8:]),
    ],
    "bad order": [section(), interface(), files.block("<", files.BLOCK_SECTION, b"ABCD" + bytes(12)), EPB],
    "short section": [section(), interface(), files.block("<", files.BLOCK_SECTION, bytes(12)), EPB],
    "later version": [section(), interface(), section(version=(2, 0)), EPB],
    "later minor version": [section(), interface(), section(version=(1, 9)), interface(), EPB],
    "first version 1.1": [section(version=(1, 1)), interface(), EPB],
    "first version 1.2": [section(version=(1, 2)), interface(), EPB],
    "first version 2.0": [section(version=(2, 0)), interface(), EPB],
    "another link type": [section(), interface(), EPB, interface("<", 113), EPB],
    "another snapshot length": [section(), interface(), EPB, interface("<", 1, 100), EPB],
    "snapshot lengths that mean the same": [section(), interface("<", 1, 0), interface("<", 1, 262144), EPB],
    "raw twice": [section(), interface("<", 101), interface("<", 101), EPB],
    "raw and its DLT": [section(), interface("<", 101), interface("<", 12), EPB],
    "interface too short": [section(), interface(), files.block("<", files.BLOCK_INTERFACE, bytes(4)), EPB],
    "first interface too short": [section(), files.block("<", files.BLOCK_INTERFACE, bytes(4)), EPB],
    "packet too short": [section(), interface(), files.block("<", files.BLOCK_ENHANCED, bytes(16)), EPB],
    "simple too short": [section(), interface(), files.block("<", files.BLOCK_SIMPLE, b""), EPB],
    "simple longer than its block": [section(), interface(), files.simple("<", b"abc", wire_len=5), EPB],
    "trailer differs": [section(), interface(), files.block("<", 99, bytes(20), trailer=36), EPB],
    "captured beyond the block": [section(), interface(), EPB[:20] + b"\xff\0\0\0" + EPB[24:], EPB],
    "captured beyond the snapshot": [section(), interface("<", 1, 5), EPB, EPB],
    "16 MiB of block": [section(), interface(), files.block("<", 99, bytes(16 * 1024 * 1024 - 12)), EPB],
    "more than 16 MiB of block": [section(), interface(), files.block("<", 99, bytes(16 * 1024 * 1024 - 8)), EPB],
    "options behind packets": [section(), interface(), enhanced("<", b"p", 1, options=opt("<", 1, b"note")), EPB],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pcapng(name: str) -> None:
    content = b"".join(HOSTILE[name])
    assert_same(content, chunks=(64, 9) if len(content) < 100_000 else ())


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("where", ["section", "interface", "packet", "other", "first section", "first other"])
def test_block_lengths(where: str, order: str) -> None:
    kind = {"section": files.BLOCK_SECTION, "interface": 1, "packet": 6}.get(where.removeprefix("first "), 99)
    for length in (
        0,
        4,
        8,
        11,
        12,
        13,
        16,
        27,
        28,
        29,
        30,
        31,
        32,
        2**20,
        2**20 + 4,
        2**24,
        2**24 + 4,
        2**31,
        2**32 - 4,
        2**32 - 1,
    ):
        body = struct.pack(order + "IHHq", files.BYTE_ORDER_MAGIC, 1, 0, -1) + bytes(24)
        odd = files.block(order, kind, body, length=length)
        before = (
            []
            if where == "first section"
            else [section(order)]
            if where == "first other"
            else [section(order), interface(order)]
        )
        assert_same(b"".join([*before, odd, enhanced(order, b"after", 1)]), precisions=(MICRO,), chunks=(13,))


PSEUDO = [files.LINKTYPE_PFLOG, files.LINKTYPE_LINUX_SLL, files.LINKTYPE_LINUX_SLL2, files.LINKTYPE_USB_LINUX,
          files.LINKTYPE_USB_LINUX_MMAPPED, files.LINKTYPE_NFLOG]  # fmt: skip


def pseudo_packets(rng: random.Random, link_type: int) -> list[Record]:
    """Packets whose headers are now likely and now random, cut at every place that matters."""
    made = []
    for _ in range(400):
        data = bytearray(rng.randbytes(rng.choice([160, 300])))
        if link_type == files.LINKTYPE_PFLOG:
            data[0] = rng.choice([0, 44, 47, 48, 52, 56, 59, 60, 61, 64, 255])
        elif link_type in (files.LINKTYPE_LINUX_SLL, files.LINKTYPE_LINUX_SLL2):
            at = 14 if link_type == files.LINKTYPE_LINUX_SLL else 0
            data[at : at + 2] = struct.pack(">H", rng.choice([0x0C, 0x0D, 0x0800]))
        elif link_type == files.LINKTYPE_NFLOG:
            data[1] = rng.choice([0, 0, 0, 1])
            at = 4
            while at + 8 < len(data):
                size = rng.choice([0, 3, 4, 5, 8, 12, 20, 65533]) if rng.random() < 0.3 else rng.randrange(4, 24)
                data[at : at + 4] = struct.pack(">HH", size, rng.randrange(20))
                at += max(4, (size + 3) // 4 * 4)
        else:
            data[8:12] = bytes([rng.choice(b"CS"), rng.choice([0, 0, 1, 2]), rng.choice([0x81, 0x01]), 7])
            data[15] = rng.choice([0, 0, 1])
            count = rng.choice([0, 1, 2, 5, 2**28, 2**32 - 1])
            data[60:64] = struct.pack(">I", count)
            data[32:36] = struct.pack(">I", rng.choice([0, 64, 1000]))
            for i in range(min(count, 5)):
                data[64 + 16 * i : 76 + 16 * i] = struct.pack(
                    ">III", 0, rng.randrange(500), rng.choice([0, 100, 2**32 - 1])
                )
        data = data[: rng.choice([len(data), rng.randrange(140), rng.randrange(80)])]
        lengths = [len(data), rng.randrange(80), len(data) + 7]
        if len(data) >= 64:
            count, urb_len = struct.unpack_from(">I", data, 60)[0], struct.unpack_from(">I", data, 32)[0]
            lengths += [(64 + 16 * count + urb_len) & 0xFFFFFFFF] * 4
        made.append(Record(bytes(data), wire_len=rng.choice(lengths)))
    return made


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("link_type", PSEUDO)
def test_pseudo_headers(link_type: int, order: str) -> None:
    for seed in range(5):
        records = pseudo_packets(random.Random(seed), link_type)
        assert_same(PcapFormat(order, link_type=link_type).file(records), chunks=(1000, 33), precisions=(MICRO,))
        out = PcapngFile(order).add(section(order), interface(order, link_type))
        out.add(*(enhanced(order, r.data, i, wire_len=r.lengths[1]) for i, r in enumerate(records)))
        assert_same(out.bytes(), precisions=(MICRO,))


def test_records_across_windows() -> None:
    """The smallest window, and records that end at every place of a page and of the window."""
    rng = random.Random(5)
    packets = [rng.randbytes(rng.choice([60, 576, 1500, 4080, 4096, 9000, 65536, 200_000])) for _ in range(300)]
    for content in (
        PcapFormat().file(stamped(packets)),
        PcapngFile().add(section(), interface()).packets(packets).bytes(),
    ):
        with as_file(content) as fd:
            theirs = read_stock(fd)
        for window in (65536, 131072, 1 << 21):
            with as_file(content) as fd:
                assert not first_difference(read_ours(fd, window_bytes=window), theirs)
            with as_stream(content, (4096, 4095, 1)) as fd:
                assert not first_difference(read_ours(fd, window_bytes=window), theirs)


@pytest.mark.parametrize("window", [1, 4096, 65535, 65537, 1 << 31])
def test_windows_that_are_refused(window: int) -> None:
    with as_file(SMALL["us"]) as fd:
        (event,) = read_ours(fd, window_bytes=window).events
        assert event[0] == "error" and "power of two" in str(event[1])


def test_a_directory_and_no_file(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    story = read_ours(fd)
    assert story == read_stock(fd)
    assert "Is a directory" in str(story.events)
    os.close(fd)
    error = ffi.new("struct ffpf_error *")
    out = ffi.new("struct ffpf_reader **")
    assert lib.ffpf_savefile_open(out, ffi.NULL, ffi.NULL, error) == -lib.FFPF_E_INVALID
    assert ffi.string(error.text) == b"Null FILE * pointer provided to savefile open routine"


def test_non_blocking_descriptor() -> None:
    """With nothing to read it fails as libpcap does, and goes on when there is something."""
    content = SMALL["us"]
    stories = []
    for read in (read_stock, read_ours):
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.write(writer, content[:-30])
        stories.append(read(reader))
        os.close(reader)
        os.close(writer)
    assert stories[0] == stories[1]
    assert ("error", "error reading dump file: Resource temporarily unavailable") in stories[1].events
