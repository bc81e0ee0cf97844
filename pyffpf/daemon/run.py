# SPDX-License-Identifier: BSD-3-Clause
"""ffpfd from its start to its end: what it is made of, and the signals that steer it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pyffpf.daemon import config as configuration
from pyffpf.daemon import listener
from pyffpf.daemon.clock import ClockWatch
from pyffpf.daemon.config import Config, ConfigError
from pyffpf.daemon.credentials import netns_cookie
from pyffpf.daemon.engine import Engine
from pyffpf.daemon.links import LinkWatch
from pyffpf.daemon.server import Server
from pyffpf.daemon.service import Service
from pyffpf.daemon.slow import TICK_S, SlowReaders

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What the command line decides. config_file None: the usual place; socket None: what the configuration says."""

    config_file: Path | None
    socket: Path | None

    def load(self) -> Config:
        if self.config_file is None:
            return configuration.load_default()
        return configuration.load(self.config_file)


class Daemon:
    """Everything of one ffpfd. Made on the event loop that it runs on."""

    def __init__(self, settings: Settings, config: Config, engine: Engine, listening: socket.socket) -> None:
        self.settings = settings
        self.engine = engine
        self._capturing = asyncio.Event()
        self._ending = asyncio.Event()
        self.service = Service(engine, config, netns_cookie(listening), self._changed)
        self.server = Server(self.service, listening, config.daemon.connections, config.daemon.connections_per_user)
        self._slow = SlowReaders(self.service.captures, self.service.operations)

    def stop(self) -> None:
        self._ending.set()
        self._capturing.set()

    def _changed(self) -> None:
        self._capturing.set()

    async def _look_after_readers(self) -> None:
        """Does nothing, and not even that now and then, while there is no capture."""
        while not self._ending.is_set():
            await self._capturing.wait()
            await asyncio.sleep(TICK_S)
            await self._slow.tick()
            if not self.service.captures.sources and not self._ending.is_set():
                self._capturing.clear()

    def reload(self) -> None:
        """A configuration that is wrong changes nothing."""
        try:
            config = self.settings.load()
        except ConfigError as error:
            log.error("configuration not reloaded: %s", error)
            return
        self.server.most = config.daemon.connections
        self.server.most_per_user = config.daemon.connections_per_user
        self.server.spawn(self.service.reload(config))
        log.info("configuration reloaded")

    async def run(self) -> None:
        """Until stop(). Every capture has ended when this returns."""
        service, spawn = self.service, self.server.spawn
        with contextlib.ExitStack() as watches:
            links = LinkWatch(
                lambda link: spawn(service.link_changed(link)), lambda links: spawn(service.links_missed(links))
            )
            watches.callback(links.close)
            clock = ClockWatch(lambda: spawn(service.clock_changed()))
            watches.callback(clock.close)
            spawn(self._look_after_readers())
            await self._ending.wait()
        await self.server.close()
        self.engine.close()


def raise_descriptor_limit() -> None:
    """Every lane of every flow has descriptors here."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def serve(settings: Settings, config: Config, engine: Engine) -> None:
    """ffpfd on a socket that it makes itself. ListenError when it cannot."""
    path = settings.socket or Path(config.daemon.socket)
    listening = listener.listen(path, config.daemon.socket_mode)
    try:
        daemon = Daemon(settings, config, engine, listening)
        with _signals(daemon):
            log.info("serves at %s", path)
            await daemon.run()
    finally:
        listening.close()
        listener.remove(path)


@contextlib.contextmanager
def _signals(daemon: Daemon) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    actions: dict[int, Callable[[], None]] = {
        signal.SIGTERM: daemon.stop,
        signal.SIGINT: daemon.stop,
        signal.SIGHUP: daemon.reload,
    }
    for number, action in actions.items():
        loop.add_signal_handler(number, action)
    try:
        yield
    finally:
        for number in actions:
            loop.remove_signal_handler(number)
