# SPDX-License-Identifier: BSD-3-Clause
"""Who speaks to whom, in words: "tcp 10.0.0.1:1024 -> 10.0.0.2:80", of packets and of keys that filters keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from pyffpf._core import ffi, lib

if TYPE_CHECKING:
    from pyffpf.batch import Batch


def text(key: npt.NDArray[Any] | Any) -> str:
    """A key of csrc/graph/tuple.h, as MBufs have them (one record of that dtype)."""
    octets = key.tobytes()
    if len(octets) != ffi.sizeof("struct ffpf_tuple"):
        raise ValueError(f"a key has {ffi.sizeof('struct ffpf_tuple')} octets, not {len(octets)}")
    return _text(ffi.cast("struct ffpf_tuple *", ffi.from_buffer(octets)))


def texts(batch: Batch) -> list[str]:
    """Of every packet of a batch, in the direction that it goes; "none" where nothing known was found."""
    headers, key = ffi.new("struct ffpf_headers *"), ffi.new("struct ffpf_tuple *")
    packet, room = ffi.new("struct ffpf_packet *"), ffi.new("char[]", lib.FFPF_TUPLE_TEXT_BYTES)
    octets = ffi.from_buffer("uint8_t[]", batch.octet_bytes)
    lengths, protocols = batch["len"].tolist(), batch["protocol"].tolist()
    found = []
    for start, end, length, protocol in zip(batch.starts, batch.ends, lengths, protocols, strict=True):
        packet.data = octets + start
        packet.cap_len, packet.wire_len, packet.protocol = end - start, length, protocol
        lib.ffpf_headers_find(headers, packet, batch.link_type)
        lib.ffpf_tuple_of(key, headers)
        size = lib.ffpf_tuple_text(key, room, lib.FFPF_TUPLE_TEXT_BYTES)
        found.append(ffi.unpack(room, size).decode().replace(" <-> ", " -> "))
    return found


def _text(key: Any) -> str:
    room = ffi.new("char[]", lib.FFPF_TUPLE_TEXT_BYTES)
    return bytes(ffi.buffer(room, lib.ffpf_tuple_text(key, room, len(room)))).decode()
