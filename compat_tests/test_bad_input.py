# SPDX-License-Identifier: BSD-3-Clause
"""What a user sees when the input is bad or the output cannot be written: the same words and exit codes as stock."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from compat_tests import harness
from compat_tests.harness import Case, Expect, Outcome

UNREADABLE = Expect(handles=0, normalise=harness.without_costs)  # tcpflow's report has the time of day
BASES = (
    "pcap-us-little.pcap",
    "pcap-ns-big.pcap",
    "pcap-kuznetzov-little.pcap",
    "pcapng-little.pcapng",
    "pcapng-big.pcapng",
)
HEADER_OCTETS = {".pcap": 24 + 16 + 4, ".pcapng": 28 + 20 + 36}  # of the file and its first packet


@pytest.fixture(scope="module")
def named(captures: tuple[Path, ...]) -> dict[str, Path]:
    return {path.name: path for path in captures}


def read(path: Path) -> Case:
    return Case(("tcpdump", "-nn", "-e", "-r", str(path)), UNREADABLE)


@pytest.mark.parametrize("base", BASES)
def test_cut_at_every_octet_of_the_headers(named: dict[str, Path], tmp_path: Path, base: str) -> None:
    content = named[base].read_bytes()
    cases = []
    for size in range(HEADER_OCTETS[named[base].suffix] + 12):
        path = tmp_path / f"cut-{size}"
        path.write_bytes(content[:size])
        cases.append(read(path))
    harness.assert_all_same(cases)


@pytest.mark.parametrize("base", BASES)
def test_every_octet_of_the_headers_corrupted(named: dict[str, Path], tmp_path: Path, base: str) -> None:
    content = named[base].read_bytes()
    rng = random.Random(base)
    cases = []
    for at in range(HEADER_OCTETS[named[base].suffix]):
        for value in {0x00, 0x7F, 0xFF, rng.randrange(256)} - {content[at]}:
            path = tmp_path / f"octet-{at}-is-{value:02x}"
            path.write_bytes(content[:at] + bytes([value]) + content[at + 1 :])
            cases.append(read(path))
    harness.assert_all_same(cases)


@pytest.mark.parametrize("length", [0, 4, 8, 11, 12, 13, 16, 0x7FFFFFFC, 0xFFFFFFFC, 0xFFFFFFFF])
def test_hostile_block_lengths(named: dict[str, Path], tmp_path: Path, length: int) -> None:
    """Of a pcapng file's section, interface and packet blocks, each once."""
    content = named["pcapng-simple.pcapng"].read_bytes()
    starts: list[int] = []
    at = 0
    while at < len(content) and len(starts) < 3:
        starts.append(at)
        at += struct.unpack_from("<I", content, at + 4)[0]
    cases = []
    for start in starts:
        path = tmp_path / f"block-at-{start}"
        path.write_bytes(content[: start + 4] + struct.pack("<I", length) + content[start + 8 :])
        cases.append(read(path))
    harness.assert_all_same(cases)


def test_from_standard_input(captures: tuple[Path, ...]) -> None:
    """The same from a pipe as from a file, whole and cut short."""
    cases = []
    for path in captures[::6]:
        content = path.read_bytes()
        for part in (content, content[: len(content) - 5], content[:30]):
            cases.append(Case(("tcpdump", "-nn", "-r", "-"), UNREADABLE, part))
    harness.assert_all_same(cases)


BAD_FILTERS = """ip and|tcp port|port 99999|host 300.1.1.1|ether host zz|no such word|ip proto 300|(((|vlan 5000
tcp[0:3] = 1|host nosuch.invalid|net 10.0.0.1/8|gateway x|portrange 5|ip[70000] = 1|1 = 2|\xe9|type mgt subtype nosuch
llc nosuch|mpls 2000000|less -1|len > 0x|ip6 host 1.2.3.4|rarp[0] / 0 = 1""".replace("\n", "|").split("|")


@pytest.mark.parametrize("text", BAD_FILTERS)
def test_bad_filters(named: dict[str, Path], text: str) -> None:
    path = str(named["mixed.pcap"])
    cases = [Case(("tcpdump", "-nn", "-r", path, text)), Case(("tcpdump", "-d", "-r", path, text))]
    harness.assert_all_same([*cases, Case(("ngrep", "-q", "-I", path, ".", text))])


def test_things_that_are_no_savefiles(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    names = ["/no/such/file", "/", str(empty), "/dev/null", "/etc/hostname", "/proc/self/mem"]
    tools = [("tcpdump", "-r"), ("ngrep", "-I"), ("tcpflow", "-r"), ("p0f", "-r"), ("tcpdump", "-nn", "-V")]
    harness.assert_all_same(Case((*tool, name), UNREADABLE) for tool in tools for name in names)


@pytest.mark.parametrize("target", ["/no/such/directory/out", "/", "/proc/version", "/dev/full", "/proc/self/status"])
@pytest.mark.parametrize("options", [[], ["-U"]])
def test_outputs_that_cannot_be_written(named: dict[str, Path], target: str, options: list[str]) -> None:
    cases = [
        Case(("tcpdump", "-r", str(named[name]), *options, "-w", target), UNREADABLE)
        for name in ("mixed.pcap", "imix.pcap", "empty.pcap", "gro.pcap")
    ]
    harness.assert_all_same(cases)


@contextmanager
def small_disk(size: str = "64k") -> Iterator[Path]:
    """A file system that is soon full."""
    with harness.scratch() as directory:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", "none", str(directory)], check=True)
        try:
            yield directory
        finally:
            subprocess.run(["umount", str(directory)], check=True)


@pytest.mark.parametrize("options", [[], ["-U"], ["--print", "-nn"], ["-c", "60"]])
@pytest.mark.parametrize("name", ["imix.pcap", "gro.pcap", "jumbo.pcap"])
def test_full_disk(named: dict[str, Path], name: str, options: list[str]) -> None:
    """The same words, and the same octets on the disk when it is full."""
    outcomes: list[tuple[Outcome, bytes]] = []
    with small_disk() as disk:
        for side in (harness.STOCK, harness.FFPF):
            out = disk / "out"
            argv = ["tcpdump", "-r", str(named[name]), *options, "-w", str(out)]
            outcome = harness.run(argv, side)
            outcomes.append((outcome, out.read_bytes()))
            out.unlink()
    (stock, on_disk), (ffpf, on_disk_too) = outcomes
    harness.assert_same(stock, ffpf)
    assert on_disk == on_disk_too, harness.first_difference(on_disk, on_disk_too)


@pytest.mark.parametrize("trap", ["", "trap '' PIPE;"], ids=["killed", "ignored"])
@pytest.mark.parametrize("options", ["-w -", "-U -w -", "-nn", "-nn -l"])
def test_closed_pipe(named: dict[str, Path], options: str, trap: str) -> None:
    """A reader that takes 100 octets and goes. (tcpdump takes SIGPIPE for a wish to stop, and ends in good order.)"""
    reader = "(head -c 100; exec <&-; sleep 0.1)"
    command = f"tcpdump -r {named['imix.pcap']} {options}"
    script = f"{trap} {command} | {reader}; status=${{PIPESTATUS[0]}}; echo; echo $status"
    stock, ffpf = harness.run_both(["bash", "-c", script])
    assert 100 < len(stock.stdout) < 110
    harness.assert_same(stock, ffpf, UNREADABLE)
