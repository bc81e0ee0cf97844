# SPDX-License-Identifier: BSD-3-Clause
"""A lane's PBuf against a model of it: whatever is stored in whatever order, the records that the positions say are
there are there, whole, and nothing else is written."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from pyffpf._core import ffi, lib

CELL = lib.FFPF_CELL_BYTES
HEAD = lib.FFPF_RECORD_DATA
SLACK = 4096 * CELL
STORES = (lib.FFPF_STORE_WORDS, lib.FFPF_STORE_MEMCPY, lib.FFPF_STORE_STREAM)


def packet(number: int, length: int) -> bytes:
    """Octets that no other number gives."""
    return bytes((number * 193 + i * 7 + (i >> 3)) & 255 for i in range(length))


@settings(deadline=None, print_blob=True, max_examples=150)
@given(
    size_log2=st.integers(3, 9),
    first_lap=st.sampled_from([0, 1, 5, (1 << 26) - 1, 1 << 40]),
    store=st.sampled_from(STORES),
    steps=st.lists(st.tuples(st.integers(0, 1200), st.booleans(), st.booleans()), max_size=60),
)
def test_pbuf_holds_what_the_positions_say(
    size_log2: int, first_lap: int, store: int, steps: list[tuple[int, bool, bool]]
) -> None:
    """steps: octets of a packet, whether the claim is committed, whether it is published then."""
    size = 1 << size_log2
    config = ffi.new("struct ffpf_lane_config *", {"pbuf_bytes": size * CELL, "store": store, "first_lap": first_lap})
    out = ffi.new("struct ffpf_lane **")
    error = ffi.new("struct ffpf_error *")
    assert lib.ffpf_lane_create(out, config, error) == 0, ffi.string(error.text)
    lane = out[0]
    w = first = size * max(first_lap, 1)
    announced = published = w
    records: list[tuple[int, int, bytes]] = []
    page = ffi.cast("uint64_t *", lane.region.base)  # as in layout.h: w, wrap, intent at octets 64, 72, 128
    try:
        for number, (length, committed, publishes) in enumerate(steps):
            cells = -(-(HEAD + length) // CELL)
            if cells > lane.max_cells:
                continue
            data = packet(number, length)
            cell = lib.ffpf_lane_claim(lane, cells)
            announced = max(announced, w + cells)
            record = ffi.new("struct ffpf_record *", {"cap_len": length, "wire_len": length})
            head = length // 16 * 16 if number % 3 else 0
            lib.ffpf_lane_store(lane, cell, record, data[:head], head, data[head:])
            if committed:
                assert lib.ffpf_lane_commit(lane, cell, cells) == w
                records.append((w, cells, data))
                w += cells
            if publishes:
                lib.ffpf_lane_publish(lane)
                published = w
            assert lane.w == w
            assert (page[8], page[9], page[16]) == (published, (published - first) // size, announced)
            memory = bytes(ffi.buffer(lane.cells, size * CELL + SLACK))
            for position, used, content in records:
                if announced > position + size:
                    continue  # lapped
                at = position % size * CELL
                stamp = int.from_bytes(memory[at : at + 8], "little")
                assert stamp == position
                assert memory[at + HEAD : at + HEAD + len(content)] == content
                assert at + used * CELL <= len(memory)
    finally:
        lib.ffpf_lane_destroy(lane)
