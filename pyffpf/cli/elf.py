# SPDX-License-Identifier: BSD-3-Clause
"""Reads of an ELF program what decides whether the dynamic loader can put a library before its libpcap."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

PT_INTERP = 3
SHT_SYMTAB = 2
SHT_DYNSYM = 11
SHN_UNDEF = 0
VERSION_TEXT = b"libpcap version "  # what every libpcap carries for pcap_lib_version()


@dataclass(frozen=True)
class Elf:
    """The facts of one ELF file: `imports` and `defines` hold only names that begin with "pcap_"."""

    bits: int
    machine: int
    interpreter: str | None
    imports: frozenset[str]
    defines: frozenset[str]
    has_version_text: bool

    @property
    def carries_libpcap(self) -> bool:
        """A libpcap is linked into the program: its calls never pass the dynamic loader."""
        return "pcap_open_offline" in self.defines or "pcap_activate" in self.defines or (
            self.has_version_text and not self.imports
        )  # fmt: skip


def is_elf(head: bytes) -> bool:
    return head.startswith(b"\x7fELF")


def read_elf(path: Path) -> Elf:
    """Raises ValueError when the file is not an ELF file of 32 or 64 bits, or is cut short; OSError as open(2) does."""
    with path.open("rb") as file:
        try:
            image = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:  # an empty file cannot be mapped
            raise ValueError(f"{path}: empty file") from error
    with image:
        try:
            return _parse(image)
        except (struct.error, IndexError) as error:
            raise ValueError(f"{path}: not a whole ELF file") from error


def _parse(image: mmap.mmap) -> Elf:
    if not is_elf(image[:4]) or image[4] not in (1, 2) or image[5] not in (1, 2):
        raise ValueError("not an ELF file")
    wide = image[4] == 2
    order = "<" if image[5] == 1 else ">"
    (machine,) = struct.unpack_from(order + "H", image, 18)
    if wide:
        phoff, shoff = struct.unpack_from(order + "QQ", image, 32)
        phentsize, phnum, shentsize, shnum = struct.unpack_from(order + "HHHH", image, 54)
    else:
        phoff, shoff = struct.unpack_from(order + "II", image, 28)
        phentsize, phnum, shentsize, shnum = struct.unpack_from(order + "HHHH", image, 42)
    interpreter = None
    for at in range(phoff, phoff + phnum * phentsize, phentsize or 1):
        (kind,) = struct.unpack_from(order + "I", image, at)
        if kind == PT_INTERP:
            offset, size = _segment(image, at, order, wide)
            interpreter = image[offset : offset + size].split(b"\0")[0].decode(errors="replace")
    imports, defines = _pcap_symbols(image, order, wide, [shoff + i * shentsize for i in range(shnum)])
    return Elf(
        bits=64 if wide else 32,
        machine=machine,
        interpreter=interpreter,
        imports=imports,
        defines=defines,
        has_version_text=image.find(VERSION_TEXT) >= 0,
    )


def _segment(image: mmap.mmap, at: int, order: str, wide: bool) -> tuple[int, int]:
    """File offset and size, in octets, of the program header at `at`."""
    if wide:
        return struct.unpack_from(order + "Q", image, at + 8)[0], struct.unpack_from(order + "Q", image, at + 32)[0]
    return struct.unpack_from(order + "I", image, at + 4)[0], struct.unpack_from(order + "I", image, at + 16)[0]


def _pcap_symbols(
    image: mmap.mmap, order: str, wide: bool, headers: list[int]
) -> tuple[frozenset[str], frozenset[str]]:
    """Names beginning with "pcap_" that the symbol tables leave to others, and those that they define."""

    def section(at: int) -> tuple[int, int, int, int]:
        """kind, offset, size, link"""
        (kind,) = struct.unpack_from(order + "I", image, at + 4)
        offset, size, link = struct.unpack_from(order + ("QQI" if wide else "III"), image, at + (24 if wide else 16))
        return kind, offset, size, link

    imports: set[str] = set()
    defines: set[str] = set()
    entry = struct.Struct(order + ("IBBHQQ" if wide else "IIIBBH"))
    for at in headers:
        kind, offset, size, link = section(at)
        if kind not in (SHT_SYMTAB, SHT_DYNSYM):
            continue
        _, names_offset, names_size, _ = section(headers[link])
        names = image[names_offset : names_offset + names_size]
        if b"pcap_" not in names:
            continue
        for fields in entry.iter_unpack(image[offset : offset + size - size % entry.size]):
            start = fields[0]
            if names[start : start + 5] != b"pcap_":
                continue
            name = names[start : names.index(b"\0", start)].decode(errors="replace")
            (imports if fields[3 if wide else 5] == SHN_UNDEF else defines).add(name.split("@")[0])
    return frozenset(imports), frozenset(defines)
