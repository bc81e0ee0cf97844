# SPDX-License-Identifier: BSD-3-Clause
"""A filter on its way to a column: what can be done before it is known which column, and beside all others.

Prepared(filter)    made rules if it can be: milliseconds
compile()           what stays code: compiled, and verified alone, which may take seconds
Classifier.set()    in force
close()
"""

from __future__ import annotations

import threading

from fpl.classify import bytecode
from fpl.classify.bytecode import ClassifyRefused
from fpl.classify.chain import Chain, Ready
from fpl.classify.compiler import Compiler, Compilers
from fpl.classify.filters import Filter, Table
from fpl.classify.symbolic import NotTable


class NotReady(Exception):  # noqa: N818 (an outcome: compile(), and try again)
    """The filter must be code, and has not been compiled."""


class Prepared:
    """cancel(): from any thread. All else by one thread at a time."""

    def __init__(self, filter: Filter | None, chain: Chain, compilers: Compilers) -> None:
        """None accepts everything."""
        self.filter = filter
        self.result = filter.result if filter is not None else bytecode.WORD
        self.table: Table | None = None  # None: not as tables
        self.why_code = ""  # why it is not
        self.was_compiled = False
        self._chain, self._compilers = chain, compilers
        self._ready: Ready | None = None
        self._lock = threading.Lock()
        self._compiler: Compiler | None = None  # at work on this
        self._is_cancelled = False
        if filter is not None:
            try:
                self.table = filter.as_table()
            except NotTable as reason:
                self.why_code = str(reason)

    @property
    def fetch_len(self) -> int:
        """Octets of a packet that it may look at."""
        if self.filter is None:
            return 0
        return self.table.fetch_len if self.table is not None else self.filter.fetch_len

    @property
    def is_slow(self) -> bool:
        """compile() has something to do."""
        return self.filter is not None and self.table is None and self._ready is None

    def be_code(self, why: str) -> None:
        """Not as tables: they are full."""
        self.table, self.why_code = None, why

    def compile(self) -> None:
        """Raises ClassifyRefused: too much for the verifier or the compiler, or cancelled."""
        if self.filter is None or not self.is_slow:
            return
        with self._compilers.one() as compiler:
            before = compiler.count
            with self._lock:
                if self._is_cancelled:
                    raise ClassifyRefused("it was cancelled")
                self._compiler = compiler
            try:
                self._ready = self._chain.ready(self.filter, compiler)
            finally:
                with self._lock:
                    self._compiler = None
            self.was_compiled = compiler.count > before

    def cancel(self) -> None:
        """compile() ends soon."""
        with self._lock:
            self._is_cancelled = True
            if self._compiler is not None:
                self._compiler.interrupt()

    @property
    def ready(self) -> Ready:
        """Raises NotReady."""
        if self._ready is None:
            raise NotReady
        return self._ready

    def close(self) -> None:
        """Gives back what it holds and no column has taken. A second call does nothing."""
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.close()
