# SPDX-License-Identifier: BSD-3-Clause
"""The quick part of the matrix: every tool, in every engine, on every family of captures; and that it finds faults."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from compat_tests import captures
from compat_tests.capture_files import PcapFormat, Record
from compat_tests.harness import FFPF, ROOT, STOCK, Outcome
from compat_tests.regression import __main__ as matrix
from compat_tests.regression import broken, decode, measure, report, traffic
from compat_tests.regression.cell import Cell, Verdict
from compat_tests.regression.engines import ENGINES
from compat_tests.regression.measure import Measured
from compat_tests.regression.report import Result
from compat_tests.regression.tools import TOOLS, named


@pytest.mark.live
@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_differs(tmp_path: Path, engine: str) -> None:
    cells, left_out = matrix.plan(tmp_path, False, [engine])
    verdicts = [verdict for _, found in matrix.run(cells, TOOLS) for verdict in found]
    result = Result(verdicts, [tool.name for tool in TOOLS if tool.missing], 0.0, left_out)
    print(report.text(result))
    assert not set(result.missing) & {tool.name for tool in TOOLS if tool.packaged}
    assert not result.bad, "\n\n".join(report.story(verdict) for verdict in result.bad)
    written = {verdict.tool: verdict.stock for verdict in result.verdicts if verdict.cell.group.whole}
    sent = traffic.families(tmp_path)[0].packets + 1  # and the frame that ends the replay
    assert written["tcpdump -w"].packets == written["dumpcap"].packets == sent


def outcome(name: str, packets: list[bytes]) -> Outcome:
    made = Outcome(STOCK if name == "stock" else FFPF, ("tcpdump",), Path())
    made.files["out"] = PcapFormat().file([Record(data, seconds=5 + i) for i, data in enumerate(packets)])
    return made


def test_the_first_packet_that_differs_is_decoded_and_found_in_its_capture(tmp_path: Path) -> None:
    frames = [
        bytes(12) + struct.pack(">H", 0x0806) + bytes([0, 1, 8, 0, 6, 4, 0, 1]) + bytes([i]) * 20 for i in range(5)
    ]
    members_of = []
    for name, members in (("one.pcap", frames[:3]), ("two.pcap", frames[3:])):
        path = tmp_path / name
        path.write_bytes(PcapFormat().file([Record(data) for data in members]))
        members_of.append(traffic.readable(path))
    group = traffic.Group("two", tuple(members_of))
    assert group.packets == 5
    changed = [*frames[:3], frames[3][:-1] + b"\xff", frames[4]]
    words = decode.first_difference(outcome("stock", frames), outcome("ffpf", changed), group)
    assert words.startswith("packet 4 of the run (packet 1 of two.pcap):")
    assert re.search(r"^-\s+0x0020: .*0303 0303 ", words, re.M)
    assert re.search(r"^\+\s+0x0020: .*0303 03ff ", words, re.M)
    assert "ARP" in words
    assert "(no packet)" in decode.first_difference(outcome("stock", frames), outcome("ffpf", frames[:4]), group)
    assert decode.first_difference(outcome("stock", frames), outcome("ffpf", frames), group) == ""


def test_what_a_savefile_holds_is_measured() -> None:
    made = outcome("stock", [bytes(60), bytes(100)])
    assert measure.measured(made) == Measured(2, 160, 0)
    content = PcapFormat().file([Record(bytes(60), seconds=5), Record(bytes(60), seconds=4)])
    made.files["out"] = content
    assert measure.measured(made) == Measured(2, 120, 1)
    made.files["out"] = b"text"
    assert measure.measured(made) == Measured()


def test_reports_tell_what_differs(tmp_path: Path) -> None:
    cell = Cell(traffic.Group("<a>", ()), 5, "embedded")
    good = Verdict(cell, "tcpdump", "same", Measured(1, 60, 0), Measured(1, 60, 0))
    bad = Verdict(cell, "ngrep", "different", Measured(), Measured(), "line 3: <b>", "decoded", "again this")
    result = Result([good, bad], ["snort"], 3.0, {"x.pcap": "of link type 9"})
    assert result.summary() == "2 comparisons in 3 s: 1 same, 1 different; not installed: snort"
    report.write(result, tmp_path)
    for name in ("report.txt", "report.html"):
        words = (tmp_path / name).read_text()
        for said in ("decoded", "again this", "x.pcap", "of link type 9", "1 packets, 60 octets"):
            assert said in words
    assert "<b>" not in words
    assert words.count('class="different"') == 3  # legend, overview, matrix


def test_faults_that_the_matrix_is_tried_with_can_be_put_in(tmp_path: Path) -> None:
    """Whether each is found is asked by `python -m compat_tests.regression.broken`, which builds for each."""
    known = {tool.name for tool in TOOLS}
    assert len(broken.faults()) >= 20
    for number, fault in enumerate(broken.faults()):
        copy = tmp_path / str(number) / fault.file
        copy.parent.mkdir(parents=True)
        copy.write_text((ROOT / fault.file).read_text())
        fault.put_in(tmp_path / str(number))
        assert copy.read_text() != (ROOT / fault.file).read_text()
        assert fault.tool in known
        assert fault.engine in ENGINES


def test_unknown_tools_are_refused() -> None:
    with pytest.raises(ValueError, match="no tool is called 'wireshark'; there are: tcpdump -w,"):
        named(["wireshark"])


def test_captures_that_no_interface_takes_are_left_out(tmp_path: Path) -> None:
    for frames, link_type, why in (
        ([bytes(13)], 1, "frame of 13 octets"),
        ([bytes(traffic.MOST + 1)], 1, "frame of 65550 octets"),
        ([bytes(60)], 101, "link type 101"),
        ([], 1, "no packet"),
    ):
        path = tmp_path / "x.pcap"
        path.write_bytes(PcapFormat(link_type=link_type, snap_len=262144).file([Record(data) for data in frames]))
        with pytest.raises(traffic.UnsendableError, match=why):
            traffic.readable(path)


def test_captures_that_pcapfile_does_not_read_are_replayed_as_stock_reads_them(tmp_path: Path) -> None:
    """Those of pcapng, of another variant of pcap, and with a check sequence's length beside their link type."""
    made = {path.name: path for path in captures.write_families(tmp_path)}
    for name, packets in (("pcapng-big.pcapng", 31), ("pcap-kuznetzov-big.pcap", 40), ("pcap-fcs.pcap", 40)):
        assert traffic.readable(made[name]).packets == packets
