# SPDX-License-Identifier: BSD-3-Clause
"""Files that a program names with USE: macros, and entries of sets.

A program may come from somebody who may not read what the compiler may: so a file is named without a path, and looked
for in folders that whoever runs the compiler chose (the environment's FFPF_FPL_PATH, folders with ':' between them).
Without these, no file is read. The compiler's process alone opens it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BYTES_MAX = 1 << 20  # of a file
VARIABLE = "FFPF_FPL_PATH"


class FileRefusedError(Exception):
    """message, and what would help."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


@dataclass(frozen=True)
class Folders:
    """Where files may be; none: nowhere."""

    folders: tuple[Path, ...] = ()

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Folders:
        """A folder that is not named by an absolute path is none: which it is would depend on where one stands."""
        named = environment.get(VARIABLE, "").split(":")
        return cls(tuple(Path(name) for name in named if name.startswith("/")))

    def read(self, name: str) -> str:
        """The text of the first file of this name. Raises FileRefusedError."""
        if not name or "/" in name or "\0" in name or name.startswith("."):
            raise FileRefusedError("a file is named without its folder", f"Folders are those of {VARIABLE}.")
        if not self.folders:
            raise FileRefusedError("no files may be used here", f"Set {VARIABLE} to the folders that have them.")
        for folder in self.folders:
            try:
                return _read(folder / name)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise FileRefusedError(f"{name} cannot be read: {error.strerror}") from None
        raise FileRefusedError(f"there is no file {name}", f"In the folders of {VARIABLE}.")


def _read(path: Path) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise FileRefusedError(f"{path.name} is no ordinary file")
        octets = file.read(BYTES_MAX + 1)
    if len(octets) > BYTES_MAX:
        raise FileRefusedError(f"{path.name} has more than {BYTES_MAX} octets")
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise FileRefusedError(f"{path.name} is no text") from None
