# SPDX-License-Identifier: BSD-3-Clause
"""The engines that are compared with stock: one row each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from compat_tests import shared
from compat_tests.netns import Netns


@dataclass(frozen=True)
class Served:
    """How tools are sent to an engine. kind: what FFPF_STATS must call it. env: what their environment has besides."""

    kind: str
    env: dict[str, str]


@contextmanager
def embedded(ns: Netns) -> Iterator[Served]:
    del ns
    yield Served("embedded", {"FFPF_ENGINE": "embedded"})


def ffpfd(bms: str) -> Callable[[Netns], AbstractContextManager[Served]]:
    """Captured by ffpfd, with buffers large enough for what is replayed."""
    config = shared.CONFIG.replace('bytes = "16 MiB"', f'bytes = "64 MiB"\nbms = "{bms}"', 1)

    @contextmanager
    def serving(ns: Netns) -> Iterator[Served]:
        with shared.Ffpfd(ns, config) as daemon:
            yield Served("shared", {"FFPF_SOCKET": str(daemon.socket), "FFPF_ENGINE": "shared"})

    return serving


ENGINES: dict[str, Callable[[Netns], AbstractContextManager[Served]]] = {
    "embedded": embedded,
    "shared SRP": ffpfd("srp"),
    "shared FRP": ffpfd("frp"),
}
