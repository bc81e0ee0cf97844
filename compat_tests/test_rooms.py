# SPDX-License-Identifier: BSD-3-Clause
"""The picture of the rooms, and the core's table of who may use whom, are what the files say."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from compat_tests import pages
from docs import rooms

AGAIN = "what the picture shows is no more so: python -m docs.rooms"
EACH_OTHER = {"csrc/graph", "csrc/externs"}  # a graph calls functions, and functions find headers as a graph does


def titles(kind: str) -> set[str]:
    """What graphviz wrote of the picture's nodes or edges."""
    found = set()
    for element in ET.parse(rooms.PICTURE).iter(f"{pages.SVG}g"):
        title = element.find(f"{pages.SVG}title")
        if element.get("class") == kind and title is not None and title.text:
            found.add(title.text)
    return found


def test_every_room_is_in_the_picture() -> None:
    assert titles("node") == set(rooms.rooms()), AGAIN
    folders = {path.parent.relative_to(rooms.ROOT).as_posix() for path in (rooms.ROOT / "csrc").glob("*/*.[ch]")}
    assert len(folders) > 15 and folders <= titles("node")


def test_arrows_are_what_files_need() -> None:
    assert titles("edge") == {f"{one}->{other}" for one, other in rooms.drawn()}, AGAIN


def test_the_core_has_no_circles() -> None:
    arrows = rooms.edges((".c", ".h"))
    assert {room for room in rooms.rooms() if room in rooms.reachable(room, arrows)} == EACH_OTHER


def test_the_cores_table_is_what_files_include() -> None:
    names = {room.removeprefix("csrc/").removesuffix(".h"): room for room in rooms.rooms() if room.startswith("csrc/")}
    names["../ixp_driver/host"] = "ixp_driver/host"
    table = set()
    for line in (rooms.ROOT / "csrc" / "README.md").read_text().splitlines():
        row = re.match(r"\| \[?`([a-z0-9]+)(?:/|\.h)`.*\| ([^|]+) \|$", line)
        if row:
            words = re.findall(r"[a-z0-9_./]*[a-z0-9]", row[2])
            table |= {(names[row[1]], names[word]) for word in words if word in names}
    real = rooms.edges((".c", ".h"))
    for room in names.values():
        written = rooms.reachable(room, table | {edge for edge in real if edge[0].startswith("ixp_driver")})
        assert written == rooms.reachable(room, real), room


def test_what_follows_from_other_arrows_is_left_out() -> None:
    assert rooms.reduced({("a", "b"), ("b", "c"), ("a", "c")}) == {("a", "b"), ("b", "c")}
    circle = {("a", "b"), ("b", "a"), ("a", "c"), ("b", "c")}
    assert rooms.reduced(circle) in ({("a", "b"), ("b", "a"), ("a", "c")}, {("a", "b"), ("b", "a"), ("b", "c")})
    assert rooms.reachable("b", circle) == {"a", "b", "c"}


def test_who_belongs_where() -> None:
    assert rooms.room_of("csrc/ring/lane.c") == "csrc/ring"
    assert rooms.room_of("csrc/ring/model/lane.pml") == "csrc/ring"
    assert rooms.room_of("csrc/layout.h") == "csrc/layout.h"
    assert rooms.room_of("bench/live.py") == "bench"
    assert rooms.room_of("README.md") is None
    assert "csrc/ring/test_ring.c" not in set(rooms.code()) - rooms.for_tests()
    assert "pyffpf/flow.py" in set(rooms.code()) - rooms.for_tests()
