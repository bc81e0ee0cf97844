# SPDX-License-Identifier: BSD-3-Clause
"""What LLVM IR is written with: the function as it grows, and the guards that every access goes through."""

from __future__ import annotations

from fpl.fpl2 import tree


class Lines:
    """The function as it grows."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._count = 0

    def say(self, line: str) -> None:
        self.lines.append(f"  {line}")

    def fresh(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def let(self, text: str) -> str:
        name = f"%{self.fresh()}"
        self.say(f"{name} = {text}")
        return name

    def block(self, label: str) -> None:
        self.lines.append(f"{label}:")

    def label(self, what: str) -> str:
        return f"{what}.{self.fresh()}"

    def goto(self, label: str) -> None:
        self.say(f"br label %{label}")

    def branch(self, condition: str, yes: str, no: str, known: str = "") -> None:
        """known: metadata, how often which way is gone."""
        self.say(f"br i1 {condition}, label %{yes}, label %{no}{known}")

    def flag(self, condition: str) -> str:
        return self.let(f"zext i1 {condition} to i64")


class Guards:
    """Every access goes through here."""

    LIKELY = ", !prof !0"  # lower.py defines it: packets are mostly as long as a filter looks at them

    def __init__(self, out: Lines, mbuf_bytes: int) -> None:
        self._out, self._mbuf = out, mbuf_bytes
        self._sums: dict[str, tuple[str, int]] = {}  # offset -> base and what is added to it
        self._small: set[str] = set()  # offsets up to bounds.LARGEST

    def is_small(self, offset: str) -> None:
        """What inside() may know of this offset: it is at most bounds.LARGEST."""
        self._small.add(offset)

    def is_sum(self, offset: str, base: str, ahead: int) -> None:
        """... or: it is base + ahead, up to bounds.LARGEST; a base beyond the packet makes it lie outside."""
        self._sums[offset] = base, ahead

    def require(self, condition: str) -> None:
        """Ends the filter with 0 unless it holds."""
        ahead = self._out.label("ok")
        self._out.branch(condition, ahead, "reject", self.LIKELY)
        self._out.block(ahead)

    def inside(self, offset: str, octets: int) -> str:
        """i1: octets from this offset (i64) on were all captured. Written so that LLVM sees which of two guards holds
        where the other does: the end, without overflow, against what was captured."""
        captured = self.captured()
        base, ahead = self._sums.get(offset, (offset, 0))
        end = self._out.let(f"add nuw i64 {base}, {ahead + octets}")
        fits = self._out.let(f"icmp ule i64 {end}, {captured}")
        if offset in self._small:
            return fits
        begins = self._out.let(f"icmp ule i64 {base}, {captured}")
        return self._out.let(f"select i1 {begins}, i1 {fits}, i1 false")  # an end that overflowed is not looked at

    def captured(self) -> str:
        """i64: octets of the packet that are there."""
        return "%captured.wide"

    def packet(self, offset: str) -> str:
        """ptr: to an octet that is known to be inside()."""
        return self._out.let(f"getelementptr i8, ptr %packet, i64 {offset}")

    def divisor(self, value: str) -> None:
        self.require(self._out.let(f"icmp ne i64 {value}, 0"))

    def memory(self, offset: str, octets: int) -> str:
        """ptr: into MBuf, whatever the offset."""
        masked = self._out.let(f"and i64 {offset}, {(self._mbuf - 1) & ~(octets - 1)}")
        return self._out.let(f"getelementptr i8, ptr %memory, i64 {masked}")

    def region(self, offset: str, octets: int) -> None:
        """Ends the filter with 0 unless so many octets of MBuf, which has as many, lie behind the offset."""
        self.require(self._out.let(f"icmp ule i64 {offset}, {self._mbuf - octets}"))

    def register(self, index: str) -> str:
        masked = self._out.let(f"and i64 {index}, {tree.REGISTERS - 1}")
        return self._out.let(f"getelementptr i64, ptr %registers, i64 {masked}")
