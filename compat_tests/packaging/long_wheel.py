# SPDX-License-Identifier: BSD-3-Clause
"""The wheel for every Linux of some years: what auditwheel says of it, and it installed and used in other Debians."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat_tests import captures, harness
from compat_tests.packaging import wheel, wheel_user
from compat_tests.packaging.debian_root import DebianRoot

pytestmark = pytest.mark.timeout(3600)  # a Debian each, and builds
PACKETS = 500


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with harness.scratch("ffpf-wheels-") as place:
        yield place


@pytest.fixture(scope="module")
def made(folder: Path) -> Path:
    return wheel.build(folder / "wheel")


def with_wheel(folder: Path, release: str, made: Path) -> DebianRoot:
    """A Debian with Python, pip and tcpdump; the wheel and a capture lie in its /srv."""
    root = DebianRoot.create(folder / release, release, ("python3", "python3-pip", "tcpdump"))
    shutil.copy(made, root.root / "srv" / made.name)
    captures.write_imix(root.root / "srv/some.pcap", PACKETS)
    return root


def test_its_name_is_what_auditwheel_finds_in_it(folder: Path, made: Path) -> None:
    assert made.name.endswith(f"-{wheel.ABI}-abi3-{wheel.platform_tag()}.whl")
    commands = wheel.tools(folder / "tools")
    show = subprocess.run([commands / "auditwheel", "show", made], capture_output=True, text=True, check=True)
    said = " ".join(show.stdout.split())
    assert f'{made.name} is consistent with the following platform tag: "{wheel.platform_tag()}"' in said
    named = set(re.findall(r"\b(lib[\w+]+)[\w.-]*\.so", said))
    assert named == {"libc", "libm", "libz", "libgcc_s", "libstdc++", *wheel.LINKED}, said


def test_it_has_the_libraries_and_their_licenses(made: Path) -> None:
    with zipfile.ZipFile(made) as archive:
        names = archive.namelist()
        (terms,) = (archive.read(name) for name in names if name.endswith("/libvectorscan5.txt"))
        machine = b"".join(archive.read(name) for name in names if name.endswith((".so", "-board")))
    inside = {name.removeprefix("pyffpf.libs/") for name in names if name.startswith("pyffpf.libs/lib")}
    assert set(wheel.LOADED) < inside
    assert {name.partition("-")[0] for name in inside - set(wheel.LOADED)} == set(wheel.LINKED)
    papers = {Path(name).stem for name in names if "/licenses/of-libraries-inside/" in name and name.endswith(".txt")}
    assert papers == {*wheel.DOCUMENTED, *wheel.LICENSES}
    assert b"Intel" in terms
    assert str(harness.ROOT).encode() not in machine
    assert b"ffpf-wheel-" not in machine, "the folder in which it was built is named in it"


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_it_is_installed_by_pip_and_used(folder: Path, made: Path, release: str) -> None:
    root = with_wheel(folder, release, made)
    root.run("python3", "-m", "pip", "install", "-q", "--break-system-packages", "--root-user-action=ignore",
             f"/srv/{made.name}[shared,fpl]")  # fmt: skip
    (root.root / "srv/empty").mkdir()
    shutil.copy(Path(wheel_user.__file__), root.root / "srv/wheel_user.py")
    used = root.run("unshare", "--net", "python3", "/srv/wheel_user.py", "/srv/some.pcap", str(PACKETS),
                    cwd="/srv/empty")  # fmt: skip
    assert used.stdout.endswith("all as it should be\n")
