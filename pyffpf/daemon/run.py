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
from pyffpf.daemon.adoption import adopt
from pyffpf.daemon.captures import Source
from pyffpf.daemon.clock import ClockWatch
from pyffpf.daemon.config import Config, ConfigError
from pyffpf.daemon.credentials import own_netns_cookie
from pyffpf.daemon.engine import Engine, EngineSource
from pyffpf.daemon.fdstore import FdStore, NoStore, StoreError
from pyffpf.daemon.links import LinkWatch
from pyffpf.daemon.metrics import MetricsServer
from pyffpf.daemon.notify import Notifier
from pyffpf.daemon.protocol import event
from pyffpf.daemon.server import Server
from pyffpf.daemon.service import Service
from pyffpf.daemon.slow import TICK_S, SlowReaders
from pyffpf.daemon.starter import Starter
from pyffpf.daemon.surroundings import Surroundings

log = logging.getLogger(__name__)

METRICS_MODE = 0o660
REPAIR_S = 1.0
PREPARED_S = 30.0


@dataclass(frozen=True)
class Settings:
    """What the command line decides. config_file None: the usual place; socket None: what the configuration says."""

    config_file: Path | None
    socket: Path | None

    def load(self) -> Config:
        if self.config_file is None:
            return configuration.load_default()
        return configuration.load(self.config_file)

    def socket_path(self, config: Config) -> Path:
        return self.socket or Path(config.daemon.socket)


class Daemon:
    """Everything of one ffpfd. Made on the event loop that it runs on."""

    def __init__(
        self,
        settings: Settings,
        config: Config,
        engine: Engine,
        listening: socket.socket,
        store: FdStore | None = None,
        notifier: Notifier | None = None,
        starter: Starter | None = None,
    ) -> None:
        """What is in the store is taken over before this returns. starter: of groups' workers; None: there are none."""
        self.settings = settings
        self.config = config
        self.engine = engine
        self.store = store or NoStore()
        self.notifier = notifier or Notifier(None)
        self._capturing = asyncio.Event()
        self._ending = asyncio.Event()
        self._leaving = False
        self.service = Service(engine, config, own_netns_cookie(), self._changed)
        self.server = Server(self.service, listening, config.daemon.connections, config.daemon.connections_per_user)
        if starter is not None:
            self.service.graphs.workers.serve_with(self.server, starter)
        self._slow = SlowReaders(self.service.captures, self.service.operations)
        self._metrics = MetricsServer(lambda: self.service.describer.document(None))
        self._keeper = adopt(self.store, self.service, self.server, engine)
        self.service.describer.adoptions = self._keeper.adoptions
        self.service.describer.holder = self.store.kind
        self._loop = asyncio.get_running_loop()
        engine.on_prepared(self._prepared)
        if self.service.captures.sources:
            self._capturing.set()
        self._watch_store()

    def stop(self) -> None:
        """The end of every capture."""
        self._ending.set()
        self._capturing.set()

    def leave(self) -> None:
        """The end of this process only: what is kept is taken over by the next one."""
        self._leaving = True
        self.stop()

    def _changed(self, source: Source) -> None:
        self._capturing.set()
        self._keeper.changed(source)

    def _prepared(self, prepared: EngineSource) -> None:
        """In an engine's thread, which holds the source's lock: files that must be kept before they are used."""

        async def keep() -> None:
            for source in self.service.captures.sources.values():
                if source.engine is prepared:
                    self._keeper.changed(source)

        asyncio.run_coroutine_threadsafe(keep(), self._loop).result(PREPARED_S)

    def _watch_store(self) -> None:
        """A holder that dies is replaced by one that is given everything."""
        descriptor = self.store.fileno()
        if descriptor is not None:
            asyncio.get_running_loop().add_reader(descriptor, self._repair_store, descriptor)

    def _repair_store(self, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        try:
            self.store.repair()
        except StoreError as error:
            log.error("captures would not survive the end of this ffpfd: %s", error)
            asyncio.get_running_loop().call_later(REPAIR_S, self._repair_store, descriptor)
            return
        log.warning("the holder had died; a new one holds everything")
        self._watch_store()

    async def _serve_metrics(self) -> None:
        metrics = self.config.metrics
        if metrics.socket:
            await self._metrics.listen_unix(Path(metrics.socket), METRICS_MODE)
        if metrics.listen:
            await self._metrics.listen_tcp(*listener.loopback_address(metrics.listen))

    async def _look_after_readers(self) -> None:
        """Does nothing, and not even that now and then, while there is no capture."""
        while not self._ending.is_set():
            await self._capturing.wait()
            await asyncio.sleep(TICK_S)
            await self._slow.tick()
            await self.service.look_for_failures()
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
        self.notifier.reloading()
        self.server.spawn(self._reloaded(config))

    async def _reloaded(self, config: Config) -> None:
        self.engine.configure(config)
        await self.service.reload(config)
        log.info("configuration reloaded")
        self.notifier.ready("serving")

    async def run(self) -> None:
        """Until stop() or leave(). After stop() every capture has ended when this returns."""
        service, spawn = self.service, self.server.spawn
        with contextlib.ExitStack() as watches:
            links = LinkWatch(
                lambda link: spawn(service.link_changed(link)), lambda links: spawn(service.links_missed(links))
            )
            watches.callback(links.close)
            clock = ClockWatch(lambda: spawn(service.clock_changed()))
            watches.callback(clock.close)
            await self._serve_metrics()
            looking = asyncio.create_task(self._look_after_readers())
            living = asyncio.create_task(self.notifier.keep_alive())
            watches.callback(living.cancel)
            captures = self.service.captures
            self.notifier.ready(f"{len(captures.flows)} flows taken over" if captures.flows else "serving")
            await self._ending.wait()
            self.notifier.stopping()
        await looking
        await self._metrics.close()
        if self._leaving:
            self.store.close()
            return
        self.service.graphs.workers.close()
        for flow in list(self.service.captures.flows.values()):
            flow.client.send(event("revoked", flow.id, reason="it was stopped"))
        await self.server.close()
        self.engine.close()
        self.store.end()


def raise_descriptor_limit() -> None:
    """Every lane of every flow has descriptors here."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def serve(
    settings: Settings,
    config: Config,
    engine: Engine,
    around: Surroundings | None = None,
    starter: Starter | None = None,
) -> None:
    """ffpfd on the socket that it was given, or one that it makes itself. ListenError, StoreError, and OSError for the
    metrics, when it cannot."""
    path, around = settings.socket_path(config), around or Surroundings.none()
    if around.control is not None:
        listening = listener.adopt(around.control)
    else:
        listening = listener.listen(path, config.daemon.socket_mode)
    try:
        store = around.store(config.daemon.holder, path)
        daemon = Daemon(settings, config, engine, listening, store, around.notifier, starter)
        with _signals(daemon):
            log.info("serves at %s", path)
            await daemon.run()
    finally:
        listening.close()
        if around.control is None:
            listener.remove(path)


@contextlib.contextmanager
def _signals(daemon: Daemon) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    actions: dict[int, Callable[[], None]] = {
        signal.SIGTERM: daemon.stop,
        signal.SIGINT: daemon.stop,
        signal.SIGUSR1: daemon.leave,
        signal.SIGHUP: daemon.reload,
    }
    for number, action in actions.items():
        loop.add_signal_handler(number, action)
    try:
        yield
    finally:
        for number in actions:
            loop.remove_signal_handler(number)
