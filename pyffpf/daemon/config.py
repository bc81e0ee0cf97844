# SPDX-License-Identifier: BSD-3-Clause
"""ffpfd's configuration: TOML, a main file and then conf.d/*.toml beside it, in the order of their names.

A later file overrides single keys of an earlier one; its [[allow]] rules come behind. Every key is declared here, and
one that is not, or has the wrong type, is an error that names file and key. docs/ffpfd.md shows them all.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyffpf.daemon import replay
from pyffpf.daemon.boards import Board
from pyffpf.daemon.listener import loopback_address
from pyffpf.daemon.protocol import SNAP_LEN_MAX
from pyffpf.daemon.replay import Replay

DEFAULT_FILE = Path("/etc/ffpf/ffpfd.toml")
DEFAULT_SOCKET = Path("/run/ffpf/ffpfd.sock")
PACKAGED_FILE = Path(__file__).with_name("ffpfd.toml")

_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(r"(\d{1,12}) ?(KiB|MiB|GiB)?")
BMS = ("srp", "frp")
LEVELS = ("kernel", "userspace")
HOLDERS = ("auto", "systemd", "process", "none")
BOARD_KEYS = ("lossless", "patience_ms", "readers")
REPLAY_KEYS = ("rate", "loops", "times", *BOARD_KEYS)


class ConfigError(Exception):
    """A file or key that is wrong: the text names both."""


@dataclass(frozen=True)
class DaemonConfig:
    socket: str = str(DEFAULT_SOCKET)
    socket_mode: int = 0o666  # who may connect is asked of credentials and rules; the file lets everybody ask
    admin_group: str = "ffpf"  # its members, and root, see all groups in `status`
    connections: int = 1024
    connections_per_user: int = 256
    user: str = "ffpf"  # root becomes this user, if there is one; empty: stays
    netfilter: bool = False  # keep CAP_NET_ADMIN, for netfilter sources
    holder: str = "auto"  # what keeps captures alive while ffpfd is away: "systemd", "process", "none"


@dataclass(frozen=True)
class LimitsConfig:
    """For each user but root."""

    flows: int = 64
    memory: int = 1 << 30  # octets of PBufs that the user's flows keep alive, and of their IBufs
    snap_len: int = SNAP_LEN_MAX
    nodes: int = 40  # of filter graphs


@dataclass(frozen=True)
class BuffersConfig:
    bms: str = "srp"
    bytes: int = 64 << 20  # of PBuf per flow group and source, over all lanes
    ibuf_bytes: int = 256 << 10  # of a flow's IBufs to begin with, over all lanes; 4 KiB in each at least
    ibuf_bytes_max: int = 8 << 20  # of one IBuf: they grow
    stall_ms: int = 2000  # SRP: so long may a reader stop its group; 0: for ever


@dataclass(frozen=True)
class GroupConfig:
    """What differs from [buffers] for one flow group. None: nothing."""

    bms: str | None = None
    stall_ms: int | None = None


@dataclass(frozen=True)
class ClassConfig:
    """Where nodes of one filter class run: "kernel", "userspace"; "": at the lowest level that can run them."""

    level: str = ""


@dataclass(frozen=True)
class Fpl2Config:
    """Programs in FPL-2: see programs.py. The limits are those of the compiler, or less."""

    trust: Path = Path("/etc/ffpf/trust")  # keys whose signatures count
    records: Path = Path("/etc/ffpf/records")  # signed records that clients may name
    require_signed: bool = False  # nothing but those
    steps: int = 1_000_000
    rounds: int = 65536
    mbuf: int = 1 << 24


@dataclass(frozen=True)
class SourceConfig:
    """What differs from [buffers] for one source, and of a savefile how it is replayed (replay.py), of a network
    processor's board where it is (boards.py). None: nothing."""

    bytes: int | None = None
    file: Path | None = None
    board: str | None = None
    rate: replay.Rate | None = None
    loops: int | None = None
    times: str | None = None
    lossless: bool | None = None
    patience_ms: int | None = None
    readers: int | None = None


@dataclass(frozen=True)
class MetricsConfig:
    socket: str = ""  # path of the UNIX socket; empty: none
    listen: str = ""  # "127.0.0.1:9750", an address of this machine's loopback interface; empty: none


@dataclass(frozen=True)
class AllowRule:
    """Whoever is one of `users` or in one of `groups` ("*": anybody) may capture from sources that match a pattern."""

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    sources: tuple[str, ...] = ("*",)
    promisc: bool = True
    snap_len: int = SNAP_LEN_MAX


@dataclass(frozen=True)
class Config:
    daemon: DaemonConfig = DaemonConfig()
    limits: LimitsConfig = LimitsConfig()
    buffers: BuffersConfig = BuffersConfig()
    metrics: MetricsConfig = MetricsConfig()
    fpl2: Fpl2Config = Fpl2Config()
    group: Mapping[str, GroupConfig] = field(default_factory=dict)
    source: Mapping[str, SourceConfig] = field(default_factory=dict)
    classes: Mapping[str, ClassConfig] = field(default_factory=dict)
    allow: tuple[AllowRule, ...] = ()

    def replays(self) -> dict[str, Replay]:
        """The savefiles that clients may open, by name."""
        return {name: made for name, source in self.source.items() if (made := _replay(source)) is not None}

    def boards(self) -> dict[str, Board]:
        """The boards that clients may open, by name."""
        return {
            name: Board(source.board, **_said(source, BOARD_KEYS))
            for name, source in self.source.items()
            if source.board is not None
        }


def _said(source: SourceConfig, names: Sequence[str]) -> dict[str, Any]:
    said = {name: getattr(source, name) for name in names}
    return {name: value for name, value in said.items() if value is not None}


def _replay(source: SourceConfig) -> Replay | None:
    return None if source.file is None else Replay(source.file, **_said(source, REPLAY_KEYS))


def size(value: object) -> int:
    """Octets: a number, or text such as "64 MiB"."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('must be a number of octets, or text such as "64 MiB"')
    return int(match[1]) * _UNITS[match[2] or ""]


def _whole(low: int, high: int, read: Callable[[object], int] | None = None) -> Callable[[object], int]:
    def check(value: object) -> int:
        if read is None and (not isinstance(value, int) or isinstance(value, bool)):
            raise ValueError("must be a whole number")
        number = read(value) if read else value
        if not isinstance(number, int) or not low <= number <= high:
            raise ValueError(f"must be from {low} to {high}")
        return number

    return check


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


def _board(value: object) -> str:
    if not _text(value) or "\0" in str(value):
        raise ValueError("must be a board's name, or the path of its socket")
    return str(value)


def _bms(value: object) -> str:
    if value not in BMS:
        raise ValueError(f"must be one of {', '.join(BMS)}")
    return str(value)


def _holder(value: object) -> str:
    if value not in HOLDERS:
        raise ValueError(f"must be one of {', '.join(HOLDERS)}")
    return str(value)


def _level(value: object) -> str:
    if value not in LEVELS:
        raise ValueError(f"must be one of {', '.join(LEVELS)}")
    return str(value)


def _loopback(value: object) -> str:
    if value != "":
        loopback_address(_text(value))
    return _text(value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError("must be a list of texts")
    return tuple(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _mode(value: object) -> int:
    if not isinstance(value, str) or not re.fullmatch("0?[0-7]{3}", value):
        raise ValueError('must be text such as "0660"')
    return int(value, 8)


_PBUF = _whole(1 << 16, 1 << 36, size)
_IBUF = _whole(4096, 1 << 26, size)
_STALL = _whole(0, 3_600_000)
_SNAP_LEN = _whole(1, SNAP_LEN_MAX)

# Table -> key -> how its value is read; ValueError says what is wrong with it.
KEYS: dict[str, dict[str, Callable[[object], Any]]] = {
    "daemon": {
        "socket": _text,
        "socket_mode": _mode,
        "admin_group": _text,
        "connections": _whole(1, 100_000),
        "connections_per_user": _whole(1, 100_000),
        "user": _text,
        "netfilter": _flag,
        "holder": _holder,
    },
    "limits": {
        "flows": _whole(0, 512),
        "memory": _whole(0, 1 << 40, size),
        "snap_len": _SNAP_LEN,
        "nodes": _whole(0, 60),
    },
    "buffers": {"bms": _bms, "bytes": _PBUF, "ibuf_bytes": _IBUF, "ibuf_bytes_max": _IBUF, "stall_ms": _STALL},
    "metrics": {"socket": _text, "listen": _loopback},
    "fpl2": {
        "trust": replay.file,
        "records": replay.file,
        "require_signed": _flag,
        "steps": _whole(1, Fpl2Config.steps),
        "rounds": _whole(0, Fpl2Config.rounds),
        "mbuf": _whole(0, Fpl2Config.mbuf, size),
    },
    "group": {"bms": _bms, "stall_ms": _STALL},
    "classes": {"level": _level},
    "source": {
        "bytes": _PBUF,
        "file": replay.file,
        "board": _board,
        "rate": replay.rate,
        "loops": replay.loops,
        "times": replay.times,
        "lossless": _flag,
        "patience_ms": _whole(1, 3_600_000),
        "readers": _whole(1, 512),
    },
    "allow": {"users": _texts, "groups": _texts, "sources": _texts, "promisc": _flag, "snap_len": _SNAP_LEN},
}


NAMED: dict[str, Callable[[], Any]] = {
    "group": GroupConfig,
    "classes": ClassConfig,
    "source": SourceConfig,
}  # tables of tables


def _read_keys(file: Path, name: str, kind: str, table: object) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: {name}: must be a table")
    values = {}
    for key, value in table.items():
        read = KEYS[kind].get(key)
        if read is None:
            raise ConfigError(f"{file}: {name}.{key}: no such key; there are {', '.join(KEYS[kind])}")
        try:
            values[key] = read(value)
        except ValueError as error:
            raise ConfigError(f"{file}: {name}.{key}: {error}") from error
    return values


def _rule(file: Path, number: int, table: object) -> AllowRule:
    rule = AllowRule(**_read_keys(file, f"allow[{number}]", "allow", table))
    if not rule.users and not rule.groups:
        raise ConfigError(f'{file}: allow[{number}]: needs users or groups; "*" is anybody')
    return rule


def _merge(config: Config, file: Path, document: Mapping[str, Any]) -> Config:
    changes: dict[str, Any] = {}
    for name, table in document.items():
        if name == "allow":
            if not isinstance(table, list):
                raise ConfigError(f"{file}: allow: write [[allow]], once for each rule")
            changes[name] = config.allow + tuple(_rule(file, number, rule) for number, rule in enumerate(table))
        elif name in NAMED:
            if not isinstance(table, dict):
                raise ConfigError(f"{file}: {name}: write [{name}.NAME]")
            named = dict(getattr(config, name))
            for item, keys in table.items():
                old = named.get(item, NAMED[name]())
                named[item] = dataclasses.replace(old, **_read_keys(file, f"{name}.{item}", name, keys))
            changes[name] = named
        elif name in KEYS:
            changes[name] = dataclasses.replace(getattr(config, name), **_read_keys(file, name, name, table))
        else:
            raise ConfigError(f"{file}: {name}: no such table; there are {', '.join(KEYS)}")
    return dataclasses.replace(config, **changes)


def _files(main: Path) -> Iterator[Path]:
    yield main
    yield from sorted(main.with_name("conf.d").glob("*.toml"))


def _check_source(main: Path, name: str, source: SourceConfig) -> None:
    if source.file is not None and source.board is not None:
        raise ConfigError(f"{main}: source.{name}.board: it is a savefile already: source.{name}.file is there")
    for key in REPLAY_KEYS:
        if getattr(source, key) is None or source.file is not None:
            continue
        if key not in BOARD_KEYS:
            raise ConfigError(f"{main}: source.{name}.{key}: only for a savefile: source.{name}.file is missing")
        if source.board is None:
            words = f"only for a savefile or a board: source.{name}.file, or .board, is missing"
            raise ConfigError(f"{main}: source.{name}.{key}: {words}")


def load(main: Path) -> Config:
    """The configuration in `main` and the files of conf.d beside it; ConfigError names the file and the key."""
    config = Config()
    for file in _files(main):
        try:
            document = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{file}: {error.strerror}") from error
        except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError
            raise ConfigError(f"{file}: {error}") from error
        config = _merge(config, file, document)
    if config.buffers.ibuf_bytes > config.buffers.ibuf_bytes_max:
        raise ConfigError(f"{main}: buffers.ibuf_bytes: more than buffers.ibuf_bytes_max")
    for name, source in config.source.items():
        _check_source(main, name, source)
    return config


def load_default() -> Config:
    """That of /etc/ffpf, or, where nobody wrote one, the packaged default."""
    return load(DEFAULT_FILE if DEFAULT_FILE.exists() else PACKAGED_FILE)
