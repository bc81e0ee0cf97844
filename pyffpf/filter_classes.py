# SPDX-License-Identifier: BSD-3-Clause
"""The filter classes that graph text can name: the core's, and those of installed packages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyffpf._core import lib
from pyffpf.graph_text import text_at

LEVELS = {lib.FFPF_LEVEL_NIC: "nic", lib.FFPF_LEVEL_KERNEL: "kernel", lib.FFPF_LEVEL_USERSPACE: "userspace"}


@dataclass(frozen=True)
class FilterClass:
    """What a word in graph text means. levels: where it can run."""

    name: str
    summary: str
    arguments: str
    levels: tuple[str, ...]
    mbuf_bytes: int
    source: bool


def classes() -> list[FilterClass]:
    """All filter classes that graph text can name, also those of installed packages, in the order of their names."""
    found = []
    for number in range(lib.ffpf_class_count):
        one = lib.ffpf_classes[number]
        levels = tuple(name for bit, name in LEVELS.items() if one.levels & bit)
        found.append(
            FilterClass(text_at(one.name), text_at(one.summary), text_at(one.arguments), levels, one.mbuf_bytes,
                        bool(one.source))
        )  # fmt: skip
    known = {one.name for one in found}
    for name, point in custom_classes().items():
        if name not in known:
            kind = point.load()
            size = kind.mbuf.itemsize if kind.mbuf is not None else 0
            found.append(FilterClass(name, kind.summary, kind.arguments, ("userspace",), size, False))
    return sorted(found, key=lambda one: one.name)


def custom_classes() -> dict[str, Any]:
    """Classes in Python that installed packages have, as entry points, by name."""
    from pyffpf.custom import installed

    return installed()
