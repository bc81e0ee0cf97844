# SPDX-License-Identifier: BSD-3-Clause
"""The notebook runs, shows what it has stored, and counts as plain dpkt does."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import dpkt
import nbformat
import pytest
from nbformat import NotebookNode

from compat_tests import captures, harness, notebook

PAGE = harness.ROOT / "docs" / "notebook.ipynb"
DEFAULT = harness.SHARED_CAPTURES / "bgp-4byte-asn.pcap"
LARGEST = 400 * 1000
PROBE = """
import json
print(json.dumps({
    "packets": len(batch), "octets": int(batch["len"].sum()), "rows": [len(frame), len(packets)],
    "octets by host": {dotted(one["ip.src"]): one["octets"] for one in talkers.iter_rows(named=True)},
    "packets by host": {dotted(one["ip.src"]): one["packets"] for one in talkers.iter_rows(named=True)},
    "flags": counts, "segments": len(flags), "largest": int(sizes[-1]),
    "per second": np.histogram(seconds, edges)[0].tolist(), "width": width,
    "BGP": [int(counted[-1]), int(octets[-1])], "passed": int(seen.sum()),
}))
"""


def by_dpkt(path: Path) -> dict[str, Any]:
    """The figures that PROBE prints, from the file itself."""
    times, sizes, bgp = [], [], []
    octets, packets, flags = Counter[str](), Counter[str](), Counter[str]()
    segments = 0
    with path.open("rb") as file:
        for ts, data in dpkt.pcap.Reader(file):
            times.append(ts)
            sizes.append(len(data))
            ip = dpkt.ethernet.Ethernet(data).data
            if not isinstance(ip, dpkt.ip.IP):
                continue
            source = ".".join(map(str, ip.src))
            octets[source] += len(data)
            packets[source] += 1
            if isinstance(ip.data, dpkt.tcp.TCP):
                segments += 1
                if 179 in (ip.data.sport, ip.data.dport):
                    bgp.append(len(data))
                for at, flag in enumerate(("FIN", "SYN", "RST", "PSH", "ACK", "URG")):
                    flags[flag] += ip.data.flags >> at & 1
    width = max(1, -int(-(times[-1] - times[0]) // 60))
    bins = Counter(int((ts - times[0]) // width) for ts in times)
    return {
        "packets": len(sizes), "octets": sum(sizes), "rows": [len(sizes)] * 2,
        "octets by host": dict(octets), "packets by host": dict(packets),
        "flags": dict(flags), "segments": segments, "largest": max(sizes),
        "per second": [bins[at] for at in range(max(bins) + 1)], "width": width,
        "BGP": [len(bgp), sum(bgp)], "passed": len(sizes),
    }  # fmt: skip


def run_and_probe(folder: Path, capture: Path | None = None) -> tuple[NotebookNode, dict[str, Any]]:
    """The notebook after a run, and the figures in its kernel at the end."""
    page = nbformat.read(PAGE, as_version=4)
    page.cells.append(nbformat.v4.new_code_cell(PROBE))
    extra = {"FFPF_NOTEBOOK_CAPTURE": str(capture)} if capture else {}
    done = notebook.executed(page, folder, extra)
    return done, json.loads(done.cells.pop().outputs[0].text)


def test_shows_what_it_has_stored_and_counts_as_dpkt_does(tmp_path: Path) -> None:
    if not DEFAULT.is_file():
        pytest.skip(f"the captures are not there: {DEFAULT}")
    kept = nbformat.read(PAGE, as_version=4)
    done, figures = run_and_probe(tmp_path)
    assert figures == by_dpkt(DEFAULT)
    for before, after in zip(kept.cells, notebook.stored(done).cells, strict=True):
        assert notebook.shown(after) == notebook.shown(before), before.source
        if before.cell_type == "code":
            assert after.execution_count == before.execution_count, before.source
    kinds = [kind for cell in kept.cells for kind, _ in notebook.shown(cell)]
    assert kinds.count("image/png") >= 4 and kinds.count("image/svg+xml") == 1 and "stderr" not in kinds


def test_another_capture_by_the_variable(tmp_path: Path) -> None:
    capture = tmp_path / "an imix.pcap"
    captures.write_imix(capture, 2000, seed=1)
    done, figures = run_and_probe(tmp_path, capture)
    assert figures == by_dpkt(capture)
    assert "an imix.pcap" in "".join(text for cell in done.cells for _, text in notebook.shown(cell))


def test_stored_form() -> None:
    """Small, whole, and of no machine in particular."""
    assert PAGE.stat().st_size < LARGEST
    page = nbformat.read(PAGE, as_version=4)
    nbformat.validate(page)
    text = PAGE.read_text()
    assert str(harness.ROOT.parent) not in text
    assert not re.search(r"/(home|root|tmp|var|usr)/|file:/", text)
    assert not re.search(r"0x[0-9a-f]{9,}", text)  # where an object was in memory
    assert notebook.stored(page) == page
    code = [cell for cell in page.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))


def test_what_a_cell_shows() -> None:
    stream = {"output_type": "stream", "name": "stdout"}
    picture = {"output_type": "display_data", "data": {"image/png": "AAAA", "text/plain": "<Figure>"}, "metadata": {}}
    cell = nbformat.from_dict({"outputs": [{**stream, "text": "a"}, {**stream, "text": "b"}, picture]})
    assert notebook.shown(cell) == [("stdout", "ab"), ("image/png", "")]
    cell.outputs[1].text = "c"
    assert notebook.shown(cell) != [("stdout", "ab"), ("image/png", "")]
