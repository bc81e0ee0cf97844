# SPDX-License-Identifier: BSD-3-Clause
"""The tables of isa.h, read from that file, and microwords made of and taken into fields.

encode("ADD", dst=3, a=4, b=20)  -> a word
decode(word)                     -> Word("ADD", {"dst": 3, "a": 4, "b": 20, "n": 0})
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TEXT = (Path(__file__).parent / "isa.h").read_text()


def _rows(table: str) -> list[list[str]]:
    """The X(...) of one table."""
    found = re.search(rf"#define {table}\(X\)((?:.*\\\n)*.*\n)", _TEXT)
    assert found, table
    return [[word.strip() for word in row.split(",")] for row in re.findall(r"\bX\(([^)]*)\)", found[1])]


def _numbers(table: str) -> dict[str, int]:
    return {row[0]: int(row[1]) for row in _rows(table)}


def _constant(name: str) -> int:
    found = re.search(rf"#define IXP_{name}\s+(\d+)u", _TEXT)
    assert found, name
    return int(found[1])


OPERATIONS = _numbers("IXP_OPERATIONS")
FORMATS = {row[0]: row[2] for row in _rows("IXP_OPERATIONS")}
CONDITIONS = _numbers("IXP_CONDITIONS")
IMMEDS = _numbers("IXP_IMMEDS")
UNITS = _numbers("IXP_UNITS")
SIGNALS = _numbers("IXP_SIGNALS")
COMMANDS = _numbers("IXP_COMMANDS")
CSRS = _numbers("IXP_CSRS")
STORE_WORDS, CONTEXTS, GPRS, BANK_GPRS = (_constant(n) for n in ("STORE_WORDS", "CONTEXTS", "GPRS", "BANK_GPRS"))
TRANSFERS, SRAM_XFER, SDRAM_XFER = (_constant(n) for n in ("TRANSFERS", "SRAM_XFER", "SDRAM_XFER"))
OPERAND_END, SMALL, NONE = (_constant(f"OPERAND_{n}") for n in ("END", "SMALL", "NONE"))
CSR_BOARD = _constant("CSR_BOARD")
SMALL_MAX = NONE - SMALL  # the largest number that is an operand

# The formats as the comment of isa.h has them: field -> (lowest bit, bits)
FIELDS: dict[str, dict[str, tuple[int, int]]] = {"NONE": {}}
for _name, _row in re.findall(r"^ \*   ([A-Z]+) +(\w+ \d+ \(\d+\).*)$", _TEXT, re.MULTILINE):
    FIELDS[_name] = {f: (int(low), int(bits)) for f, low, bits in re.findall(r"(\w+) (\d+) \((\d+)\)", _row)}

_NAMES = {number: name for name, number in OPERATIONS.items()}


@dataclass(frozen=True)
class Word:
    operation: str
    fields: Mapping[str, int]


def encode(operation: str, **fields: int) -> int:
    """Fields that are not given are 0. ValueError: one that the format lacks, or that does not fit."""
    word = OPERATIONS[operation] << 26
    known = FIELDS[FORMATS[operation]]
    for name, value in fields.items():
        if name not in known:
            raise ValueError(f"{operation} has no field {name}")
        low, bits = known[name]
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{operation}: {name} {value} does not fit {bits} bits")
        word |= value << low
    return word


def decode(word: int) -> Word:
    """ValueError: no such operation. Whether its operands are good ixp_word_fault() in object.h says."""
    operation = _NAMES.get(word >> 26)
    if operation is None:
        raise ValueError(f"0x{word:08x} is no instruction")
    known = FIELDS[FORMATS[operation]]
    return Word(operation, {name: word >> low & (1 << bits) - 1 for name, (low, bits) in known.items()})
