# SPDX-License-Identifier: BSD-3-Clause
"""Users in turn: whoever asks for much, or for long, keeps another waiting for one of its requests at most."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Hashable


class Turns:
    """Of each user one request for a thing goes on; the others wait, in order. Where `most` is given, so many users'
    requests go on at a time, whatever they are for: a user who waits then is behind one of each who came before.
    """

    def __init__(self, most: int | None = None) -> None:
        self._locks: weakref.WeakValueDictionary[tuple[Hashable, int], asyncio.Lock] = weakref.WeakValueDictionary()
        self._room = asyncio.Semaphore(most) if most is not None else None

    @contextlib.asynccontextmanager
    async def turn(self, thing: Hashable, uid: int) -> AsyncIterator[None]:
        lock = self._locks.setdefault((thing, uid), asyncio.Lock())
        async with lock, self._room or contextlib.nullcontext():
            yield
