# SPDX-License-Identifier: BSD-3-Clause
"""The places of counters are those of csrc/layout.h."""

from __future__ import annotations

import re
from pathlib import Path

from pyffpf.daemon import pages


def test_places_are_those_of_the_layout(root: Path) -> None:
    text = (root / "csrc" / "layout.h").read_text()
    places = {(struct, field): int(at) for struct, field, at in re.findall(r"FFPF_AT\((\w+), (\w+), (\d+)\)", text)}
    sizes = {struct: int(octets) for struct, octets in re.findall(r"FFPF_SIZE\((\w+), (\d+)\)", text)}
    assert places["ffpf_lane_page", "records"] == pages.LANE_RECORDS
    assert places["ffpf_reader_page", "delivered"] == pages.READER_DELIVERED
    assert places["ffpf_reader_page", "filtered"] == pages.READER_FILTERED
    assert places["ffpf_reader_page", "lapped"] == pages.READER_LAPPED
    assert places["ffpf_counts_page", "counts"] == pages.COUNTS_FIRST
    assert places["ffpf_counts", "nested"] == pages.COUNTS_NESTED
    assert places["ffpf_counts", "no_lane"] == pages.COUNTS_NO_LANE
    assert sizes["ffpf_counts"] == pages.COUNTS_BYTES
    assert sizes["ffpf_counts_page"] == pages.COUNTS_PAGE_BYTES
    assert sizes["ffpf_lane_page"] == sizes["ffpf_reader_page"] == pages.PAGE_BYTES
