# SPDX-License-Identifier: BSD-3-Clause
"""The words of a node's argument, by the rules of csrc/graph/args.h: `key=value` or `value`, blanks between, a value in
single quotes if it has some.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from fpl.graph.node import GraphError

U32_MAX, U64_MAX = (1 << 32) - 1, (1 << 64) - 1
_UNITS_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_WORD = re.compile(r"\s*(?:([^\s='/]+)=)?('[^']*'|[^\s']+)(?=\s|$)")


def words(text: str) -> Iterator[tuple[str, str]]:
    """(key, value) of each; key "" of a value alone."""
    at = 0
    while text[at:].strip():
        found = _WORD.match(text, at)
        if not found:
            raise GraphError(f"{text[at:].strip()!r} is no argument")
        yield found[1] or "", found[2].strip("'")
        at = found.end()


def uint(what: str, value: str, least: int, most: int) -> int:
    if not (value.isascii() and value.isdigit()) or not least <= int(value) <= most:
        raise GraphError(f"{what}: {value!r} is no number from {least} to {most}")
    return int(value)


def choice(what: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise GraphError(f"{what}: {value!r} is none of {', '.join(known)}")
    return value


def unknown(key: str, value: str, usage: str) -> GraphError:
    return GraphError(f"{key + '=' if key else ''}{value}: not known; arguments: {usage}")


def duration(what: str, value: str) -> int:
    """Nanoseconds of "100us", "5ms", "10s", "2m", "1h"; of a bare number, seconds."""
    found = re.fullmatch(r"(\d{1,18})(ns|us|ms|s|m|h)?", value, re.ASCII)
    ns = int(found[1]) * _UNITS_NS[found[2] or "s"] if found else 0
    if not 0 < ns <= U64_MAX:
        raise GraphError(f"{what}: {value!r} is no time such as 10s")
    return ns
