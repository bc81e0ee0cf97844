# SPDX-License-Identifier: BSD-3-Clause
"""What a reader sees of several MBufs, beside the same said of numbers one by one."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpl.percpu import OPERATORS, Merge, of_json
from pyffpf.errors import NotSupported
from pyffpf.percpu_mbuf import PerCpuMBuf, merged

OCTETS = 64


def one_by_one(parts: list[bytes], each: Merge) -> bytes:
    out, size = b"", each.bits // 8
    for at in range(each.at, each.at + each.octets, size):
        numbers = [int.from_bytes(part[at : at + size], "little", signed=each.signed) for part in parts]
        some = [number for number in numbers if number] or [0]
        total = 0
        for number in numbers:
            total |= number
        value = {"sum": sum(numbers), "max": max(some), "min": min(some), "or": total}[each.by]
        out += (value & (1 << each.bits) - 1).to_bytes(size, "little")
    return out


@given(st.integers(0, 1 << 64), st.integers(1, 5))
def test_every_kind_and_operator(seed: int, lanes: int) -> None:
    chance, merges = random.Random(seed), list[Merge]()
    for at in range(0, OCTETS, 16):
        merges.append(Merge(at, 16, chance.choice((8, 16, 32, 64)), chance.random() < 0.5, chance.choice(OPERATORS)))
    parts = [bytes(chance.choice((0, 0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256))) for _ in range(OCTETS))
             for _ in range(lanes)]  # fmt: skip
    array = np.stack([np.frombuffer(part, np.uint8) for part in parts])
    assert merged(array, merges).tobytes() == b"".join(one_by_one(parts, each) for each in merges)
    assert [of_json(each.said()) for each in merges] == merges


def test_it_is_a_copy_that_nobody_writes() -> None:
    memory = bytearray(2 * 128)
    there = PerCpuMBuf(memory, at=64, octets=8, lanes=2, stride=128, merges=[Merge(0, 8, 32, False, "sum")])
    before = there.read()
    memory[64], memory[128 + 64], memory[128 + 68] = 3, 4, 9
    assert before.tolist() == [0] * 8
    assert there.read().view(np.uint32).tolist() == [7, 9]
    for written in (before, before.view(np.uint32)):
        with pytest.raises(NotSupported, match="each CPU has an MBuf of its own here"):
            written[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        before += 1


@pytest.mark.parametrize("wrong", [{"by": "mean"}, {"bits": 24}, {"at": -1}, {"octets": 0}])
def test_what_is_no_merge_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no merge"):
        of_json(Merge(0, 8, 32, False, "sum").said() | wrong)
