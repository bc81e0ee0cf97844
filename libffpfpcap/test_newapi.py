# SPDX-License-Identifier: BSD-3-Clause
"""What libpcap 1.11 adds: pcap_open, source strings, lists of sources, sampling.

Debian's library has none of it, so these programs run on FFPF alone.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_int, c_void_p
from pathlib import Path

import pytest

from libffpfpcap.pcap_abi import ERRBUF_SIZE, Pcap, frame, main, on_ffpf, own_network, program, savefile, send

SOURCE_SIZE = 1024
FILE, LOCAL, REMOTE = 2, 3, 4
EVERY_N, FIRST_AFTER_MS = 1, 2


class Samp(ctypes.Structure):
    """struct pcap_samp."""

    _fields_ = (("method", c_int), ("value", c_int))


class Interface(ctypes.Structure):
    """struct pcap_if."""


Interface._fields_ = (
    ("next", POINTER(Interface)),
    ("name", c_char_p),
    ("description", c_char_p),
    ("addresses", c_void_p),
    ("flags", ctypes.c_uint),
)


def new(lib: ctypes.CDLL) -> ctypes.CDLL:
    """The library with the prototypes of the newer functions."""
    lib.pcap_open.restype = c_void_p
    lib.pcap_open.argtypes = (c_char_p, c_int, c_int, c_int, c_void_p, c_char_p)
    lib.pcap_createsrcstr.argtypes = (c_char_p, c_int, c_char_p, c_char_p, c_char_p, c_char_p)
    lib.pcap_parsesrcstr.argtypes = (c_char_p, POINTER(c_int), c_char_p, c_char_p, c_char_p, c_char_p)
    lib.pcap_findalldevs_ex.argtypes = (c_char_p, c_void_p, POINTER(POINTER(Interface)), c_char_p)
    lib.pcap_freealldevs.argtypes = (POINTER(Interface),)
    lib.pcap_freealldevs.restype = None
    lib.pcap_setsampling.restype = POINTER(Samp)
    lib.pcap_setsampling.argtypes = (c_void_p,)
    return lib


def open_source(lib: ctypes.CDLL, source: str, flags: int = 0) -> Pcap:
    errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
    return Pcap(lib, new(lib).pcap_open(source.encode(), 65535, flags, 50, None, errbuf), errbuf)


@program
def source_strings(lib: ctypes.CDLL) -> None:
    new(lib)
    out, errbuf = ctypes.create_string_buffer(SOURCE_SIZE), ctypes.create_string_buffer(ERRBUF_SIZE)
    wanted: list[tuple[int, bytes | None, bytes | None, bytes | None]] = [
        (FILE, None, None, b"/a/b.pcap"),
        (FILE, None, None, None),
        (LOCAL, None, None, b"eth0"),
        (LOCAL, None, None, None),
        (REMOTE, b"host", b"2002", b"eth0"),
        (REMOTE, b"::1", b"2002", None),
        (REMOTE, None, None, b"eth0"),
        (9, b"h", b"", b""),
    ]
    for kind, host, port, name in wanted:
        status = lib.pcap_createsrcstr(out, kind, host, port, name, errbuf)
        print(kind, status, out.value.decode() if status == 0 else errbuf.value.decode())
    kind_found = c_int()
    host_found, port_found, name_found = (ctypes.create_string_buffer(SOURCE_SIZE) for _ in range(3))
    for source in (
        "file:///a/b.pcap",
        "file://",
        "rpcap://eth0",
        "rpcap://",
        "eth0",
        "",
        "rpcap://host/eth0",
        "rpcap://host:2002/eth0",
        "rpcap://[::1]:2002/",
        "rpcap://[::1",
        "rpcap://[::1/x",
        "rpcaps://user@host/eth0",
        "http://x/y",
        "rpcap:///eth0",
        "file://" + "x" * 2000,
    ):
        status = lib.pcap_parsesrcstr(source.encode(), byref(kind_found), host_found, port_found, name_found, errbuf)
        found = [part.value.decode() for part in (host_found, port_found, name_found)]
        print(
            source[:40],
            status,
            kind_found.value,
            [part[:30] for part in found],
            max(map(len, found)),
            "" if status == 0 else errbuf.value.decode(),
        )
    print(lib.pcap_parsesrcstr(b"rpcap://host/eth0", None, None, None, None, errbuf))


@program
def files_and_devices(lib: ctypes.CDLL, folder: str) -> None:
    new(lib)
    errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
    for source in (
        f"file://{folder}",
        "file://",
        f"file://{folder}/none",
        "rpcap://lo",
        "rpcap://h/",
        "gopher://",
        "rpcap://",
    ):
        found = POINTER(Interface)()
        status = lib.pcap_findalldevs_ex(source.encode(), None, byref(found), errbuf)
        names = []
        entry = found
        while entry:
            names.append(f"{entry.contents.name.decode()} [{entry.contents.description.decode()}]")
            entry = entry.contents.next
        lib.pcap_freealldevs(found)
        print(source, status, errbuf.value.decode() if status else sorted(names))


@program
def open_file_and_device(lib: ctypes.CDLL, path: str) -> None:
    p = open_source(lib, f"file://{path}")
    print("file", len(list(p.packets())))
    p.close()
    own_network()
    p = open_source(lib, "rpcap://vb", flags=1 | 16)
    p.nonblock()
    send("va", *(frame(number) for number in range(5)))
    print("device", len(list(p.packets())))
    p.close()
    for source in ("rpcap://nosuch0", "nosuch0", "rpcap://host/eth0", "file:///nosuch/file", "ftp://x", "x" * 2000):
        try:
            open_source(lib, source)
        except OSError as error:
            print("refused:", str(error)[:90])


@program
def sampling(lib: ctypes.CDLL, path: str) -> None:
    for method, value in (
        (0, 0),
        (EVERY_N, 1),
        (EVERY_N, 4),
        (EVERY_N, 0),
        (FIRST_AFTER_MS, 3000),
        (FIRST_AFTER_MS, 0),
    ):
        p = open_source(lib, f"file://{path}")
        wanted = lib.pcap_setsampling(p.handle)
        wanted.contents.method, wanted.contents.value = method, value
        print(method, value, [int.from_bytes(packet[14:18], "big") for packet in p.packets()])
        p.close()


def test_source_strings() -> None:
    lines = on_ffpf(source_strings, handles=0).splitlines()
    assert "2 0 file:///a/b.pcap" in lines
    assert "2 -1 The file name cannot be NULL." in lines
    assert "3 0 rpcap://eth0" in lines
    assert "4 0 rpcap://host:2002/eth0" in lines
    assert "4 0 rpcap://[::1]:2002/" in lines
    assert "9 -1 The interface type is not valid." in lines
    assert "file:///a/b.pcap 0 2 ['', '', '/a/b.pcap'] 9 " in lines
    assert "rpcap://eth0 0 3 ['', '', 'eth0'] 4 " in lines
    assert "rpcap://host:2002/eth0 0 4 ['host', '2002', 'eth0'] 4 " in lines
    assert "rpcap://[::1]:2002/ 0 4 ['::1', '2002', ''] 4 " in lines
    assert "rpcaps://user@host/eth0 0 4 ['host', '', 'eth0'] 4 " in lines
    assert any(line.startswith("rpcap://[::1/x -1") and "no end" in line for line in lines)
    assert any(line.startswith("http://x/y -1") and line.endswith("is not supported.") for line in lines)
    assert any(line.startswith("file://xxx") and " 1023 " in line for line in lines)  # cut to the buffer


def test_lists_of_files_and_devices(tmp_path: Path) -> None:
    for name in ("one.pcap", "two.pcap"):
        savefile(tmp_path / name, [frame(1)])
    (tmp_path / "text").write_text("no savefile")
    (tmp_path / "folder").mkdir()
    lines = on_ffpf(files_and_devices, tmp_path, handles=0).splitlines()
    assert lines[0].startswith(f"file://{tmp_path} 0 ['file://{tmp_path}/one.pcap [File '") or "one.pcap" in lines[0]
    assert lines[0].count("on local host") == 2
    assert "must include a directory" in lines[1]
    assert "No such file or directory" in lines[2]
    assert "must not include a device name" in lines[3]
    assert "not supported" in lines[4]
    assert "not supported" in lines[5]
    assert "rpcap://lo [Network adapter '" in lines[6]


@pytest.mark.live
def test_open_takes_files_and_devices(tmp_path: Path) -> None:
    path = savefile(tmp_path / "a.pcap", [frame(number) for number in range(7)])
    lines = on_ffpf(open_file_and_device, path, handles=2, served=12).splitlines()
    assert lines[:2] == ["file 7", "device 5"]
    # libpcap's pcap_open() describes a failure as its pcap_open_live() does, detail included
    assert lines[2] == "refused: nosuch0: No such device exists (No such device exists)"
    assert lines[3] == lines[2]
    assert lines[4].endswith("is not supported by this library.")
    assert lines[5].endswith("No such file or directory")
    assert len(lines) == 8


def test_sampling_keeps_what_was_asked(tmp_path: Path) -> None:
    path = savefile(tmp_path / "a.pcap", [frame(number) for number in range(12)])  # one a second, and some microseconds
    lines = on_ffpf(sampling, path, handles=6, served=12 + 12 + 3 + 12 + 4 + 12).splitlines()
    everything = str(list(range(12)))
    assert lines == [
        f"0 0 {everything}",
        f"1 1 {everything}",
        "1 4 [3, 7, 11]",
        f"1 0 {everything}",
        "2 3000 [0, 3, 6, 9]",
        f"2 0 {everything}",
    ]


if __name__ == "__main__":
    main()
