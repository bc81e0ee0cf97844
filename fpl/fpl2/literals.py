# SPDX-License-Identifier: BSD-3-Clause
"""What is written down: numbers, addresses, networks, byte strings; in programs and in files that sets are read from.

Numbers of 64 bits; IPv6 of 128. All raise LiteralError, whose text is for the author.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

NUMBER_MAX = (1 << 64) - 1
MAPPED = 0xFFFF << 32  # ::ffff:0:0/96, where IPv4's addresses are among IPv6's (RFC 4291, 2.5.5.2)
LONGEST = 64  # characters of a number or an address
ESCAPES = {"n": 10, "r": 13, "t": 9, "0": 0, "a": 7, "b": 8, "f": 12, "v": 11, "\\": 92, '"': 34, "'": 39}
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|[nrt0abfv\\\"'])|([^\\])|(\\.?)", re.DOTALL)
_MAC = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}")
_DOTTED = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")


class LiteralError(Exception):
    """A literal means nothing. hint: what would help, or nothing."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


@dataclass(frozen=True)
class Span:
    """Numbers from low to high, both among them. wide: of 128 bits, IPv6; address: IPv4's, which have a place there."""

    low: int
    high: int
    wide: bool = False
    address: bool = False


def number(text: str) -> int:
    lower = text.lower()
    if len(lower) > 1 and lower[0] == "0" and lower.isdigit():
        raise LiteralError(f"'{text}' begins with 0", "Octal numbers are not known; write 0x for hex.")
    if len(lower) > LONGEST + 2:
        raise LiteralError(f"{text} needs more than 64 bits")
    value = int(lower, 0)
    if value > NUMBER_MAX:
        raise LiteralError(f"{text} needs more than 64 bits")
    return value


def address(text: str) -> int:
    try:
        return int(ipaddress.IPv4Address(text))
    except ValueError as error:
        raise LiteralError(f"{text} is no address", f"{error!s}.") from None


def address6(text: str) -> int:
    try:
        return int(ipaddress.IPv6Address(text))
    except ValueError as error:
        raise LiteralError(f"{text} is no address", f"{error!s}.") from None


def mac(text: str) -> int:
    return int(text.replace(":", ""), 16)


def network(text: str) -> Span:
    """10.0.0.0/8 or 2001:db8::/32, without bits set behind the prefix."""
    try:
        found = ipaddress.ip_network(text)
    except ValueError as error:
        raise LiteralError(f"{text} is no network", _network_hint(text, error)) from None
    wide = found.version == 6
    return Span(int(found.network_address), int(found.broadcast_address), wide, not wide)


def _network_hint(text: str, error: ValueError) -> str:
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return f"{error!s}."
    return f"{error!s}. Is it {meant}?"


def octets(text: str) -> tuple[bytes, bool]:
    """A string between its quotes, with C's escapes, \\xHH among them; and whether i stands behind it: in any case."""
    any_case = text.endswith("i")
    found = bytearray()
    for escape, plain, bad in _ESCAPE.findall(text[1 : -2 if any_case else -1]):
        if bad:
            raise LiteralError(f"a string's escape is not known: {bad}", 'Known: \\xHH \\n \\r \\t \\0 \\\\ \\" ...')
        if plain:
            found += plain.encode("utf-8", "surrogatepass")
        else:
            found.append(int(escape[1:], 16) if escape[0] == "x" else ESCAPES[escape])
    return bytes(found), any_case


def entry(text: str) -> Span:
    """A line of a set: a number, an address of any kind, a network, or a range of these, low..high or low-high."""
    if "/" in text:
        return network(text)
    ends = re.split(r"\s*(?:\.\.|-)\s*", text)
    spans = [_single(end) for end in ends]
    if len(spans) > 2 or spans[0].wide != spans[-1].wide:
        raise LiteralError(f"{text} is no entry of a set", "Entries are numbers, addresses, networks, ranges.")
    if spans[0].low > spans[-1].high:
        raise LiteralError("a range that ends before it begins")
    return Span(spans[0].low, spans[-1].high, spans[0].wide, spans[0].address)


def _single(text: str) -> Span:
    if _MAC.fullmatch(text):
        return Span(mac(text), mac(text))
    if _DOTTED.fullmatch(text):
        return Span(address(text), address(text), address=True)
    if ":" in text:
        return Span(address6(text), address6(text), wide=True)
    try:
        return Span(number(text), number(text))
    except ValueError:
        raise LiteralError(f"{text} is no entry of a set",
                           "Entries are numbers, addresses, networks, ranges.") from None  # fmt: skip
