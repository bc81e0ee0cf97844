# SPDX-License-Identifier: BSD-3-Clause
"""How FRP's reader may validate, by exhaustive enumeration in terms of C11's release and acquire.

One writer overwrites a record; one reader copies it word by word and then validates. There is a single writer, so the
history of each location is a fixed list of messages. A message carries a value and, if the store was a release, the
writer's view: how far each location had come by then. A load may return any message that is not older than the
reader's view of its location; an acquire load of a release message joins that message's view to the reader's. So all
that a weak machine may do is a choice of a message per load, and all choices are tried. A reader that looks at a packet
where it lies loads relaxed, and puts an acquire fence before the check: it joins what the loads before it would have.

A record at position 0 of a PBuf of `SIZE` cells is read while the writer stores the record at position SIZE, which
takes its place: the reader may accept the copy only when it has nothing of the new record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import pytest

SIZE = 2  # cells; a record takes one
WORDS = ("stamp", "data0", "data1")
View = dict[str, int]


class Order(Enum):
    RELAXED = 0
    RELEASE = 1  # of stores; loads that go with them acquire


@dataclass(frozen=True)
class Message:
    value: int
    view: tuple[tuple[str, int], ...]  # empty: relaxed


@dataclass(frozen=True)
class Protocol:
    """How the writer stores and what the reader checks after copying."""

    announces: bool  # intent is stored before the words are
    checks: str  # "w" or "intent"
    words: Order  # of the record's words
    announces_late: bool = False
    in_place: bool = False  # the words are loaded relaxed, whatever their stores were
    fence: bool = False  # an acquire fence stands before the check


def history(protocol: Protocol) -> dict[str, list[Message]]:
    """All stores, from an empty PBuf to the record at position SIZE being published, in one lane."""
    log: dict[str, list[Message]] = {name: [Message(0, ())] for name in (*WORDS, "w", "intent", "other")}

    def store(name: str, value: int, order: Order) -> None:
        view = tuple((n, len(m) - 1 + (n == name)) for n, m in log.items()) if order is Order.RELEASE else ()
        log[name].append(Message(value, view))

    for position in range(SIZE + 1):
        intent = position + 1
        if protocol.announces and not protocol.announces_late:
            store("intent", intent, Order.RELAXED)
        if position % SIZE == 0:
            for name in WORDS[1:]:
                store(name, position, protocol.words)
            store("stamp", position, protocol.words)
        else:
            store("other", position, protocol.words)
        if protocol.announces and protocol.announces_late:
            store("intent", intent, Order.RELAXED)
        store("w", position + 1, Order.RELEASE)
    return log


def loads(log: dict[str, list[Message]], view: View, name: str, acquire: bool) -> Iterator[tuple[int, View]]:
    """Every value that a load may return, with the view behind it."""
    for at in range(view[name], len(log[name])):
        seen = dict(view)
        seen[name] = at
        if acquire:
            for other, reached in log[name][at].view:
                seen[other] = max(seen[other], reached)
        yield log[name][at].value, seen


def copies(
    log: dict[str, list[Message]], view: View, names: tuple[str, ...], acquire: bool
) -> Iterator[tuple[list[int], View]]:
    if not names:
        yield [], view
        return
    for value, seen in loads(log, view, names[0], acquire):
        for rest, last in copies(log, seen, names[1:], acquire):
            yield [value, *rest], last


def fence(log: dict[str, list[Message]], view: View) -> None:
    """Acquires what the words that were loaded last had been released with."""
    for name in WORDS:
        for other, reached in log[name][view[name]].view:
            view[other] = max(view[other], reached)


def enumerate_reads(protocol: Protocol) -> tuple[int, int, int]:
    """(ways, accepted, torn): a torn copy is one that is accepted with a word of the new record."""
    log = history(protocol)
    acquire = protocol.words is Order.RELEASE and not protocol.in_place
    start: View = dict.fromkeys(log, 0)
    ways = accepted = torn = 0
    for w, view in loads(log, start, "w", True):
        if w < 1:
            continue  # the record at 0 is not published yet
        for words, behind in copies(log, view, WORDS, acquire):
            if protocol.fence:
                fence(log, behind)
            for check, _ in loads(log, behind, protocol.checks, False):
                ways += 1
                if words[0] != 0 or check > SIZE:
                    continue
                accepted += 1
                torn += any(word != 0 for word in words)
    return ways, accepted, torn


SOUND = {
    "copied": Protocol(announces=True, checks="intent", words=Order.RELEASE),
    "in place": Protocol(announces=True, checks="intent", words=Order.RELEASE, in_place=True, fence=True),
}
UNSOUND = {
    "w alone": Protocol(announces=True, checks="w", words=Order.RELEASE),
    "w alone, relaxed words": Protocol(announces=True, checks="w", words=Order.RELAXED),
    "intent, but relaxed words": Protocol(announces=True, checks="intent", words=Order.RELAXED),
    "intent announced after the stores": Protocol(True, "intent", Order.RELEASE, announces_late=True),
    "in place, no fence": Protocol(True, "intent", Order.RELEASE, in_place=True),
    "in place, w alone": Protocol(True, "w", Order.RELEASE, in_place=True, fence=True),
    "in place, relaxed words": Protocol(True, "intent", Order.RELAXED, in_place=True, fence=True),
    "no intent": Protocol(announces=False, checks="intent", words=Order.RELEASE),
}


@pytest.mark.parametrize("name", SOUND)
def test_intent_with_release_words_accepts_nothing_torn(name: str) -> None:
    ways, accepted, torn = enumerate_reads(SOUND[name])
    assert ways > 10
    assert accepted > 0  # a check that refuses everything would be no protocol
    assert torn == 0


@pytest.mark.parametrize("name", UNSOUND)
def test_anything_less_accepts_torn_records(name: str) -> None:
    ways, accepted, torn = enumerate_reads(UNSOUND[name])
    assert ways > 10
    assert accepted > 0
    assert torn > 0
