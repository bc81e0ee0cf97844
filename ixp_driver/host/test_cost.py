# SPDX-License-Identifier: BSD-3-Clause
"""The copy modes' costs: sums that can be done by hand, and the counts that the driver gives for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixp_driver.host import cost
from ixp_driver.host.conftest import PACKETS
from ixp_driver.host.cost import Load, Pci
from ixp_driver.host.counting import counted_run
from ixp_driver.host.running import running

PCI = Pci(read_ns=100, burst_ns=200, burst_word_ns=10, write_ns=7, host_ns=1)
NOTHING = {"reads": 0.0, "bursts": 0.0, "burst_words": 0.0, "writes": 0.0}


def test_sums_by_hand() -> None:
    driver = {"reads": 0.5, "bursts": 2.0, "burst_words": 14.0, "writes": 0.25}
    own = 0.5 * 100 + 2 * 200 + 12 * 10 + 0.25 * 7
    copy = 200 + (2 * 16 - 1) * 10  # 48 + 60 octets: two cells
    load = Load(octets=60, filter_accesses=3, share=0.5, accesses=8)
    assert cost.driver_ns(driver, PCI) == own
    assert cost.copy_ns(60, PCI) == copy
    assert cost.packet_ns("zero copy", driver, load, PCI) == own + (3 + 4) * 100
    assert cost.packet_ns("all", driver, load, PCI) == own + copy + (3 + 4) * 1
    assert cost.packet_ns("interesting", driver, load, PCI) == own + 3 * 100 + 0.5 * (copy + 8 * 1)
    with pytest.raises(ValueError, match="no copy mode"):
        cost.packet_ns("some", driver, load, PCI)


@given(octets=st.integers(1, 9000), share=st.floats(0.01, 1), looks=st.integers(0, 40), more=st.floats(0.01, 20))
def test_each_side_of_the_crossover(octets: int, share: float, looks: int, more: float) -> None:
    """Below it zero copy costs less, above it copying does."""
    for other, at in (
        ("interesting", cost.crossover(octets, PCI)),
        ("all", cost.crossover_all(Load(octets, looks, share), PCI)),
    ):
        below, above = (Load(octets, looks, share, max(0.0, at + way)) for way in (-more, more))
        assert cost.packet_ns(other, NOTHING, above, PCI) < cost.packet_ns("zero copy", NOTHING, above, PCI)
        if at > more:
            assert cost.packet_ns(other, NOTHING, below, PCI) > cost.packet_ns("zero copy", NOTHING, below, PCI)


def whole(counted: Mapping[str, int]) -> None:
    """What holds in each mode: of each packet its entry and its record's header were read, and R was told."""
    assert counted["packets"] == PACKETS
    assert counted["bursts"] == 2 * PACKETS + counted["copied"]
    assert counted["burst_words"] == PACKETS * (2 + 12) + counted["copied_bytes"] // 4
    assert counted["reads"] > 0
    assert counted["writes"] > 0


def test_what_the_driver_counts_is_what_the_mode_copies(tmp_path: Path, imix: Path) -> None:
    copied = {}
    for mode in cost.MODES:
        with running(tmp_path, f"pcap:{imix}") as board:
            counted, delivered = counted_run(board, mode, "less 100", PACKETS)
        whole(counted)
        copied[mode] = counted["copied"]
        assert 0 < delivered < PACKETS
    assert copied == {"zero copy": 0, "all": PACKETS, "interesting": delivered}
