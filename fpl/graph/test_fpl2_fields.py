# SPDX-License-Identifier: BSD-3-Clause
"""FPL-2 in the kernel: names of fields, tunnels, addresses of 128 bits, sets and strings, beside the reference."""

from __future__ import annotations

import pytest

from fpl.fpl2.test_fields import TRUE_OF
from fpl.fpl2.test_sets import STRINGS, TERMS, from4, from6
from fpl.graph.testing import TestStage
from fpl.graph.testing_fpl2 import KernelPrograms, expected, seen


def held(made: TestStage, cases: list[tuple[str, list[bytes]]]) -> None:
    """Programs that the kernel takes, all in one, and what they say of these packets."""
    texts = [f"RETURN {text};" for text, _ in cases]
    loaded = KernelPrograms(made, texts, 0)
    try:
        assert loaded.refused == {}
        for number, (text, (_, packets)) in enumerate(zip(texts, cases, strict=True)):
            shown = [seen(packet) for packet in packets]
            assert loaded.run(number, shown) == expected(text, shown, 0)[0], text
    finally:
        loaded.close()


@pytest.mark.parametrize("part", range(4))
def test_names(made: TestStage, part: int) -> None:
    cases = TRUE_OF[part::4]
    packets = [packet for packet, _ in cases]
    held(made, [(text, packets) for _, text in cases])


def test_addresses(made: TestStage) -> None:
    held(made, [(term, [from6(each) if ":" in each else from4(each) for each in said]) for term, said in TERMS])


def test_strings(made: TestStage) -> None:
    held(made, [(term, [from4("1.2.3.4"), from6("::1"), b""]) for term, _ in STRINGS])
