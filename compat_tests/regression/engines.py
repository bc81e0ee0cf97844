# SPDX-License-Identifier: BSD-3-Clause
"""The engines that are compared with stock: one row each."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from compat_tests import harness, live, shared
from compat_tests.netns import Netns, wait_until
from ixp_driver.control import Session
from pyffpf.cli.control import ControlError

CONFIG = shared.CONFIG.replace('bytes = "16 MiB"', 'bytes = "64 MiB"\nbms = "BMS"', 1)


@dataclass(frozen=True)
class Served:
    """How tools are sent to an engine. kind: what FFPF_STATS must call it. env: what their environment has besides.
    device: what they capture on, where that is not the left end: a name of the same length, so that what they write
    differs in the name alone. captures: whether the process of that id does, or one that it began. lost: packets that
    reached the interface and not the engine, so that no tool is told of them."""

    kind: str
    env: dict[str, str]
    device: str = ""
    captures: Callable[[int], bool] = live.has_packet_socket
    lost: Callable[[], int] = int


@dataclass(frozen=True)
class Engine:
    """serve: brings it up in a namespace. interface: what tools capture on is one that the kernel knows."""

    serve: Callable[[Netns], AbstractContextManager[Served]]
    interface: bool = True


def by_ffpfd(daemon: shared.Ffpfd, device: str = "") -> Served:
    def captures(pid: int) -> bool:
        time.sleep(live.LOOK_S)  # whoever waits for this asks again and again, while ffpfd makes what tools ask for
        members = live.family(pid)
        try:
            return any(flow.pid in members for flow in daemon.ask_status().flows)
        except ControlError:  # it did not answer in time
            return False

    return Served("shared", {"FFPF_SOCKET": str(daemon.socket), "FFPF_ENGINE": "shared"}, device, captures)


@contextmanager
def embedded(ns: Netns) -> Iterator[Served]:
    del ns
    yield Served("embedded", {"FFPF_ENGINE": "embedded"})


def ffpfd(bms: str) -> Callable[[Netns], AbstractContextManager[Served]]:
    """Captured by ffpfd, with buffers large enough for what is replayed."""

    @contextmanager
    def serving(ns: Netns) -> Iterator[Served]:
        with shared.Ffpfd(ns, CONFIG.replace("BMS", bms)) as daemon:
            yield by_ffpfd(daemon)

    return serving


def lost_by_board(socket: Path) -> int:
    """Before its receive engine: it runs in real time, and on a busy machine it does not get that."""
    with Session(str(socket)) as session:
        return sum(port.rx_lost + port.socket_lost for port in session.status().ports)


@contextmanager
def board(ns: Netns) -> Iterator[Served]:
    """A network processor that the left end's packets reach, too, and ffpfd, which takes one of its filters for all."""
    with harness.scratch("ffpf-board-") as folder:
        name = "ixp".ljust(len(ns.left), "0")
        socket = folder / name
        words = [str(shared.SCRIPTS / "ffpf-ixp"), "board", "--name", name, "--port", f"if:{ns.left}"]
        process = ns.popen(words, env={**os.environ, "FFPF_IXP_DIR": str(folder)}, stdout=subprocess.DEVNULL)
        wait_until(lambda: socket.exists() or process.poll() is not None, "the board", shared.PATIENCE_S)
        config = f'{CONFIG}\n[source.{name}]\nboard = "{socket}"\n'
        with shared.Ffpfd(ns, config.replace("BMS", "srp")) as daemon:
            yield replace(by_ffpfd(daemon, name), lost=lambda: lost_by_board(socket))
        process.terminate()
        assert process.wait(shared.PATIENCE_S) == 0


ENGINES = {
    "embedded": Engine(embedded),
    "shared SRP": Engine(ffpfd("srp")),
    "shared FRP": Engine(ffpfd("frp")),
    "ixp": Engine(board, interface=False),
}
