# SPDX-License-Identifier: BSD-3-Clause
"""What a capture can be opened on, each as a reader of the core."""

from __future__ import annotations

import io
import os
import socket
import stat
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pyffpf._core import ffi, lib
from pyffpf.engine_choice import VARIABLE, engine_named, explained, is_file, is_interface
from pyffpf.errors import FfpfError, NoSuchDevice, NotPermitted, exception_of, new_error

SNAPLEN_MAX = 262144
BOARD_WANT = 256  # packets worth waking for, before the delay is over


@dataclass(frozen=True)
class LiveOptions:
    """How an interface is captured; see pyffpf.open."""

    snaplen: int = SNAPLEN_MAX
    promisc: bool = True
    immediate: bool = False
    delay: float = 0.1
    buffer_size: int = 0
    group: str | None = None


@dataclass
class Opened:
    """A reader, and what else must live, or be done, with it."""

    reader: Any
    name: str
    engine: str  # "shared" or "embedded"
    form: int  # enum ffpf_filter_form
    live: bool
    file: Any = ffi.NULL  # FILE *
    stream: bool = False
    linger: float = 0.0  # as of pyffpf.pulled.Pulled
    at_end: list[Callable[[], None]] = field(default_factory=list)  # called at the end of the packets, and at close


# ---- interfaces ----


def open_live(name: str, engine: str, options: LiveOptions) -> Opened:
    """An interface, `any`, or a source that ffpfd knows by this name."""
    asked, engine = engine, engine_named(engine)
    if not 1 <= options.snaplen <= SNAPLEN_MAX:
        raise ValueError(f"snaplen {options.snaplen} is not from 1 to {SNAPLEN_MAX}")
    if options.delay < 0 or options.buffer_size < 0:
        raise ValueError("neither delay nor buffer_size can be negative")
    if engine == "embedded":
        return _embedded(name, options)
    if engine == "shared":
        return _shared(name, options, "" if asked == engine else f"{VARIABLE}=shared: ")
    try:
        return _shared(name, options)
    except FfpfError as error:
        refusal = error
    try:
        return _embedded(name, options)
    except (NotPermitted, NoSuchDevice) as error:
        told = explained(error, refusal)
        if told is error:
            raise
        raise told from refusal


def _milliseconds(options: LiveOptions) -> int:
    return min(int(options.delay * 1000 + 0.5), 2**31 - 1) or 1


def _shared(name: str, options: LiveOptions, why: str = "") -> Opened:
    """why: who wants it in ffpfd, if it was not the call."""
    names = [ffi.new("char[]", word.encode()) for word in (name, Path(sys.argv[0] or "python").name[:60])]
    group = ffi.new("char[]", options.group.encode()) if options.group else ffi.NULL
    config = ffi.new(
        "struct ffpf_shared_config *",
        {
            "device": names[0], "group": group, "program": names[1], "snap_len": options.snaplen,
            "timeout_ms": _milliseconds(options), "promisc": options.promisc, "immediate": options.immediate,
            "tick": lib.FFPF_TICK_NS,
        },
    )  # fmt: skip
    out, error = ffi.new("struct ffpf_reader **"), new_error()
    if lib.ffpf_shared_open(out, config, error):
        raise exception_of(error, why + name)
    return _opened_live(out[0], name, "shared", options)


def _embedded(name: str, options: LiveOptions) -> Opened:
    device = ffi.new("char[]", name.encode())
    if not is_interface(name) and lib.ffpf_ixp_answers(device):
        return _board(name, options)
    config = ffi.new(
        "struct ffpf_live_config *",
        {
            "device": device, "snap_len": options.snaplen, "timeout_ms": _milliseconds(options),
            "buffer_bytes": options.buffer_size, "promisc": options.promisc, "immediate": options.immediate,
            "tstamp_type": lib.FFPF_TSTAMP_DEFAULT, "tick": lib.FFPF_TICK_NS,
            "stamp_in_ring": True,
        },
    )  # fmt: skip
    out, error = ffi.new("struct ffpf_reader **"), new_error()
    if lib.ffpf_live_open(out, config, ffi.NULL, error):
        raise exception_of(error, name)
    return _opened_live(out[0], name, "embedded", options)


def _opened_live(reader: Any, name: str, engine: str, options: LiveOptions) -> Opened:
    linger = 0.0 if options.immediate else options.delay
    return Opened(reader, name, engine, lib.FFPF_FORM_LIVE, live=True, linger=linger)


def _board(name: str, options: LiveOptions) -> Opened:
    """A network processor's board, whose window this process reads."""
    board = ffi.new("char[]", name.encode())
    config = ffi.new(
        "struct ffpf_ixp_config *",
        {
            "board": board, "snap_len": options.snaplen, "tick": lib.FFPF_TICK_NS,
            "timeout_ms": _milliseconds(options), "want": 1 if options.immediate else BOARD_WANT,
        },
    )  # fmt: skip
    out, error = ffi.new("struct ffpf_reader **"), new_error()
    if lib.ffpf_ixp_open(out, config, error):
        raise exception_of(error)
    return Opened(out[0], name, "embedded", lib.FFPF_FORM_DEAD, live=True)


# ---- savefiles ----


def open_path(path: str | os.PathLike[str]) -> Opened:
    """A savefile, or a named pipe, by its path."""
    name = os.fspath(path)
    return _open_descriptor(os.open(name, os.O_RDONLY | os.O_CLOEXEC), name)


def open_octets(octets: bytes | bytearray | memoryview, name: str = "<bytes>") -> Opened:
    """A savefile's content, copied: the caller may change it afterwards."""
    fd = os.memfd_create("pyffpf", os.MFD_CLOEXEC)
    rest = memoryview(octets).cast("B")
    while rest:
        rest = rest[os.write(fd, rest) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return _open_descriptor(fd, name)


def open_file_object(file: IO[bytes]) -> Opened:
    """Whatever has read(): a file of the system is read from its position on by itself, and its position stays as it
    is where it has one; of others a thread reads ahead."""
    name = str(getattr(file, "name", f"<{type(file).__name__}>"))
    raw = file.raw if isinstance(file, io.BufferedReader | io.BufferedRandom) else file
    if isinstance(file, io.BytesIO):
        return open_octets(file.getbuffer()[file.tell() :], name)
    if not isinstance(raw, io.FileIO | socket.SocketIO):
        return _open_fed(file, name)
    fd = file.fileno()
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return _open_descriptor(os.dup(fd), name)
    own = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    os.lseek(own, file.tell(), os.SEEK_SET)
    return _open_descriptor(own, name)


def _open_descriptor(fd: int, name: str) -> Opened:
    """Takes over fd."""
    stream = not stat.S_ISREG(os.fstat(fd).st_mode)
    file = lib.fdopen(fd, b"rb")
    if file == ffi.NULL:
        number = ffi.errno
        os.close(fd)
        raise OSError(number, os.strerror(number), name)
    config = ffi.new("struct ffpf_savefile_config *", {"tick": lib.FFPF_WANT_NS, "interruptible": True})
    out, error = ffi.new("struct ffpf_reader **"), new_error()
    if lib.ffpf_savefile_open(out, file, config, error):
        lib.fclose(file)
        raise exception_of(error, name)
    form = lib.FFPF_FORM_SAVEFILE_SWAPPED if out[0].info.swapped else lib.FFPF_FORM_SAVEFILE
    return Opened(out[0], name, "embedded", form, live=False, file=file, stream=stream)


class _Feeder(threading.Thread):
    """Copies what read() gives into a pipe; an exception of read() is raised where the packets end."""

    def __init__(self, file: IO[bytes], fd: int) -> None:
        super().__init__(name="pyffpf-feeder", daemon=True)
        self._file = file
        self._fd = fd
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            while octets := self._file.read(1 << 18):
                rest = memoryview(octets)
                while rest:
                    rest = rest[os.write(self._fd, rest) :]
        except BrokenPipeError:
            pass  # the capture was closed
        except BaseException as error:
            self._failure = error
        finally:
            os.close(self._fd)

    def check(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure


def _open_fed(file: IO[bytes], name: str) -> Opened:
    end, start = os.pipe2(os.O_CLOEXEC)
    feeder = _Feeder(file, start)
    feeder.start()
    try:
        opened = _open_descriptor(end, name)
    except FfpfError:
        feeder.join(1.0)
        feeder.check()
        raise
    opened.at_end.append(feeder.check)
    return opened


# ---- any of them ----


def open_source(source: Any, engine: str, options: LiveOptions) -> Opened:
    """By the kind of the source; see pyffpf.open."""
    if isinstance(source, str):
        if source == "-":
            return open_file_object(sys.stdin.buffer)
        if source.startswith("file:"):
            return open_path(source[5:])
        if is_file(source):
            return open_path(source)
        return open_live(source, engine, options)
    if isinstance(source, os.PathLike):
        return open_path(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return open_octets(source)
    if hasattr(source, "read"):
        return open_file_object(source)
    raise TypeError(f"cannot open a {type(source).__name__}: an interface, a path, octets or a file is wanted")
