# SPDX-License-Identifier: BSD-3-Clause
"""Who captures: ffpfd, or this process. One rule for captures and flows.

What a call asks for holds; where it says "auto", FFPF_ENGINE; where that says nothing or "auto" too, ffpfd where it is
there and grants the request, else this process. What only a process can read by itself (files, its own packets) it
reads itself, unless the call says "shared".
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from pyffpf.errors import FfpfError, NoServer, NoSuchDevice, NotPermitted, NotSupported, SystemFailure

ENGINES = ("auto", "shared", "embedded")
VARIABLE = "FFPF_ENGINE"


def engine_named(engine: str, environ: Mapping[str, str] | None = None) -> str:
    """The engine that is meant, of ENGINES. ValueError: there is none of that name."""
    if engine not in ENGINES:
        raise ValueError(f"there is no engine {engine!r}; there are {', '.join(ENGINES)}")
    if engine != "auto":
        return engine
    named = (os.environ if environ is None else environ).get(VARIABLE) or "auto"
    if named not in ENGINES:
        raise ValueError(f"{VARIABLE}: there is no engine {named!r}; there are {', '.join(ENGINES)}")
    return named


def is_interface(name: str) -> bool:
    """Whether an interface has this name, or it is `any`."""
    return name == "any" or any(name == known for _, known in socket.if_nameindex())


def is_file(name: str) -> bool:
    """Whether a name of a source, which may also be an interface's, is a path."""
    return "/" in name or (not is_interface(name) and Path(name).exists())


def explained(error: FfpfError, refusal: FfpfError | None) -> FfpfError:
    """What to raise when this process cannot capture either: with ffpfd's reason, where that may be what matters."""
    if refusal is None or isinstance(refusal, NoServer) or not isinstance(error, NotPermitted | NoSuchDevice):
        return error
    if isinstance(error, NoSuchDevice) and not isinstance(refusal, NotSupported):
        return error
    return both(error, refusal)


def both(error: SystemFailure, refusal: FfpfError) -> SystemFailure:
    """The error with ffpfd's refusal in its first line."""
    first, line_end, shown = str(error.strerror).partition("\n")
    return type(error)(error.errno, f"{first}; ffpfd: {refusal}{line_end}{shown}")
