# SPDX-License-Identifier: BSD-3-Clause
"""The words of a node's argument, by the rules of csrc/graph/args.h: `key=value` or `value`, blanks between, a value in
single quotes if it has some.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from fpl.graph.node import GraphError

U32_MAX, U64_MAX = (1 << 32) - 1, (1 << 64) - 1
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
