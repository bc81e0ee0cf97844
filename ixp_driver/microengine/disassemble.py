# SPDX-License-Identifier: BSD-3-Clause
"""Microwords as text, one a line: its number, the word, what it does; labels where functions begin.

12  04184280  ADD      a3, a4, b4
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ixp_driver.microengine import isa


def _named(table: Mapping[str, int], number: int) -> str:
    return next((name for name, code in table.items() if code == number), f"?{number}")


def operand(number: int, *, destination: bool = False) -> str:
    if number == isa.NONE and destination:
        return "--"
    if number >= isa.SMALL:
        return str(number - isa.SMALL)
    if number < isa.GPRS:
        return f"{'ab'[number // isa.BANK_GPRS]}{number % isa.BANK_GPRS}"
    name = "$$" if number >= isa.SDRAM_XFER else "$"
    return f"{name}{number % isa.TRANSFERS}" if number < isa.OPERAND_END else f"?{number}"


def _alu(operation: str, f: Mapping[str, int]) -> str:
    parts = [operand(f["dst"], destination=True), operand(f["a"]), operand(f["b"])]
    if operation == "DSHR_BY":
        parts.append(operand(f["n"]))
    elif f["n"]:
        parts.append(str(f["n"]))
    return ", ".join(parts)


def _reference(f: Mapping[str, int]) -> str:
    sdram = f["unit"] == isa.UNITS["SDRAM"]
    return (f"{_named(isa.UNITS, f['unit'])} {_named(isa.COMMANDS, f['cmd'])}, {'$$' if sdram else '$'}{f['xfer']}, "
            f"{operand(f['base'])} + {operand(f['offset'])}, {f['count'] + 1}")  # fmt: skip


def _immediate(operation: str, f: Mapping[str, int]) -> str:
    if operation == "BAL":
        return f"{operand(f['dst'])}, {f['value']}"
    return f"{operand(f['dst'])}, {_named(isa.IMMEDS, f['how'])} 0x{f['value']:x}"


_TEXTS: dict[str, Callable[[str, Mapping[str, int]], str]] = {
    "NONE": lambda operation, f: "",
    "ALU": _alu,
    "MOV": lambda operation, f: f"{operand(f['dst'], destination=True)}, {operand(f['b'])}",
    "IMM": _immediate,
    "BR": lambda operation, f: f"{_named(isa.CONDITIONS, f['cond'])}, {f['target']}",
    "BIT": lambda operation, f: f"{operand(f['a'])}.{f['bit']}, {f['target']}",
    "BYTE": lambda operation, f: f"{operand(f['a'])}.{f['byte']}, 0x{f['value']:x}, {f['target']}",
    "REF": lambda operation, f: _reference(f),
    "ARB": lambda operation, f: f"0x{f['mask']:x}",
    "SIGNAL": lambda operation, f: f"{_named({**isa.UNITS, **isa.SIGNALS}, f['signal'])}, {f['target']}",
    "CSR": lambda operation, f: f"{operand(f['reg'], destination=True)}, {_named(isa.CSRS, f['csr'])}",
    "RTN": lambda operation, f: operand(f["a"]),
    "HALT": lambda operation, f: f"0x{f['code']:x}",
}


def instruction(word: int) -> str:
    """Of any word: what it is, or that it is none."""
    try:
        decoded = isa.decode(word)
    except ValueError as error:
        return str(error)
    text = _TEXTS[isa.FORMATS[decoded.operation]](decoded.operation, decoded.fields)
    return f"{decoded.operation:<10} {text}".rstrip()


def listing(words: Sequence[int], symbols: Mapping[str, int] | None = None) -> str:
    starts: dict[int, list[str]] = {}
    for name, word in (symbols or {}).items():
        starts.setdefault(word, []).append(name)
    lines = []
    for at, word in enumerate(words):
        lines += [f"{name}:" for name in starts.get(at, ())]
        lines.append(f"{at:5}  {word:08x}  {instruction(word)}")
    return "\n".join(lines) + "\n"
