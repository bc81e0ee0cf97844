# SPDX-License-Identifier: BSD-3-Clause
"""What a program's text has beside its tree: comments, empty lines, and where statements that hold others end."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PIECE = re.compile(
    r"\"(?:[^\"\\\n]|\\.)*\"|(?P<comment>//[^\n]*|/\*(?s:.*?)\*/)|(?P<word>\b(?:if|for|else|fi|rof)\b)|\w+|\S",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Comment:
    at: int
    text: str  # without blanks at its ends
    alone: bool  # nothing stands before it on its line


@dataclass
class Ends:
    """Offsets of a statement's ELSE, if it has one, and of its FI or ROF."""

    otherwise: int | None = None
    end: int = 0


class Beside:
    """Of a program that parses."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.comments: list[Comment] = []
        self.ends: dict[int, Ends] = {}  # by the offset of IF or FOR
        open_at: list[int] = []
        for piece in _PIECE.finditer(text):
            at = piece.start()
            if piece["comment"]:
                line = text[text.rfind("\n", 0, at) + 1 : at]
                self.comments.append(Comment(at, piece["comment"].rstrip(), not line.strip()))
            word = (piece["word"] or "").lower()
            if word in ("if", "for"):
                open_at.append(at)
                self.ends[at] = Ends()
            elif word == "else":
                self.ends[open_at[-1]].otherwise = at
            elif word:
                self.ends[open_at.pop()].end = at

    def gap_before(self, at: int) -> bool:
        """An empty line stands before what is there."""
        before = self._text[:at]
        return before[len(before.rstrip()) :].count("\n") > 1
