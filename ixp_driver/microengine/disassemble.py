# SPDX-License-Identifier: BSD-3-Clause
"""Microwords as text, one a line: its number, the word, what it does; labels where functions begin.

12  04184280  ADD      a3, a4, b4
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def instruction(word: int) -> str:
    """Of any word: what it is, or that it is none."""
    try:
        decoded = isa.decode(word)
    except ValueError as error:
        return str(error)
    operation, f = decoded.operation, decoded.fields
    kind = isa.FORMATS[operation]
    if kind == "ALU":
        text = _alu(operation, f)
    elif kind == "MOV":
        text = f"{operand(f['dst'], destination=True)}, {operand(f['b'])}"
    elif operation == "BAL":
        text = f"{operand(f['dst'])}, {f['value']}"
    elif kind == "IMM":
        text = f"{operand(f['dst'])}, {_named(isa.IMMEDS, f['how'])} 0x{f['value']:x}"
    elif kind == "BR":
        text = f"{_named(isa.CONDITIONS, f['cond'])}, {f['target']}"
    elif kind == "BIT":
        text = f"{operand(f['a'])}.{f['bit']}, {f['target']}"
    elif kind == "BYTE":
        text = f"{operand(f['a'])}.{f['byte']}, 0x{f['value']:x}, {f['target']}"
    elif kind == "REF":
        text = _reference(f)
    elif kind == "SIGNAL":
        text = f"{_named({**isa.UNITS, **isa.SIGNALS}, f['signal'])}, {f['target']}"
    elif kind == "CSR":
        text = f"{operand(f['reg'], destination=True)}, {_named(isa.CSRS, f['csr'])}"
    else:
        text = ", ".join(operand(value) if name == "a" else f"0x{value:x}" for name, value in f.items())
    return f"{operation:<10} {text}".rstrip()


def listing(words: Sequence[int], symbols: Mapping[str, int] | None = None) -> str:
    starts: dict[int, list[str]] = {}
    for name, word in (symbols or {}).items():
        starts.setdefault(word, []).append(name)
    lines = []
    for at, word in enumerate(words):
        lines += [f"{name}:" for name in starts.get(at, ())]
        lines.append(f"{at:5}  {word:08x}  {instruction(word)}")
    return "\n".join(lines) + "\n"
