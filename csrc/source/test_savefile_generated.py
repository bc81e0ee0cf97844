# SPDX-License-Identifier: BSD-3-Clause
"""Savefiles that hypothesis makes, breaks and cuts: ours tells of them what the system's libpcap tells."""

from __future__ import annotations

import struct

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compat_tests import capture_files as files
from compat_tests.capture_files import PcapFormat, Record, enhanced, interface, section
from source.savefile_stock import NANO, assert_same

PROPERTIES = settings(deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))


@st.composite
def pcap_files(draw: st.DrawFn) -> bytes:
    layout = PcapFormat(
        order=draw(st.sampled_from("<>")),
        magic=draw(st.sampled_from([files.MAGIC_US, files.MAGIC_NS, files.MAGIC_KUZNETZOV])),
        version=draw(st.sampled_from([(2, 4), (2, 4), (2, 3), (2, 2), (543, 0)])),
        snap_len=draw(st.sampled_from([0, 30, 64, 65535, 262144, 2**31])),
        link_type=draw(st.sampled_from([1, 1, 1, 101, 113, 220, 239])),
    )
    record = st.builds(
        Record,
        st.binary(max_size=90),
        wire_len=st.sampled_from([-1, 0, 20, 2000]),
        seconds=st.integers(0, 2**32 - 1),
        fraction=st.integers(0, 2**32 - 1),
        cap_len=st.sampled_from([-1] * 20 + [0, 50, 100, 300000, 2**32 - 1]),
    )
    return layout.file(draw(st.lists(record, max_size=12)))


@st.composite
def pcapng_files(draw: st.DrawFn) -> bytes:
    order = draw(st.sampled_from("<>"))
    link_type, snap_len = draw(st.sampled_from([1, 101, 220])), draw(st.sampled_from([0, 40, 262144]))
    data = st.binary(max_size=60)
    some_interface = st.builds(
        lambda octet, offset: interface(order, link_type, snap_len, resolution=octet, offset=offset),
        st.one_of(st.none(), st.integers(0, 255)),
        st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    )
    block = st.one_of(
        st.builds(
            lambda d, t, i, w: enhanced(order, d, t, interface_id=i, wire_len=w),
            data, st.integers(0, 2**64 - 1), st.integers(0, 2), st.sampled_from([0, 20, 2000]),
        ),
        st.builds(lambda d, w: files.simple(order, d, wire_len=w), data, st.sampled_from([0, 20, 60])),
        st.builds(lambda d, t: files.obsolete(order, d, t), data, st.integers(0, 2**64 - 1)),
        some_interface,
        st.builds(lambda kind, d: files.block(order, kind, d), st.integers(4, 2**32 - 1), data),
        st.just(section(order)),
    )  # fmt: skip
    parts = [section(order), draw(some_interface), *draw(st.lists(block, max_size=12))]
    return b"".join(parts)


def mutated(data: st.DataObject, content: bytes) -> bytes:
    """Perhaps cut, perhaps with some octets changed."""
    octets = bytearray(content)
    for _ in range(data.draw(st.integers(0, 3))):
        if octets:
            octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    return bytes(octets[: data.draw(st.one_of(st.just(len(octets)), st.integers(0, len(octets))))])


CHUNKS = st.lists(st.integers(1, 200), min_size=1, max_size=5)


@settings(PROPERTIES, max_examples=400)
@given(st.data(), pcap_files(), CHUNKS)
def test_generated_pcap(data: st.DataObject, content: bytes, chunks: list[int]) -> None:
    assert_same(mutated(data, content), chunks=chunks)


@settings(PROPERTIES, max_examples=400)
@given(st.data(), pcapng_files(), CHUNKS)
def test_generated_pcapng(data: st.DataObject, content: bytes, chunks: list[int]) -> None:
    assert_same(mutated(data, content), chunks=chunks)


@settings(PROPERTIES, max_examples=200)
@given(st.binary(max_size=64))
def test_any_octets(content: bytes) -> None:
    for start in (b"", content[:4], struct.pack("<I", files.MAGIC_US), struct.pack("<I", files.BLOCK_SECTION)):
        assert_same(start + content, chunks=(3,), precisions=(NANO,))
