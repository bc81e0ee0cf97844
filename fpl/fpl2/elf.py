# SPDX-License-Identifier: BSD-3-Clause
"""An object file's code, and the constants that it looks up, as octets that run wherever they lie.

takes    ELF, little endian, of one function; LLVM's
gives    its code, and behind it .rodata, which the code finds by distance

Code finds constants by what stands in a relocation: here that becomes a distance, which holds wherever both lie.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

SHT_PROGBITS, SHT_RELA, SHT_REL = 1, 4, 9
SHF_ALLOC = 2
SYMBOL_BYTES, RELOCATION = 24, struct.Struct("<QQq")
X86_64_PC32 = 2
AARCH64_PAGE, AARCH64_ADD_LOW = 275, 277  # of adrp; of the add behind it
AARCH64_NEAR = 1 << 20  # adr reaches so far, both ways
ALIGN = 16


@dataclass(frozen=True)
class _Section:
    label: str
    kind: int
    flags: int
    at: int
    size: int
    link: int
    info: int


def code_of(elf: bytes) -> bytes:
    """Raises ValueError where the code refers to what does not come with it."""
    sections = _sections(elf)
    texts = [number for number, section in enumerate(sections) if section.label == ".text"]
    if not texts or not sections[texts[0]].size:
        raise ValueError("the object has no code")
    text = texts[0]
    data = next((number for number, section in enumerate(sections) if section.label == ".rodata"), None)
    for number, section in enumerate(sections):
        if section.kind == SHT_PROGBITS and section.flags & SHF_ALLOC and section.size and (
            number not in (text, data) and not section.label.startswith(".eh_frame")):  # fmt: skip
            raise ValueError(f"the object has data of its own ({section.label})")
    code = bytearray(_octets(elf, sections[text]))
    behind = -(-len(code) // ALIGN) * ALIGN
    for section in sections:
        if section.kind not in (SHT_RELA, SHT_REL):
            continue
        target = sections[section.info]
        if target.flags & SHF_ALLOC and target.label != ".eh_frame":  # that is for debuggers, and left behind
            if section.kind == SHT_REL or section.info != text or data is None:
                raise ValueError(f"the object has relocations ({section.label})")
            _relocate(code, elf, section, sections[section.link], data, behind)
    return bytes(code) + (bytes(behind - len(code)) + _octets(elf, sections[data]) if data is not None else b"")


def _sections(elf: bytes) -> list[_Section]:
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    entry, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    raw = [struct.unpack_from("<IIQQQQII", elf, table + i * entry) for i in range(count)]
    found = []
    for name, kind, flags, _address, at, size, link, info in raw:
        begin = raw[names][4] + name
        found.append(_Section(elf[begin : elf.index(b"\0", begin)].decode(), kind, flags, at, size, link, info))
    return found


def _octets(elf: bytes, section: _Section) -> bytes:
    return elf[section.at : section.at + section.size]


def _relocate(code: bytearray, elf: bytes, relocations: _Section, symbols: _Section, data: int, behind: int) -> None:
    """data: number of the section that lies `behind` so many octets of code."""
    for where, what, addend in RELOCATION.iter_unpack(_octets(elf, relocations)):
        symbol = elf[symbols.at + SYMBOL_BYTES * (what >> 32) :][:SYMBOL_BYTES]
        _name, _info, _other, section, value, _size = struct.unpack("<IBBHQQ", symbol)
        if section != data:
            raise ValueError(f"the object has relocations ({relocations.label})")
        _place(code, where, what & 0xFFFFFFFF, behind + value + addend - where)


def _place(code: bytearray, where: int, kind: int, distance: int) -> None:
    """A distance, from the octet `where` on."""
    if kind == X86_64_PC32:
        struct.pack_into("<i", code, where, distance)
        return
    (insn,) = struct.unpack_from("<I", code, where)
    if kind == AARCH64_PAGE and abs(distance) < AARCH64_NEAR:
        near = distance & (1 << 21) - 1
        insn = insn & 0x1F | 0x10 << 24 | (near & 3) << 29 | near >> 2 << 5  # adr, into the same register
    elif kind == AARCH64_ADD_LOW:
        insn &= ~(0xFFF << 10)  # adr has said all of it
    else:
        raise ValueError(f"the object has a relocation of kind {kind}")
    struct.pack_into("<I", code, where, insn)
