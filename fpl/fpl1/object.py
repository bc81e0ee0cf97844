# SPDX-License-Identifier: BSD-3-Clause
"""Object files: csrc/fpl1/fpl1.h has their layout. Read here for people; the loader in C trusts none of it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from fpl.fpl1.isa import INSN_BYTES, Insn

STEPS_MAX = 1 << 20
STEPS = 1 << 16  # of a program that does not say
DATA_MIN, DATA_MAX = 8, 1 << 24
INSNS_MAX = 4096
AREAS_MAX = 16
EXTERNALS_MAX = 64
NAME_BYTES = 128
_HEAD = struct.Struct("<4sHHIIHHHH")
_AREA = struct.Struct("<HHHH")


class ObjectError(ValueError):
    """Octets that are no object."""


class TranslateError(Exception):
    """A program in FPL-2 that is too large for FPL-1."""


@dataclass(frozen=True)
class Area:
    """Where a program may be extended: empty, its instructions are jumps behind it."""

    first: int
    slots: int
    target: int  # where `case` instructions lead that are put there

    @property
    def end(self) -> int:
        return self.first + self.slots


@dataclass
class Object:
    code: list[Insn]
    steps: int = STEPS
    data_bytes: int = 0
    areas: list[Area] = field(default_factory=list)
    externals: list[str] = field(default_factory=list)

    def to_bytes(self) -> bytes:
        head = _HEAD.pack(b"FPL1", 1, 0, self.steps, self.data_bytes, len(self.code), len(self.areas),
                          len(self.externals), 0)  # fmt: skip
        return b"".join([
            head,
            *(insn.to_bytes() for insn in self.code),
            *(_AREA.pack(area.first, area.slots, area.target, 0) for area in self.areas),
            *(name.encode().ljust(NAME_BYTES, b"\0") for name in self.externals),
        ])  # fmt: skip

    @classmethod
    def from_bytes(cls, octets: bytes) -> Object:
        """Raises ObjectError where the shape is wrong; what the instructions mean is verify.py's business."""
        if len(octets) < _HEAD.size or octets[:4] != b"FPL1":
            raise ObjectError("this is no object of FPL-1")
        _, version, _, steps, data_bytes, insns, areas, externals, _ = _HEAD.unpack_from(octets)
        if version != 1:
            raise ObjectError(f"version {version} is not known")
        behind_code = _HEAD.size + insns * INSN_BYTES
        behind_areas = behind_code + areas * _AREA.size
        if len(octets) != behind_areas + externals * NAME_BYTES:
            raise ObjectError("it is not as long as it says")
        names = [octets[at : at + NAME_BYTES] for at in range(behind_areas, len(octets), NAME_BYTES)]
        try:
            texts = [name.rstrip(b"\0").decode("ascii") for name in names]
        except UnicodeDecodeError:
            raise ObjectError("the name of an external function is none") from None
        return cls(
            [Insn.from_bytes(octets[at : at + INSN_BYTES]) for at in range(_HEAD.size, behind_code, INSN_BYTES)],
            steps,
            data_bytes,
            [Area(*_AREA.unpack_from(octets, at)[:3]) for at in range(behind_code, behind_areas, _AREA.size)],
            texts,
        )
