# SPDX-License-Identifier: BSD-3-Clause
"""Fresh Debians: the README's first command in one, a wheel built of the source distribution in another.

`make test` in a fresh Debian takes half an hour and more: `python3 -m compat_tests.packaging.fresh_root`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from compat_tests import captures, harness
from compat_tests.packaging import debian, fresh_root
from compat_tests.packaging.debian_root import DebianRoot

pytestmark = pytest.mark.timeout(3600)  # a Debian each, and builds
PACKETS = 500
# What the README of this room names for building out of the source distribution.
BUILDERS = ("gcc", "clang", "libc6-dev", "libbpf-dev", "libpcap-dev", "libsodium-dev", "libvectorscan-dev",
            "python3-dev", "python3-pip")  # fmt: skip


def mounted_below(folder: Path) -> bool:
    return str(folder) in Path("/proc/self/mounts").read_text()


def test_make_demo_is_all_that_a_fresh_machine_needs() -> None:
    """With make and git, as the README says; nothing of it stays mounted."""
    with harness.scratch("ffpf-fresh-") as folder:
        log = folder / "log"
        with log.open("wb") as file:
            fresh_root.rehearse(fresh_root.Run(file), folder / "root", ["demo"])
        said = log.read_text(errors="replace")
        assert "the two savefiles hold the same packets, octet for octet" in said
        assert "==> make demo: ended well" in said
        assert not mounted_below(folder)


def test_a_wheel_is_built_of_the_source_distribution_in_a_fresh_debian() -> None:
    """By pip, which makes the environment that pyproject.toml asks for; the library in it serves a program there."""
    with harness.scratch("ffpf-sdist-") as folder:
        root = DebianRoot.create(folder / "root", fresh_root.RELEASE, (*BUILDERS, "tcpdump"))
        archive = debian.source(folder)
        shutil.copy(archive, root.root / "srv" / archive.name)
        pip = ("python3", "-m", "pip")
        root.run(*pip, "wheel", "-q", "--no-deps", "-w", "/srv/made", f"/srv/{archive.name}")
        (made,) = (root.root / "srv/made").glob("*.whl")
        root.run(
            *pip, "install", "-q", "--break-system-packages", "--root-user-action=ignore", f"/srv/made/{made.name}"
        )
        captures.write_imix(root.root / "srv/some.pcap", PACKETS)
        read = root.run("env", "FFPF_STATS=/tmp/stats", "ffpf-run", "tcpdump", "-nn", "-r", "/srv/some.pcap")
        assert len(read.stdout.splitlines()) == PACKETS
        assert f"delivered={PACKETS}" in (root.root / "tmp/stats").read_text()
        assert not mounted_below(folder)
