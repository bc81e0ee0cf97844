# SPDX-License-Identifier: BSD-3-Clause
"""External functions, as far as the compiler knows them: names, and octets of MBuf.

A use is what EXTERN names: the function and, behind a blank, arguments. Uses with the same key are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


def key_of(use: str) -> str:
    """Names are the same in any case, arguments are not."""
    name, *arguments = use.split(None, 1)[:2] or [""]
    return " ".join([name.lower(), *(text.strip() for text in arguments)])


@dataclass(frozen=True)
class External:
    """What EXTERN may name: octets that it reads, and writes, in MBuf, and steps of a call, at most. name: with its
    arguments, where it has any."""

    name: str
    reads: int
    writes: int
    steps: int = 10

    @property
    def key(self) -> str:
        return key_of(self.name)


class Library(Protocol):
    """Functions that are registered somewhere. find: None, there is none; raises ValueError for bad arguments."""

    def find(self, use: str) -> External | None: ...

    def names(self) -> Sequence[str]: ...


class Known:
    """All that a program may call: uses that were declared one by one, and a library."""

    def __init__(self, declared: Sequence[External], library: Library | None) -> None:
        self._declared = {external.key: external for external in declared}
        self._library = library

    def find(self, use: str) -> External | None:
        if not use.isprintable():
            raise ValueError("a name has no control characters; write \\\\x0a in a pattern")
        declared = self._declared.get(key_of(use))
        if declared or not self._library:
            return declared
        return self._library.find(use)

    def names(self) -> list[str]:
        library = self._library.names() if self._library else []
        return sorted({*library, *(external.name for external in self._declared.values())}, key=str.lower)
