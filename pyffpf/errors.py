# SPDX-License-Identifier: BSD-3-Clause
"""What can go wrong, as exceptions; `check` is the one place where the core's codes become them.

FfpfError
  SystemFailure(OSError)        a system call failed: errno says how
    NoSuchDevice(FileNotFoundError)  NotPermitted(PermissionError)  DeviceGone
  NotSupported                  this source cannot do it
  BadFilter(ValueError)         text that does not compile
  BadFile(ValueError)           octets that are no savefile, or one that ends in a packet
  Denied(PermissionError)       ffpfd, or a policy of its, said no
  NoServer(ConnectionError)     nobody answers where ffpfd should
  BadGraph(ValueError)          graph text that means nothing, or that cannot be had
  Closed(ValueError)            the capture is closed
  WrongState(RuntimeError)      a call that a flow's state forbids
  Busy(RuntimeError)            another thread is in it, or it belongs to another process
  StillViewed(BufferError)      views of packets live that would be overwritten
  Lapped                        packets read in place were overwritten meanwhile: `rows` says which
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from pyffpf._core import ffi, lib

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class FfpfError(Exception):
    """Base of all that FFPF raises."""


class SystemFailure(FfpfError, OSError):
    """A system call failed; `errno` as in OSError."""


class NoSuchDevice(SystemFailure, FileNotFoundError):
    """There is no interface, source or file of that name."""


class NotPermitted(SystemFailure, PermissionError):
    """The caller may not capture there."""


class DeviceGone(SystemFailure):
    """The interface vanished, or is down."""


class NotSupported(FfpfError):
    """This source cannot do what was asked of it."""


class BadFilter(FfpfError, ValueError):
    """Filter text that does not compile, in the compiler's own words."""


class BadGraph(FfpfError, ValueError):
    """Graph text that means nothing, or that cannot be had. `str` shows the line with a caret below the place.

    `line` and `column` count from 1, `offset` from 0, in octets; all three are None when it is about no place.
    """

    def __init__(self, shown: str, offset: int | None, line: int | None, column: int | None) -> None:
        super().__init__(shown)
        self.offset = offset
        self.line = line
        self.column = column


class WrongState(FfpfError, RuntimeError):
    """A call that the flow's state forbids; the text names both."""


class BadFile(FfpfError, ValueError):
    """Octets that are no savefile, or a savefile that is broken or cut."""


class Denied(FfpfError, PermissionError):
    """ffpfd refused."""


class NoServer(FfpfError, ConnectionError):
    """ffpfd does not answer."""


class Closed(FfpfError, ValueError):
    """The capture was closed before."""


class Busy(FfpfError, RuntimeError):
    """Another thread is reading this capture, or it was opened by the process that this one was forked from."""


class StillViewed(FfpfError, BufferError):
    """Views of packets live whose memory would be given back: let go of them, or read copies."""


class Lapped(FfpfError):
    """Packets of a batch in place were overwritten while it was in use: nothing made from them can be relied on.

    `rows` (n,): their numbers in the batch, growing. They count as lapped; all other rows were whole to the end.
    """

    def __init__(self, rows: npt.NDArray[np.intp], of: int) -> None:
        shown = ", ".join(map(str, rows[:10].tolist())) + (", ..." if len(rows) > 10 else "")
        super().__init__(f"{len(rows)} of {of} packets were overwritten while the batch was in use: rows {shown}")
        self.rows = rows


_BY_CODE: dict[int, type[FfpfError]] = {
    lib.FFPF_E_SYSTEM: SystemFailure,
    lib.FFPF_E_NOT_SUPPORTED: NotSupported,
    lib.FFPF_E_NO_SUCH_DEVICE: NoSuchDevice,
    lib.FFPF_E_PERMISSION: NotPermitted,
    lib.FFPF_E_PROMISC_PERMISSION: NotPermitted,
    lib.FFPF_E_DEVICE_DOWN: DeviceGone,
    lib.FFPF_E_DEVICE_GONE: DeviceGone,
    lib.FFPF_E_RFMON_NOT_SUPPORTED: NotSupported,
    lib.FFPF_E_CAPTURE_NOT_SUPPORTED: NotSupported,
    lib.FFPF_E_FORMAT: BadFile,
    lib.FFPF_E_TRUNCATED: BadFile,
    lib.FFPF_E_BAD_FILTER: BadFilter,
    lib.FFPF_E_DENIED: Denied,
    lib.FFPF_E_NO_SERVER: NoServer,
    lib.FFPF_E_CLOSED: Closed,
    lib.FFPF_E_BUSY: Busy,
    lib.FFPF_E_VIEWED: StillViewed,
}
_ERRNO = {
    lib.FFPF_E_NO_SUCH_DEVICE: errno.ENODEV,
    lib.FFPF_E_PERMISSION: errno.EPERM,
    lib.FFPF_E_PROMISC_PERMISSION: errno.EPERM,
    lib.FFPF_E_DEVICE_DOWN: errno.ENETDOWN,
    lib.FFPF_E_DEVICE_GONE: errno.ENODEV,
}


_BY_REFUSAL: dict[str, type[FfpfError]] = {  # docs/protocol.md, `code`
    "": NoServer,
    "denied": Denied,
    "limit": Denied,
    "no-such-device": NoSuchDevice,
    "device-down": DeviceGone,
    "not-supported": NotSupported,
}


def raised_by_ffpfd(code: str, text: str) -> FfpfError:
    """What to raise when ffpfd refuses, or (code "") does not answer."""
    if code == "invalid":
        return BadGraph(text, None, None, None)
    kind = _BY_REFUSAL.get(code, FfpfError)
    if issubclass(kind, SystemFailure):
        return kind(errno.ENETDOWN if kind is DeviceGone else errno.ENODEV, text)
    return kind(text)


def new_error() -> Any:
    """A `struct ffpf_error *` for one call."""
    return ffi.new("struct ffpf_error *")


def text_of(error: Any) -> str:
    """The core's story of a failure."""
    return str(ffi.string(error.text).decode("utf-8", "replace"))


def exception_of(error: Any, about: str = "") -> FfpfError:
    """What to raise for a `struct ffpf_error *`; `about` comes first in the text."""
    kind = _BY_CODE.get(error.code, FfpfError)
    text = text_of(error)
    if issubclass(kind, SystemFailure):
        number = error.sys_errno or _ERRNO.get(error.code, 0)
        text = text or os.strerror(number)
        return kind(number, f"{about}: {text}" if about else text)
    return kind(f"{about}: {text}" if about else text)


def check(code: int, error: Any, about: str = "") -> int:
    """Returns what a function of the core returned when that is no failure, else raises."""
    if code < 0:
        raise exception_of(error, about)
    return code
