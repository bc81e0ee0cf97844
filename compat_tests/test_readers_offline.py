# SPDX-License-Identifier: BSD-3-Clause
"""Other unmodified tools on savefiles: tshark, ngrep, tcpflow, p0f, arpwatch, tcprewrite."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from compat_tests import harness, offline
from compat_tests.harness import Case, Expect, Outcome, without_costs

NO_HANDLE = Expect(handles=0)


def well_formed(captures: tuple[Path, ...]) -> tuple[Path, ...]:
    """Without the capture whose headers lie about lengths: ngrep and tcpflow believe them, and read behind the packet.

    What they find there is left over from other packets in any library's buffer; on stock it differs from run to run.
    """
    return tuple(path for path in captures if path.name != "malformed.pcap")


def every(captures: tuple[Path, ...], before: list[str], after: list[str], expect: Expect = NO_HANDLE) -> list[Case]:
    """BEFORE CAPTURE AFTER for each capture; handles are demanded where stock could read the capture."""
    counts = offline.stock_counts(captures)
    unreadable = replace(expect, handles=0)
    return [Case((*before, str(path), *after), expect if path in counts else unreadable) for path in captures]


SERVED = Expect()
FLOWS = Expect(normalise=without_costs)


def joined(captures: tuple[Path, ...], directory: Path, together: int = 12) -> list[Path]:
    """Sound captures, some at a time in one pcapng file, and each of the others as it is: tshark is slow to start."""
    sound = [path for path in captures if path in offline.stock_counts(captures)]
    files = [path for path in captures if path not in sound]
    for start in range(0, len(sound), together):
        target = directory / f"joined-{start}.pcapng"
        parts = sound[start : start + together]
        done = subprocess.run(
            ["mergecap", "-a", "-F", "pcapng", "-w", target, *parts], capture_output=True, check=False
        )
        files += [target] if done.returncode == 0 else parts
    return files


def test_tshark_prints_the_same(captures: tuple[Path, ...], tmp_path: Path) -> None:
    """tshark reads files with its own library: of libpcap it calls only pcap_lib_version. It must not be disturbed."""
    files = sorted({*joined(captures, tmp_path), *captures[::8]})
    harness.assert_all_same([Case(("tshark", "-n", "-r", str(path)), NO_HANDLE) for path in files])


@pytest.mark.parametrize("options", [["-x", "-Y", "ip"], ["-V", "-c", "3"], ["-w", "out"], ["-T", "json", "-c", "2"]])
def test_tshark_forms(captures: tuple[Path, ...], options: list[str]) -> None:
    harness.assert_all_same(every(captures[::40], ["tshark", "-n", "-r"], options))


def test_tshark_opens_no_handle(captures: tuple[Path, ...]) -> None:
    """Why the comparisons of tshark -r ask for no handle: this fails when tshark begins to read through libpcap."""
    outcome = harness.run(["tshark", "-n", "-r", str(captures[0])], harness.FFPF)
    harness.assert_served(outcome, NO_HANDLE)
    assert outcome.total("handles") == 0 and outcome.stdout


def test_tshark_refuses_capture_filters_with_the_same_words(captures: tuple[Path, ...]) -> None:
    harness.assert_all_same([Case(("tshark", "-r", str(captures[0]), "-f", "ip"), NO_HANDLE)])


@pytest.mark.parametrize(
    "words",
    [
        ["-q", "-x", "-t"],
        ["-q", "-W", "byline", "http|SIP"],
        ["-q", "-v", "zz", "ip and not port 80"],
        ["-q", "-O", "out"],
    ],
)
def test_ngrep(captures: tuple[Path, ...], words: list[str]) -> None:
    harness.assert_all_same(every(well_formed(captures), ["ngrep", "-I"], words, SERVED))


@pytest.mark.parametrize("words", [[], ["tcp port 80 or tcp port 179"]])
def test_tcpflow(captures: tuple[Path, ...], words: list[str]) -> None:
    """Only of packets that were captured whole: tcpflow reads all of a cut packet's first length, behind its end."""
    whole = offline.uncut(well_formed(captures))
    assert len(whole) > len(captures) // 2
    harness.assert_all_same(every(whole, ["tcpflow", "-r"], words, FLOWS))


def test_tcpflow_on_the_console(captures: tuple[Path, ...]) -> None:
    harness.assert_all_same(every(offline.uncut(well_formed(captures))[::4], ["tcpflow", "-c", "-r"], [], FLOWS))


def test_p0f(captures: tuple[Path, ...]) -> None:
    harness.assert_all_same(every(captures[::2], ["p0f", "-r"], [], SERVED))


def test_tcprewrite(captures: tuple[Path, ...]) -> None:
    """Reads with pcap_next and writes with pcap_dump into a dumper of its own making."""
    harness.assert_all_same(every(captures[::2], ["tcprewrite", "--ttl=17", "--outfile=out", "--infile"], [], SERVED))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["ssldump", "-AdHn", "-r"], ["tcp"]),
        (["dnscap", "-g", "-w", "out", "-r"], []),
        (["httpry", "-r"], []),
    ],
    ids=lambda words: words[0] if words else "",
)
def test_readers_of_one_protocol(captures: tuple[Path, ...], before: list[str], after: list[str]) -> None:
    harness.assert_all_same(every(captures[::6], before, after, SERVED))


SLICED = ("mixed", "imix", "vlan", "jumbo", "snapped", "pcap-us-little", "pcap-us-big", "pcap-ns-little", "raw")


@pytest.mark.parametrize("words", [["-R"], ["-t"], ["-w", "out"], ["-w", "out", "+1", "+5"]], ids=" ".join)
def test_tcpslice(captures: tuple[Path, ...], words: list[str]) -> None:
    """It looks for times in the middle of files, by the FILE that pcap_file() gives, and joins several."""
    files = [str(path) for path in captures if path.stem in SLICED and path.suffix == ".pcap"]
    assert len(files) == len(SLICED)
    times = [word for word in words if word.startswith("+")]
    options = [word for word in words if word not in times]
    cases = [
        Case(("tcpslice", *options, *times, *some), NO_HANDLE) for some in ([[file] for file in files] + [files[:2]])
    ]
    harness.assert_all_same(cases)


def test_arpwatch(captures: tuple[Path, ...]) -> None:
    """arpwatch leaves its directory, and takes a database only where the file is there already."""
    counts = offline.stock_counts(captures)

    def with_database(directory: Path) -> None:
        (directory / "arp.dat").touch()

    served = 0
    for path in captures:
        if "arp" not in path.name and path.name != "mixed.pcap" and path not in captures[::20]:
            continue
        # It asks the name server about every station: without a network it learns at once that there is none.
        argv = ["unshare", "-n", "arpwatch", "-d", "-Q", "-N", "-f", "{cwd}/arp.dat", "-r", str(path)]
        stock, ffpf = harness.run_both(argv, prepare=with_database)
        harness.assert_same(stock, ffpf, SERVED if path in counts else NO_HANDLE)
        served += arp_entries(stock)
    assert served, "no capture had an ARP packet: nothing was shown"


def arp_entries(outcome: Outcome) -> int:
    """Lines of the database that arpwatch kept."""
    return len(outcome.files["arp.dat"].splitlines())
