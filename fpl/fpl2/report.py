# SPDX-License-Identifier: BSD-3-Clause
"""Errors of a program as their author sees them: file:line:col, the message, the line, a caret, and what would help."""

from __future__ import annotations

import re

WORD_MAX = 64  # characters of a word that a report repeats
SHOWN_MAX = 160  # of a line
_LONG = re.compile(rf"(\S{{{WORD_MAX}}})\S+")


def shortened(text: str) -> str:
    """Without the rest of words that nobody reads to their end."""
    return _LONG.sub(r"\1...", text)


class FplError(Exception):
    """A program was refused. str() is the whole report, several lines."""

    def __init__(self, message: str, source: Source, at: int, hint: str = "") -> None:
        self.message, self.hint = shortened(message), shortened(hint)
        self.source, self.at = source, at
        self.line, self.column = source.place(at)
        super().__init__(self._report())

    def _report(self) -> str:
        text = self.source.line(self.line)
        first = max(0, self.column - 1 - SHOWN_MAX // 2) if len(text) > SHOWN_MAX else 0
        text, before = text[first : first + SHOWN_MAX], text[first : self.column - 1]
        shown = text.expandtabs(8)
        caret = " " * len(before.expandtabs(8)) + "^"
        report = f"{self.source.name}:{self.line}:{self.column}: {self.message}\n  {shown}\n  {caret}"
        return f"{report}\n  {self.hint}" if self.hint else report


class Source:
    """The text of a program, and what it is called in reports."""

    def __init__(self, text: str, name: str = "<fpl-2>") -> None:
        self.text, self.name = text, name

    def place(self, at: int) -> tuple[int, int]:
        """Line and column, from 1, of an offset; the end of the text is a place too."""
        before = self.text[: max(0, at)]
        return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1

    def line(self, number: int) -> str:
        lines = self.text.split("\n")
        return lines[number - 1] if number <= len(lines) else ""

    def error(self, message: str, at: int, hint: str = "") -> FplError:
        return FplError(message, self, at, hint)
