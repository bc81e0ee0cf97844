# SPDX-License-Identifier: BSD-3-Clause
"""What takes long about a graph's nodes, before it is the graph's turn: users' programs, parsed, lowered and compiled.

    Ahead(...)     Stage.ahead()
    compile()      in any thread, beside all calls of the stage
    filters        for Stage.prepare(), which finds what was compiled, and compiles what was not
    close()

What is wrong with a node is not said here: who places it meets it again.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from fpl.classify import Classifier, ClassifyRefused, Module, Prepared
from fpl.graph.classes import Lowered, NotInKernelError
from fpl.graph.code import Code
from fpl.graph.node import DEVICE, Node
from fpl.graph.table import CLASSES

PREFIX = "ahead"  # of names; a function has the same text whatever node has it


@dataclass(frozen=True)
class Known:
    """What was prepared for the Classifier, or why it cannot be."""

    ready: Prepared
    reason: str = ""


class Ahead:
    """compile() and cancel(): any thread. All else by one thread, and not while compile() runs."""

    def __init__(self, nodes: Sequence[Node], link: int, library: bytes, classifier: Classifier) -> None:
        """link, library: as the Stage's."""
        self.filters: dict[bytes, Known] = {}  # by Filter.key
        self._link, self._library, self._classifier = link, library, classifier
        self._heavy = [
            (node, any(nodes[position].kind == DEVICE for position in node.inputs))
            for node in nodes
            if node.kind in CLASSES and CLASSES[node.kind].heavy
        ]
        self._lock = threading.Lock()
        self._at_work: Prepared | None = None
        self._is_cancelled = False

    @property
    def is_slow(self) -> bool:
        """compile() has something to do."""
        return bool(self._heavy)

    def compile(self) -> None:
        for node, is_first in self._heavy:
            if self._is_cancelled:
                return
            with contextlib.suppress(NotInKernelError, ClassifyRefused):
                lowered = CLASSES[node.kind].instance(node)
                if lowered.links is None or self._link in lowered.links:
                    self._compile(lowered, is_first)

    def _compile(self, lowered: Lowered, is_first: bool) -> None:
        """is_first: packets come from a device; elsewhere a filter that is no table runs as a node (columns.py)."""
        if lowered.filter is not None and self._is_column(lowered, is_first):
            return
        code = Code(PREFIX, self._link)
        lowered.emit(code)
        for function in code.functions.values():
            self._classifier.learn(Module(function.text, self._library if function.calls_library else b""))

    def _is_column(self, lowered: Lowered, is_first: bool) -> bool:
        assert lowered.filter is not None
        filter = lowered.filter(self._link, self._library)
        if isinstance(filter, bytes) or filter.key in self.filters:
            return True
        made = self._classifier.prepare(filter)
        if made.table is None and not is_first:
            made.close()
            return False
        try:
            with self._lock:
                self._at_work = made
                if self._is_cancelled:
                    made.cancel()
            made.compile()
        except ClassifyRefused as refused:
            self.filters[filter.key] = Known(made, str(refused))
            return False
        except BaseException:
            made.close()
            raise
        finally:
            with self._lock:
                self._at_work = None
        self.filters[filter.key] = Known(made)
        return True

    def cancel(self) -> None:
        """compile() ends soon: what is being compiled as a filter at once, a function within the compiler's limits."""
        with self._lock:
            self._is_cancelled = True
            if self._at_work is not None:
                self._at_work.cancel()

    def close(self) -> None:
        """Gives back what no column has taken. A second call does nothing."""
        while self.filters:
            self.filters.popitem()[1].ready.close()
