# SPDX-License-Identifier: BSD-3-Clause
"""A progress bar for flows that read files, on standard error and only when that is a terminal.

How far a file was read says the kernel: the position of the descriptor that this process has open on it.
"""

from __future__ import annotations

import stat
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from pyffpf.flow import Flow

BETWEEN_S = 0.1


def files_of(flows: Sequence[Flow]) -> dict[Path, int]:
    """Of the devices that are regular files: their sizes. Empty when there are others: nobody knows when those end."""
    found: dict[Path, int] = {}
    for node in (node for flow in flows for node in flow.nodes if node.class_name == "device"):
        path = Path(node.expression.removeprefix("file:"))
        try:
            what = path.stat()
        except OSError:
            return {}
        if not stat.S_ISREG(what.st_mode):
            return {}
        found[path.resolve()] = what.st_size
    return found


def positions(paths: Sequence[Path]) -> dict[Path, int]:
    """How far this process has read files that it has open."""
    found: dict[Path, int] = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = entry.readlink()
            if target in paths:
                line = Path(f"/proc/self/fdinfo/{entry.name}").read_text().split(maxsplit=2)
                found[target] = max(found.get(target, 0), int(line[1]))
        except OSError:
            continue  # closed meanwhile
    return found


class Progress:
    """A context manager; does nothing where nobody would see it."""

    def __init__(self, flows: Sequence[Flow], *, hidden: bool) -> None:
        self._files = {} if hidden or not sys.stderr.isatty() else files_of(flows)
        self._read = dict.fromkeys(self._files, 0)
        self._next = 0.0
        self._bar: Bar | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        if self._files:
            self._bar = Bar(
                TextColumn("reading"), BarColumn(), DownloadColumn(binary_units=True),
                TextColumn("{task.fields[packets]:,} packets"), TimeRemainingColumn(),
                console=Console(file=sys.stderr), transient=True,
            )  # fmt: skip
            self._task = self._bar.add_task("", total=sum(self._files.values()), packets=0)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, packets: int) -> None:
        """Looks at the files, ten times a second at most."""
        if not self._bar or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + BETWEEN_S
        now = positions(list(self._files))
        for path, size in self._files.items():
            # one that is not open any more was read to its end
            self._read[path] = now.get(path, size if self._read[path] else 0)
        self._bar.update(self._task, completed=sum(self._read.values()), packets=packets)
