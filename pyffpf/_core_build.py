# SPDX-License-Identifier: BSD-3-Clause
"""Describes pyffpf._core to cffi: the declarations are the rooms' *.cdef files, the code is the core archive."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "csrc"))
import build  # noqa: E402  (the build driver is a script beside the sources, not a package)

# A room's declarations may use those of the rooms before it.
ROOM_ORDER = (
    "common", "bpf", "reader", "layout", "ring", "bms", "lanes", "kernel", "hook", "source", "feed", "syspcap",
    "externs", "graph", "host",
)  # fmt: skip


def declaration_files() -> list[Path]:
    """All csrc/ROOM/*.cdef and those of the board's host, rooms in the order of their dependencies."""

    def rank(path: Path) -> tuple[int, str]:
        room = path.parent.name
        return (ROOM_ORDER.index(room) if room in ROOM_ORDER else len(ROOM_ORDER), str(path))

    return sorted([*(ROOT / "csrc").glob("*/*.cdef"), *(ROOT / build.HOST_ROOM).glob("*.cdef")], key=rank)


def mbuf_structs() -> list[str]:
    """The layouts of MBufs, and of what they hold, from the headers of the filter classes: said only there."""
    structs = []
    for header in sorted((ROOT / "csrc" / "graph").glob("class_*.h")):
        structs += re.findall(r"^struct ffpf_\w+ \{$.*?^\};$", header.read_text(), re.MULTILINE | re.DOTALL)
    return structs


ffi = FFI()
for declarations in declaration_files():
    ffi.cdef(declarations.read_text())
for struct in mbuf_structs():
    ffi.cdef(struct)

with build.locked():
    core = build.build_core("normal")
ffi.set_source(
    "pyffpf._core",
    '#include "ffpf.h"\n#include "_objects.h"\n#include "_packet.h"',
    include_dirs=[str(ROOT / "csrc"), str((ROOT / build.HOST_ROOM).parent), str(ROOT / "pyffpf")],
    depends=[str(ROOT / "pyffpf" / name) for name in ("_objects.h", "_packet.h")],
    extra_compile_args=["-std=gnu11", "-D_GNU_SOURCE", "-O2"],
    extra_objects=[str(core)],
    libraries=["bpf", "dl", "pthread"],
)
