# SPDX-License-Identifier: BSD-3-Clause
"""Object files as object.h has them: written here, read by C, and by the disassembler."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from ixp_driver.microengine import isa

_HEAD = struct.Struct("<4s7I")
_IMPORT = struct.Struct("<24sII")
VERSION = 1
IMPORTS_MAX = 64


@dataclass(frozen=True)
class ObjectFile:
    contexts: int
    words: tuple[int, ...]
    imports: tuple[tuple[str, int], ...]


def written(words: Sequence[int], imports: Sequence[tuple[str, int]], contexts: int = isa.CONTEXTS) -> bytes:
    """imports: names, and the first of two words each."""
    ordered = sorted(imports, key=lambda each: each[1])
    body = b"".join(_IMPORT.pack(name.encode(), word, 0) for name, word in ordered) + struct.pack(
        f"<{len(words)}I", *words)  # fmt: skip
    fields = (b"IXPO", VERSION, _HEAD.size + len(body), contexts, len(words), len(imports))
    whole = _HEAD.pack(*fields, 0, 0) + body
    return _HEAD.pack(*fields, zlib.crc32(whole), 0) + body


def read(octets: bytes) -> ObjectFile:
    """Of what written() has made. ValueError: its head or its checksum is wrong; words are not looked at."""
    if len(octets) < _HEAD.size:
        raise ValueError("this is no object file")
    magic, version, size, contexts, words, imports, checksum, _ = _HEAD.unpack_from(octets)
    if (magic, version, size) != (b"IXPO", VERSION, len(octets)) or size != (
        _HEAD.size + _IMPORT.size * imports + 4 * words):  # fmt: skip
        raise ValueError("this is no object file")
    if zlib.crc32(octets[:24] + bytes(4) + octets[28:]) != checksum:
        raise ValueError("its checksum is wrong")
    found = [_IMPORT.unpack_from(octets, _HEAD.size + _IMPORT.size * at) for at in range(imports)]
    names = tuple((name.rstrip(b"\0").decode(), word) for name, word, _ in found)
    return ObjectFile(contexts, struct.unpack_from(f"<{words}I", octets, size - 4 * words), names)
