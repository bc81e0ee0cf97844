# SPDX-License-Identifier: BSD-3-Clause
"""Of microengine.py: what microengine C is written with. A Value is C without side effects, and the most that it may
be: up to 2^32 - 1 it has 32 bits, else 64, without a sign. What a guard has made sure of is remembered as Facts for as
long as it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fpl.fpl2.ranges import WORD


class NotForBoardError(Exception):
    """The program is right, and a microengine cannot run it: why."""


@dataclass(frozen=True)
class Value:
    text: str
    most: int

    @property
    def wide(self) -> bool:
        return self.most > WORD

    @property
    def word(self) -> str:
        """Modulo 2^32."""
        return f"(uint32_t){self.text}" if self.wide else self.text

    @property
    def double(self) -> str:
        return self.text if self.wide else f"(uint64_t){self.text}"


def number(value: int) -> Value:
    if value <= WORD:
        return Value(f"{value}u" if value < 1024 else f"0x{value:x}u", value)
    return Value(f"0x{value:x}ull", value)


@dataclass
class Facts:
    """What is known at this place: octets captured behind a register's value (None: behind 0), and what was loaded."""

    ends: dict[int | None, int] = field(default_factory=dict)
    loaded: dict[tuple[object, ...], Value] = field(default_factory=dict)

    def copy(self) -> Facts:
        return Facts(dict(self.ends), dict(self.loaded))

    def forget(self, register: int) -> None:
        self.ends.pop(register, None)
        self.loaded = {key: value for key, value in self.loaded.items() if key[0] != register}


class Lines:
    """The function as it grows."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._depth, self._count = 1, 0
        self.facts = Facts()

    def say(self, line: str) -> None:
        self.lines.append("\t" * self._depth + line)

    def fresh(self, what: str = "t") -> str:
        self._count += 1
        return f"{what}{self._count}"

    def let(self, text: str, most: int) -> Value:
        name = self.fresh()
        self.say(f"uint{64 if most > WORD else 32}_t {name} = {text};")
        return Value(name, most)

    @contextmanager
    def braces(self, head: str, tail: str = "}") -> Iterator[None]:
        """What is learnt within is forgotten behind it."""
        kept = self.facts
        self.facts = kept.copy()
        self.say(head)
        self._depth += 1
        yield
        self._depth -= 1
        if tail:
            self.say(tail)
        self.facts = kept

    def reject(self, condition: str) -> None:
        self.say(f"if ({condition})")
        self.say("\treturn 0;")

    def simple(self, value: Value) -> Value:
        """A name or a number, that may be said twice."""
        return value if value.text.isalnum() else self.let(value.text, value.most)
