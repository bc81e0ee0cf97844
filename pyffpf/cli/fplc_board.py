# SPDX-License-Identifier: BSD-3-Clause
"""What fplc says, and makes, of a program on a microengine of the emulated IXP1200."""

from __future__ import annotations

from fpl.fpl2.compile import Checked
from fpl.fpl2.microengine import NotForBoardError, emit, microcode
from ixp_driver.microc import Object
from ixp_driver.microengine import isa
from ixp_driver.microengine.disassemble import listing


def made(checked: Checked) -> Object:
    """With the framework's loop around it. FplError: a microengine cannot run it."""
    try:
        return microcode(checked)
    except NotForBoardError as error:
        raise checked.source.error(f"a microengine cannot run it: {error}", 0) from None


def dump(checked: Checked, stage: str) -> str:
    if stage == "microengine-c":
        try:
            return emit(checked)
        except NotForBoardError as error:
            raise checked.source.error(f"a microengine cannot run it: {error}", 0) from None
    code = made(checked)
    return listing(code.words, code.symbols)


def rows(checked: Checked) -> list[tuple[str, str]]:
    """Of explain."""
    try:
        code = microcode(checked)
    except NotForBoardError as error:
        return [("on a microengine", f"no: {error}")]
    words = f"yes: {len(code.words)} of {isa.STORE_WORDS} microwords, the framework's among them"
    found = [("on a microengine", words), ("registers there", f"{code.registers} of {isa.GPRS} of each context")]
    return found + ([("values kept in SRAM there", str(code.kept))] if code.kept else [])
