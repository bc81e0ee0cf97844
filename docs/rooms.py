# SPDX-License-Identifier: BSD-3-Clause
"""The picture of the rooms, made of what their files include and import.

    python -m docs.rooms                # writes docs/rooms.svg, by the program dot of graphviz

A room is a folder with code. An arrow leads from a room to one that it needs: grey for a C file's #include, blue for a
Python file's import, dashed for what the core declares for pyffpf (`.cdef`, by cffi). What follows from other arrows of
its language is left out. Tests and what serves only them do not count; what serves the whole project has no arrows.
"""

from __future__ import annotations

import ast
import html
import os
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from compat_tests import lint

ROOT = lint.ROOT
PICTURE = ROOT / "docs" / "rooms.svg"
PARTED = ("csrc", "fpl", "ixp_driver", "pyffpf")  # folders whose folders are rooms
ABOUT_ALL = ("bench", "compat_tests", "docs")  # need everything, and nothing needs them
LAYOUT = "csrc/layout.h"  # one file, and what all lanes rest on: drawn as a room
DOORS = ("csrc",)  # what is left there names other rooms: ffpf.h, build.py
INCLUDED_FROM = ("csrc", "ixp_driver")  # -I, see csrc/build.py
NOT_SHIPPED = re.compile(r"^(test|fuzz|bench|conftest)|testing")
FOR_TESTS = ("compat_tests", "pytest", "bench")  # who imports these serves tests
INCLUDE = re.compile(r'^\s*#\s*include "([^"]+)"', re.MULTILINE)
COLOURS = {
    "csrc": ("#d3ecd8", "#2f8545"), "ixp_driver": ("#fde3c3", "#c8791e"), "fpl": ("#ead9f3", "#7a4a9c"),
    "pyffpf": ("#d6e4f7", "#3a6fb0"), "libffpfpcap": ("#d6e4f7", "#3a6fb0"),
}  # fmt: skip
ARROWS = {
    "include": 'color="#555555"', "import": 'color="#3a6fb0"', "cffi": 'color="#2f8545", style=dashed',
}  # fmt: skip
PLAIN = ("#eeeeee", "#777777")
INK, FONT = "#222222", "DejaVu Sans,Helvetica,Arial,sans-serif"
TEXT_WIDTH = 24  # characters of a line of a room's description

Edge = tuple[str, str]


def room_of(name: str) -> str | None:
    """The room of a file, by its name in git; None for files of the project's folder."""
    if name == LAYOUT:
        return LAYOUT
    parts = name.split("/")
    if len(parts) > 2 and parts[0] in PARTED:
        return "/".join(parts[:2])
    return parts[0] if len(parts) > 1 and not parts[0].startswith(".") else None


@cache
def files() -> frozenset[str]:
    return frozenset(lint.tracked())


def rooms() -> list[str]:
    """Every folder of the project, every folder of those that have parts, and layout.h."""
    return sorted({room for name in files() if (room := room_of(name))})


@cache
def code() -> list[str]:
    """C files, and the Python files of packages that are installed: other ones serve tests and benchmarks."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {package.replace(".", "/") for package in packages}
    return [
        name for name in sorted(files())
        if name.endswith((".c", ".h")) or (name.endswith(".py") and str(Path(name).parent) in folders)
    ]  # fmt: skip


def file_of(module: str) -> str | None:
    """The file of a module, or package, of the project."""
    path = module.replace(".", "/")
    return next((name for name in (f"{path}.py", f"{path}/__init__.py") if name in files()), None)


@cache
def imported(name: str) -> frozenset[str]:
    """Modules that a Python file imports anywhere; a package only where what is imported of it is no module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / name).read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(member if file_of(member) else node.module for member in members)
    return frozenset(found)


@cache
def needed(name: str) -> frozenset[str]:
    """Files of the project that a file needs. What a build makes (gen_*.h, pyffpf._core) is none."""
    if name.endswith(".py"):
        return frozenset(path for module in imported(name) if (path := file_of(module)))
    targets = INCLUDE.findall((ROOT / name).read_text())
    folders = (str(Path(name).parent), *INCLUDED_FROM)
    return files() & {os.path.normpath(f"{folder}/{target}") for folder in folders for target in targets}


@cache
def for_tests() -> frozenset[str]:
    """Files that only tests need: by their name, or because they import what is for tests."""
    found = {name for name in code() if NOT_SHIPPED.search(Path(name).name)}
    for name in code():
        if name.endswith(".py") and any(module.split(".")[0] in FOR_TESTS for module in imported(name)):
            found.add(name)
    before = -1
    while before != len(found):
        before = len(found)
        found |= {name for name in code() if not found.isdisjoint(needed(name))}
    return frozenset(found)


def edges(ends: tuple[str, ...]) -> set[Edge]:
    """Who needs whom, as the files with these endings have it: (room, needed room)."""
    found = set()
    for name in set(code()) - for_tests():
        room = room_of(name)
        if name.endswith(ends) and room is not None and room not in (*ABOUT_ALL, *DOORS):
            found |= {(room, target) for path in needed(name) if (target := room_of(path)) is not None}
    return {(one, other) for one, other in found if one != other and other not in (*ABOUT_ALL, *DOORS)}


def declared() -> set[Edge]:
    """From pyffpf to rooms of the core that declare something for it."""
    return {("pyffpf", room) for name in files() if name.endswith(".cdef") and (room := room_of(name))}


def reachable(start: str, arrows: Iterable[Edge]) -> set[str]:
    """Where the arrows lead from a room, in one step or more."""
    ahead: dict[str, list[str]] = {}
    for one, other in arrows:
        ahead.setdefault(one, []).append(other)
    found: set[str] = set()
    stack = list(ahead.get(start, ()))
    while stack:
        room = stack.pop()
        if room not in found:
            found.add(room)
            stack.extend(ahead.get(room, ()))
    return found


def reduced(arrows: set[Edge]) -> set[Edge]:
    """Without those that follow from others. Rooms that need each other keep all arrows between them."""
    left = set(arrows)
    for edge in sorted(arrows):
        if edge[1] in reachable(edge[0], left - {edge}) and edge[0] not in reachable(edge[1], arrows):
            left.discard(edge)
    return left


@cache
def drawn() -> dict[Edge, str]:
    """The arrows, each with its kind. Languages are reduced apart: a C file needs nothing by way of Python."""
    in_c = edges((".c", ".h"))
    over_c = reduced(in_c | declared())
    found = dict.fromkeys(sorted(reduced(edges((".py",)))), "import")
    return {**found, **{edge: "include" if edge in in_c else "cffi" for edge in sorted(over_c)}}


def description(room: str) -> str:
    """What the room says of itself: the headline of its README, the first line of its package, or the row of its
    folder's README."""
    page = ROOT / room / "README.md"
    if page.is_file():
        return page.read_text().splitlines()[0].partition(": ")[2]
    package = ROOT / room / "__init__.py"
    if package.is_file() and (text := ast.get_docstring(ast.parse(package.read_text()))):
        return text.splitlines()[0].removeprefix(f"{package.parent.name}: ").rstrip(".")
    table = (ROOT / room).parent / "README.md"
    row = re.search(rf"^\| `{re.escape(Path(room).name)}/?` \| ([^|:;,.]+)", table.read_text(), re.MULTILINE)
    return row[1].strip() if row else ""


def lines(text: str) -> Iterator[str]:
    """The text in lines of about TEXT_WIDTH characters."""
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > TEXT_WIDTH:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    if line:
        yield line


def node(room: str) -> str:
    """A room: its name without the folder that it is drawn in, and its description."""
    folder, _, inside = room.rpartition("/")
    name = inside if folder in PARTED else room
    text = "".join(f'<br/><font point-size="10">{html.escape(line)}</font>' for line in lines(description(room)))
    fill, line = COLOURS.get(room.split("/")[0], PLAIN)
    return f'"{room}" [label=<<b>{html.escape(name)}</b>{text}>, fillcolor="{fill}", color="{line}"];'


def cluster(name: str, title: str, colour: str, members: list[str]) -> list[str]:
    head = f'subgraph "cluster_{name}" {{ style="rounded,dashed"; color="{colour}"; label="{title}";'
    return [head, *map(node, members), "}"]


def dot() -> str:
    """The picture as graphviz' text."""
    look = f'fontname="{FONT}", fontsize=13, fontcolor="{INK}"'
    text = [
        'digraph rooms { bgcolor="white"; rankdir=TB; ranksep=0.4; nodesep=0.16; newrank=true;',
        f'node [{look}, shape=box, style="rounded,filled", margin="0.08,0.04"];',
        f"graph [{look}]; edge [arrowsize=0.6];",
    ]
    for folder in PARTED:
        inside = [room for room in rooms() if room.split("/")[0] == folder]
        text += cluster(folder, f"{folder}/", COLOURS[folder][1], inside)
    text += cluster("all", "for the whole project", PLAIN[1], list(ABOUT_ALL))
    text += [node(room) for room in rooms() if room.split("/")[0] not in (*PARTED, *ABOUT_ALL)]
    text += [f'"{one}" -> "{other}" [{ARROWS[kind]}];' for (one, other), kind in drawn().items()]
    return "\n".join([*text, "}", ""])


def main() -> None:
    done = subprocess.run(["dot", "-Tsvg"], input=dot(), stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    PICTURE.write_text(done.stdout)
    print(f"{PICTURE.relative_to(ROOT)}: {len(rooms())} rooms, {len(drawn())} arrows")


if __name__ == "__main__":
    main()
