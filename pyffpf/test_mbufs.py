# SPDX-License-Identifier: BSD-3-Clause
"""MBufs as numpy arrays: layouts are those of the classes' headers."""

from __future__ import annotations

import numpy as np

from pyffpf import mbufs
from pyffpf._core import ffi, lib


def test_every_class_with_memory_has_a_layout() -> None:
    for number in range(lib.ffpf_class_count):
        one = lib.ffpf_classes[number]
        name, octets = ffi.string(one.name).decode(), one.mbuf_bytes
        if octets:
            layout = mbufs.dtype(name, octets)
            assert layout is not None and layout.itemsize <= octets, name


def test_an_array_lies_in_the_memory() -> None:
    memory = bytearray(8)
    found = mbufs.array("packetcount", memory)
    assert found.shape == () and found.dtype.names == ("packets",)
    found["packets"] = 77
    assert memory == (77).to_bytes(8, "little")
    memory[:] = (5).to_bytes(8, "little")
    assert found["packets"] == 5


def test_a_size_of_its_own() -> None:
    assert mbufs.array("sampler", bytearray(4)).dtype == np.dtype([("seen", "<u4")])
    assert mbufs.array("sampler", bytearray(8)).dtype == np.dtype([("seen", "<u8")])


def test_a_member_without_length_takes_what_is_left() -> None:
    found = mbufs.array("topk", bytearray(64 + 3 * 64))
    assert found["entries"].shape == (3,) and found.nbytes == 256
    entry = found["entries"][1]
    entry["count"] = 9
    entry["key"]["sport"] = 1024
    assert found["entries"]["count"].tolist() == [0, 9, 0]
    assert found["entries"]["key"]["src"].shape == (3, 16)


def test_numbers_that_are_not_whole() -> None:
    found = mbufs.array("distinct", bytearray(32 + 16))
    assert found["estimate"].dtype == np.float64
    assert found["registers"].shape == (16,) and found["registers"].dtype == np.uint8


def test_records_in_a_ring() -> None:
    found = mbufs.array("flow_table", bytearray(64 + 2 * 96))
    assert found["records"]["key"]["sport"].shape == (2,)
    assert found["records"]["packets"].shape == (2, 2)


def test_octets_where_there_is_no_layout() -> None:
    assert mbufs.array("unknown", bytearray(5)).tolist() == [0] * 5
    assert mbufs.array("packetcount", bytearray(3)).dtype == np.uint8
    mbufs.REGISTERED["mine"] = np.dtype([("x", np.float64)])
    try:
        assert mbufs.array("mine", bytearray(8))["x"] == 0.0
    finally:
        del mbufs.REGISTERED["mine"]
