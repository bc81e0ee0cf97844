# SPDX-License-Identifier: BSD-3-Clause
"""ffpfd: captures packets once, and shares them. Exit code 0: ended as asked; 1: could not go on; 2: wrong arguments,
or a wrong configuration.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pyffpf.daemon.config import Config, ConfigError
from pyffpf.daemon.engine import Engine, EngineError
from pyffpf.daemon.fdstore import StoreError
from pyffpf.daemon.listener import ListenError
from pyffpf.daemon.privileges import PrivilegeError
from pyffpf.daemon.run import Settings, raise_descriptor_limit, serve
from pyffpf.daemon.starter import Starter
from pyffpf.daemon.surroundings import Surroundings, drop_privileges

log = logging.getLogger("ffpfd")


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def set_up_logging(form: str, verbose: bool) -> None:
    """To standard error, where a service manager takes it from."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter("ffpfd: %(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ffpfd", description="Captures packets once, and shares them.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="instead of /etc/ffpf/ffpfd.toml")
    parser.add_argument("--socket", type=Path, metavar="PATH", help="instead of the configuration's daemon.socket")
    parser.add_argument("--check-config", action="store_true", help="read the configuration, say what is wrong, end")
    parser.add_argument("--log-format", choices=["text", "json"], default="text")
    parser.add_argument("--verbose", action="store_true", help="log each connection's end too")
    return parser.parse_args(argv)


def all_sources(config: Config) -> Engine:
    """To be called after drop_privileges(): numpy, which the compiler uses, starts threads when it is imported."""
    from pyffpf.daemon.kernel_engine import KernelEngine
    from pyffpf.daemon.sources import Sources

    return Sources(KernelEngine(), config)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    settings = Settings(arguments.config, arguments.socket)
    try:
        config = settings.load()
    except ConfigError as error:
        print(f"ffpfd: {error}", file=sys.stderr)
        return 2
    if arguments.check_config:
        return 0
    set_up_logging(arguments.log_format, arguments.verbose)
    raise_descriptor_limit()
    try:
        around = Surroundings.take(os.environ)
        starter = Starter.fork(config.daemon.user)
        missing = drop_privileges(config.daemon, settings.socket_path(config))
        if missing:
            log.warning("%s missing: captures will be refused", ", ".join(missing))
        asyncio.run(serve(settings, config, all_sources(config), around, starter))
    except (ListenError, EngineError, StoreError, PrivilegeError, OSError) as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
