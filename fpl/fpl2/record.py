# SPDX-License-Identifier: BSD-3-Clause
"""Compilation records: what was made of a program, what it costs, and a seal. docs/fpl-records.md has the format.

takes    Checked programs of one text, for one link type each, and their code
gives    octets, sealed by a digest or signed; csrc/record reads them
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata

from fpl.fpl2.compile import Checked
from fpl.fpl2.externals import External
from fpl.fpl2.found import LINKS
from fpl.fpl2.native import Code

MAGIC = b"\x89FPLO\r\n\x1a"
VERSION = 1
SEAL_DIGEST, SEAL_ED25519 = 1, 2
NATIVE, EXTERNALS = 1, 2  # kinds of sections
MACHINES = {"x86-64": 62, "aarch64": 183}  # ELF's numbers, by native.TARGETS
KEY_ID_LEN = 16
_HEADER = struct.Struct("<8sHHIIIQQQ16s32s32s")
_ROW = struct.Struct("<HHHHII32s")
_ALIGNMENT = 16
_SEAL_LEN = {SEAL_DIGEST: 32, SEAL_ED25519: 64}


@dataclass(frozen=True)
class Signer:
    """key_id: KEY_ID_LEN octets. sign: octets to the 64 of an Ed25519 signature."""

    key_id: bytes
    sign: Callable[[bytes], bytes]


@dataclass(order=True)
class _Section:
    kind: int
    machine: int
    link_type: int
    octets: bytes = field(compare=False)


def compiler_name() -> str:
    """As a record has it: at most 31 octets."""
    return f"fplc {metadata.version('pyffpf')}"[:31]


def _padded(octets: bytes) -> bytes:
    return octets + bytes(-len(octets) % _ALIGNMENT)


def _externals(externals: Sequence[External]) -> bytes:
    return b"".join(
        struct.pack("<IIH", each.reads, each.writes, len(each.name.encode())) + each.name.encode() for each in externals
    )


def _sections(parts: Sequence[tuple[Checked, Code]], externals: Sequence[External]) -> list[_Section]:
    made = [_Section(NATIVE, MACHINES[code.target], LINKS[checked.link], code.octets) for checked, code in parts]
    if externals:
        made.append(_Section(EXTERNALS, 0, 0, _externals(externals)))
    return sorted(made)


def write(
    parts: Sequence[tuple[Checked, Code]], externals: Sequence[External] = (), signer: Signer | None = None
) -> bytes:
    """parts: at least one; the same text and MBuf, each for another link type or processor. externals: what the code
    calls, in its order."""
    first = parts[0][0]
    costs = [checked.cost for checked, _ in parts]
    sections = _sections(parts, externals)
    at = len(_padded(bytes(_HEADER.size + len(sections) * _ROW.size)))
    rows, body = b"", b""
    for section in sections:
        digest = hashlib.sha256(section.octets).digest()
        rows += _ROW.pack(section.kind, section.machine, section.link_type, 0, at + len(body), len(section.octets),
                          digest)  # fmt: skip
        body += _padded(section.octets)
    seal = SEAL_ED25519 if signer else SEAL_DIGEST
    header = _HEADER.pack(
        MAGIC, VERSION, seal, at + len(body) + _SEAL_LEN[seal], len(sections), max(cost.deepest for cost in costs),
        first.mbuf_bytes, max(cost.steps for cost in costs), max(cost.iterations for cost in costs),
        signer.key_id if signer else bytes(KEY_ID_LEN), compiler_name().encode(),
        hashlib.sha256(first.source.text.encode()).digest(),
    )  # fmt: skip
    sealed = _padded(header + rows) + body
    return sealed + (signer.sign(sealed) if signer else hashlib.sha256(sealed).digest())
