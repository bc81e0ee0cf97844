# SPDX-License-Identifier: BSD-3-Clause
"""For tests: filters that are compiled as long as the test says."""

from __future__ import annotations

import threading

from pyffpf.daemon.engine import Plain


class SlowCompiler:
    """Compiles nothing until it is told to."""

    def __init__(self) -> None:
        self.begun: list[threading.Event] = []  # one for each filter; set: it was let go
        self.cancelled = 0


class FakeFilter(Plain):
    """See engine.Prepared."""

    def __init__(self, insns: bytes | None, compiler: SlowCompiler | None) -> None:
        super().__init__(insns, compiler is not None)
        self._compiler = compiler
        self._go_on = threading.Event()

    def compile(self) -> None:
        assert self._compiler is not None
        self._compiler.begun.append(self._go_on)
        assert self._go_on.wait(20)
        self.is_slow = False

    def cancel(self) -> None:
        if self._compiler is not None and not self._go_on.is_set():
            self._compiler.cancelled += 1
        self._go_on.set()
