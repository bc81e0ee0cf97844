# SPDX-License-Identifier: BSD-3-Clause
"""External functions: what EXTERN calls, as the core's registry has them (csrc/externs)."""

from __future__ import annotations

from dataclasses import dataclass

from fpl.fpl2.externals import External
from pyffpf._core import ffi, lib
from pyffpf.custom_extern import installed

LEVELS = (("userspace", lib.FFPF_LEVEL_USERSPACE), ("kernel", lib.FFPF_LEVEL_KERNEL), ("nic", lib.FFPF_LEVEL_NIC))


@dataclass(frozen=True)
class Function:
    """A row of the registry. reads, writes: octets of MBuf without arguments; layouts, in words, with all."""

    name: str
    summary: str
    arguments: str
    value: str
    reads: int
    writes: int
    reads_what: str
    writes_what: str
    levels: tuple[str, ...]


def _text(word: object) -> str:
    return bytes(ffi.string(word)).decode()


def functions() -> list[Function]:
    """All that are registered in the core, by name, and what installed packages have in Python."""
    rows = [lib.ffpf_externs[i] for i in range(lib.ffpf_extern_count)]
    return [
        Function(_text(row.name), _text(row.summary), _text(row.arguments), _text(row.value), row.reads, row.writes,
                 _text(row.reads_what), _text(row.writes_what),
                 tuple(name for name, bit in LEVELS if row.levels & bit))
        for row in rows
    ] + [
        Function(kind.name, kind.summary, "", kind.value, kind.reads, kind.writes, kind.reads_what, kind.writes_what,
                 ("userspace",))
        for kind in (point.load() for point in installed().values())
    ]  # fmt: skip


class CoreLibrary:
    """The core's functions, for the compiler: sizes with the arguments of a use."""

    def find(self, use: str) -> External | None:
        """Raises ValueError: its arguments mean nothing."""
        if "\0" in use:
            return None
        sizes, error, at = ffi.new("struct ffpf_extern_sizes *"), ffi.new("struct ffpf_error *"), ffi.new("size_t *")
        name, *arguments = use.split(None, 1)[:2] or [""]
        if name.lower() not in {known.lower() for known in self._core_names()}:
            point = installed().get(name.lower())
            kind = point.load() if point else None
            return External(" ".join([kind.name, *arguments]), kind.reads, kind.writes) if kind else None
        if lib.ffpf_extern_measure(sizes, use.encode(), ffi.NULL, at, error):
            raise ValueError(_text(error.text))
        whole = " ".join([_text(sizes.function.name), *(text.strip() for text in arguments)])
        return External(whole, sizes.reads, sizes.writes, sizes.steps)

    def names(self) -> list[str]:
        return self._core_names() + [point.name for point in installed().values()]

    def _core_names(self) -> list[str]:
        return [_text(lib.ffpf_externs[i].name) for i in range(lib.ffpf_extern_count)]
