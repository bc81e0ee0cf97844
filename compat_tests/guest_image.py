# SPDX-License-Identifier: BSD-3-Clause
"""An initramfs that holds a part of this machine: programs with the shared objects that they need, Python, the project.

Everything lies where it lies here, so that what runs here runs in the guest. The archive is one of cpio's "newc" form
(Documentation/driver-api/early-userspace/buffer-format.rst of the kernel), not compressed: under emulation unpacking
would be the slow part.
"""

from __future__ import annotations

import importlib.metadata
import lzma
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from packaging.requirements import Requirement

LEFT_OUT = frozenset({"__pycache__", "idlelib", "turtledemo", "ensurepip", "site-packages", "lib2to3", "tkinter"})
CONSOLE = (5, 1)  # character device
TRAILER = "TRAILER!!!"


class ImageError(Exception):
    """Something that the guest needs is not here."""


class Image:
    """Files, links and folders by their name in the guest."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, bytes | Path]] = {}  # mode, and octets, or the file that has them
        for folder in ("/dev", "/proc", "/root", "/run", "/sys", "/tmp", "/var/tmp"):
            self.add_folder(Path(folder))

    # ---- what goes in

    def add_folder(self, path: Path) -> None:
        """Also those above it."""
        for folder in (*reversed(path.parents), path):
            mode = 0o1777 if folder.name == "tmp" else 0o755
            if folder != Path("/"):
                self._entries.setdefault(str(folder), (stat.S_IFDIR | mode, b""))

    def add_octets(self, path: Path, octets: bytes, mode: int = 0o644) -> None:
        self.add_folder(path.parent)
        self._entries[str(path)] = (stat.S_IFREG | mode, octets)

    def add_file(self, path: Path) -> None:
        """A file of this machine, and the links on the way to it."""
        at = Path("/")
        for number, part in enumerate(path.absolute().parts[1:], 2):
            at /= part
            if str(at) in self._entries and not at.is_symlink():
                continue
            if at.is_symlink():
                target = at.readlink()
                self._entries[str(at)] = (stat.S_IFLNK | 0o777, str(target).encode())
                rest = path.absolute().parts[number:]
                self.add_file(Path(os.path.normpath(at.parent / target)).joinpath(*rest))
                return
            if at.is_dir():
                self.add_folder(at)
            else:
                self._entries[str(at)] = (stat.S_IFREG | stat.S_IMODE(at.stat().st_mode), at)

    def add_program(self, name: str) -> None:
        found = shutil.which(name)
        if not found:
            raise ImageError(f"{name} is not installed")
        self.add_file(Path(found))

    def add_tree(self, top: Path, left_out: Iterable[str] = ()) -> None:
        """A folder with all below it, but caches and folders of these names."""
        skip = LEFT_OUT.union(left_out)
        self.add_folder(top)
        for path in top.iterdir():
            if path.is_dir() and not path.is_symlink():
                if path.name not in skip:
                    self.add_tree(path, left_out)
            elif path.is_symlink() or path.is_file():
                self.add_file(path)

    def add_python(self, distributions: Sequence[str]) -> None:
        """This Python, its library, and these distributions with what they require."""
        self.add_file(Path(sys.executable))
        self.add_file(Path(sys.prefix) / "pyvenv.cfg")
        self.add_tree(Path(sysconfig.get_path("stdlib")), {"test", "tests"})
        wanted, known = list(distributions), set()
        while wanted:
            name = wanted.pop()
            if name in known:
                continue
            known.add(name)
            found = importlib.metadata.distribution(name)
            for file in found.files or []:
                path = Path(str(file.locate()))
                if "__pycache__" not in path.parts and path.exists():
                    self.add_file(Path(os.path.normpath(path)))
            needs = map(Requirement, found.requires or [])
            wanted += [need.name for need in needs if not need.marker or need.marker.evaluate({"extra": ""})]

    def add_shared_objects(self) -> None:
        """What all programs and shared objects in the image are linked with."""
        done: set[str] = set()
        while True:
            fresh = [name for name, (_, of) in self._entries.items() if name not in done and _is_elf(of)]
            if not fresh:
                break
            done.update(fresh)
            said = subprocess.run(["ldd", *fresh], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
            for name in set(re.findall(r"^\t(?:\S+ => )?(/\S+) \(0x", said, re.MULTILINE)):
                self.add_file(Path(name))

    # ---- what comes out

    def write(self, path: Path) -> None:
        with path.open("wb") as out:
            for number, name in enumerate(sorted(self._entries), 1):
                mode, octets = self._entries[name]
                data = octets.read_bytes() if isinstance(octets, Path) else octets
                _write_entry(out, name.lstrip("/"), number, mode, data)
            _write_entry(out, "dev/console", 0, stat.S_IFCHR | 0o600, b"", CONSOLE)
            _write_entry(out, TRAILER, 0, 0, b"")


def library(name: str) -> Path:
    """Where the system has a shared object that programs load by name."""
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    found = re.search(rf"^\s*{re.escape(name)} \(libc6,x86-64\) => (\S+)$", known, re.MULTILINE)
    if not found:
        raise ImageError(f"the system has no {name}")
    return Path(found[1])


def _is_elf(octets: bytes | Path) -> bool:
    if not isinstance(octets, Path):
        return False
    with octets.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _write_entry(
    out: BinaryIO, name: str, number: int, mode: int, data: bytes, device: tuple[int, int] = (0, 0)
) -> None:
    links = 2 if stat.S_ISDIR(mode) else 1
    text = name.encode() + b"\0"
    fields = (number, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(text), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + text
    out.write(head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4))


# ---- modules of the kernel


def modules(folder: Path, wanted: Sequence[str]) -> dict[str, bytes]:
    """Those that are in the folder, and what they depend on, in the order in which they can be loaded. A name that is
    not there is one that the kernel has built in, or not at all."""
    files = {file.name.partition(".")[0].replace("-", "_"): file for file in folder.rglob("*.ko*")}
    found: dict[str, bytes] = {}

    def take(name: str) -> None:
        file = files.get(name.replace("-", "_"))
        if not file or name in found:
            return
        octets = lzma.decompress(file.read_bytes()) if file.suffix == ".xz" else file.read_bytes()
        depends = re.search(rb"\0depends=([^\0]*)\0", octets)
        for other in depends[1].decode().split(",") if depends and depends[1] else []:
            take(other)
        found[name] = octets

    for name in wanted:
        take(name)
    return found
