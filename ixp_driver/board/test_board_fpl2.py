# SPDX-License-Identifier: BSD-3-Clause
"""FPL-2 on the board, as its readers see it: the tables of cases that all back ends run, emitted as microcode, five
programs a run, all four contexts of each taking packets in turn; results by the reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from fpl.fpl2 import check
from fpl.fpl2.compile import Checked
from fpl.fpl2.microengine import NotForBoardError, microcode
from fpl.fpl2.reference import Machine
from fpl.fpl2.test_back_ends import CASES, FIELDS, PACKETS
from fpl.fpl2.test_fields import TRUE_OF
from ixp_driver.board.test_board import check_counters, checksum, write_capture
from ixp_driver.board.testing import play
from ixp_driver.microc import Object

AT_ONCE = 5
FIRST_NS, STEP_NS = 1_700_000_000 * 10**9, 7_000
ROUNDS = 3  # of all packets


def compiled(texts: Sequence[str]) -> list[tuple[Checked, Object]]:
    """Those that fit an engine, and keep nothing from packet to packet: contexts would take turns with it."""
    found = []
    for text in texts:
        checked = check(text, mbuf_bytes=64, interface=None)
        if checked.cost.uses_memory:
            continue
        try:
            found.append((checked, microcode(checked)))
        except NotForBoardError as error:
            assert "microwords" in str(error), error
    return found


@pytest.mark.parametrize(
    ("texts", "packets"),
    [
        ([text for text, _ in FIELDS], PACKETS),
        ([text for text, *_ in CASES], [packet for _, packet, *_ in CASES]),
        ([f"RETURN {text};" for _, text in TRUE_OF[::2]], [packet for packet, _ in TRUE_OF]),
    ],
    ids=["fields", "cases", "names"],
)
def test_results_are_the_references(tmp_path: Path, texts: list[str], packets: list[bytes]) -> None:
    sent = [(FIRST_NS + STEP_NS * at, packet) for at, packet in enumerate(packets * ROUNDS)]
    write_capture(tmp_path / "in.pcap", sent)
    programs = compiled(texts)
    assert len(programs) > 2 * AT_ONCE
    for first in range(0, len(programs), AT_ONCE):
        some = programs[first : first + AT_ONCE]
        played = play(tmp_path, [f"pcap:{tmp_path}/in.pcap,hold={len(some)}"], [made for _, made in some])
        check_counters(played)
        for (checked, _), reader in zip(some, played["readers"], strict=True):
            results = [(at, packet, Machine(packet, {}, bytearray(64)).run(checked.program)) for at, packet in sent]
            assert reader["sum"] == checksum([each for each in results if each[2]]), checked.source.text
