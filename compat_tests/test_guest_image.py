# SPDX-License-Identifier: BSD-3-Clause
"""The initramfs that other kernels are booted with: what its archive holds, and the order of modules."""

from __future__ import annotations

import lzma
import os
import stat
from pathlib import Path

import pytest

from compat_tests import guest_image, guest_init
from compat_tests.guest_image import Image, ImageError
from compat_tests.old_kernel import Story


def entries(archive: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and octets by name, read from the definition of the format."""
    octets, at = archive.read_bytes(), 0
    found: dict[str, tuple[int, bytes]] = {}
    while True:
        assert octets[at : at + 6] == b"070701"
        fields = [int(octets[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name = octets[at + 110 : at + 110 + fields[11] - 1].decode()
        data = at + (110 + fields[11] + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        assert name not in found
        found[name] = (fields[1], octets[data : data + fields[6]])
        at = data + (fields[6] + 3) // 4 * 4


def test_archive_has_files_links_and_folders_where_they_lie_here(tmp_path: Path) -> None:
    folder, link = tmp_path / "real", tmp_path / "link"
    folder.mkdir()
    link.symlink_to("real")
    (folder / "tool").write_bytes(b"#!tool")
    (folder / "tool").chmod(0o750)
    (folder / "name").symlink_to(folder / "tool")
    (folder / "__pycache__").mkdir()
    image = Image()
    image.add_file(link / "name")
    image.add_tree(folder)
    image.add_octets(tmp_path / "made" / "x", b"12345", 0o600)
    image.write(tmp_path / "out")
    found = entries(tmp_path / "out")
    top = str(tmp_path).lstrip("/")
    assert found[f"{top}/real/tool"] == (stat.S_IFREG | 0o750, b"#!tool")
    assert found[f"{top}/link"] == (stat.S_IFLNK | 0o777, b"real")
    assert found[f"{top}/real/name"] == (stat.S_IFLNK | 0o777, os.fsencode(folder / "tool"))
    assert found[f"{top}/made/x"] == (stat.S_IFREG | 0o600, b"12345")
    assert stat.S_ISDIR(found[f"{top}/made"][0]) and stat.S_ISDIR(found["proc"][0])
    assert stat.S_ISCHR(found["dev/console"][0])
    assert f"{top}/real/__pycache__" not in found


def test_shared_objects_of_programs_come_with_them(tmp_path: Path) -> None:
    image = Image()
    image.add_program("tcpdump")
    image.add_shared_objects()
    image.write(tmp_path / "out")
    names = entries(tmp_path / "out")
    for wanted in ("libpcap.so.0.8", "libc.so.6", "ld-linux-x86-64.so.2"):
        assert any(name.endswith(f"/{wanted}") for name in names), wanted
    with pytest.raises(ImageError, match="no such tool is not installed"):
        image.add_program("no such tool")


def test_modules_come_behind_what_they_depend_on(tmp_path: Path) -> None:
    (tmp_path / "top-most.ko").write_bytes(b"\0license=GPL\0depends=middle,low\0")
    (tmp_path / "middle.ko.xz").write_bytes(lzma.compress(b"\0depends=low\0"))
    (tmp_path / "low.ko").write_bytes(b"\0depends=\0")
    (tmp_path / "other.ko").write_bytes(b"\0depends=\0")
    found = guest_image.modules(tmp_path, ["top_most", "built_in"])
    assert list(found) == ["low", "middle", "top_most"]
    assert found["middle"] == b"\0depends=low\0"


def test_a_guest_that_ends_early_has_not_passed() -> None:
    story = Story()
    story.take("[ 1.0] a line of the kernel's")
    story.take(guest_init.MARK + '{"kernel": "6.1.0", "version": "#1"}')
    story.take(guest_init.MARK + '{"check": "hook", "ok": true, "seconds": 1, "words": "plain"}')
    assert story.kernel == "6.1.0" and not story.good
    story.take(guest_init.MARK + '{"done": 1, "good": 1}')
    assert story.good
    story.take(guest_init.MARK + '{"check": "demo", "ok": false, "seconds": 1, "words": "no"}')
    assert not story.good
