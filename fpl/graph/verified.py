# SPDX-License-Identifier: BSD-3-Clause
"""Programs of users, each shown to the verifier alone before it comes to others: what is refused is its own fault, and
nobody else's. What the verifier said is known by content from then on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from fpl.classify import ClassifyRefused, bpf
from fpl.graph.emit import Body
from fpl.graph.merge import DEVICE_NUMBER, Running

KEPT = 1024  # programs of which it is known what the verifier says


class Verified:
    def __init__(
        self,
        body: Callable[[Sequence[Running]], Body],
        load: Callable[[Sequence[Running]], int],
        mbuf: Callable[[Running], int],
    ) -> None:
        """body: what a program of nodes is, without descriptors of MBufs. load: its descriptor, ours; raises
        ClassifyRefused, VerifierError. mbuf: a map for a node's MBuf."""
        self._body, self._load, self._mbuf = body, load, mbuf
        self._said: dict[bytes, str] = {}

    def refusal(self, running: Running) -> str:
        """Why the kernel does not take a node; "": it does."""
        # as the first of nodes that come from the device, whichever it will be: so its text says all of it
        tried = replace(running, number=1, key=replace(running.key, inputs=frozenset([DEVICE_NUMBER])), mbuf=-1)
        if tried.lowered.mbuf_bytes:
            tried.mbuf = self._mbuf(tried)
        try:
            return self._refusal(tried)
        finally:
            if tried.mbuf >= 0:
                os.close(tried.mbuf)

    def _refusal(self, tried: Running) -> str:
        known = hashlib.sha256(repr((self._body([tried]), tried.map_bytes)).encode()).digest()
        if known not in self._said:
            try:
                os.close(self._load([tried]))
                self._said[known] = ""
            except bpf.VerifierError as error:
                self._said[known] = f"the kernel refuses it: {error}"
            except ClassifyRefused as error:
                return f"the kernel refuses it: {error}"  # or the compiler died, and will not another time
            if len(self._said) > KEPT:
                del self._said[next(iter(self._said))]
        return self._said[known]
