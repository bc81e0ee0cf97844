# SPDX-License-Identifier: BSD-3-Clause
"""Builds the wheel for every Linux of some years: `python -m compat_tests.packaging.wheel FOLDER`; prints its path.

    Python     3.11 and every later one: the module keeps to the stable ABI (cp311-abi3)
    C library  glibc 2.34 and every later one (manylinux_2_34): Debian 12, Ubuntu 22.04, RHEL 9
    inside     libffpfpcap.so, ffpf-ixp-board, the module, and in pyffpf.libs/ libbpf, libelf, libsodium (for signed
               records) and vectorscan (the extern of that name); their terms are in its licenses/
    not inside libcrypto.so.3 (digests) and libpcap.so.0.8 (filter text): the system's, said by name where they lack

It is built of the source distribution on Debian 12. That has a newer glibc, but neither we nor what is copied in calls
what came after 2.34: auditwheel, which copies libraries in, reads it off the symbols' versions, and refuses otherwise.
An older glibc would not do. There threads are a library of their own, of which the system's libpcap brings a second
one into its namespace; that takes the main thread out of the first one's list, and setgroups() searches it forever.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
from pathlib import Path

from compat_tests import harness
from compat_tests.packaging import debian

LOADED = ("libsodium.so.23", "libhs.so.5")  # by name, when first used
LINKED = ("libbpf", "libelf")
DOCUMENTED = ("libbpf1", "libelf1", "libsodium23", "libvectorscan5")  # the packages of what is copied
LICENSES = ("GPL-2", "GPL-3", "LGPL-2.1", "LGPL-3")
ABI = "cp311"


def platform_tag() -> str:
    return f"manylinux_2_34_{platform.machine()}"


def tools(folder: Path) -> Path:
    """A virtual environment with auditwheel and what it needs: its commands' folder."""
    with (harness.ROOT / "pyproject.toml").open("rb") as file:
        wanted = tomllib.load(file)["project"]["optional-dependencies"]["wheel"]
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted],
                   check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    return folder / "bin"


def linux_wheel(folder: Path) -> Path:
    """The wheel as setuptools makes it of the source distribution."""
    archive = debian.source(folder)
    with tarfile.open(archive) as members:
        members.extractall(folder, filter="data")
    source = folder / archive.name.removesuffix(".tar.gz")
    abi = f"--config-settings=--build-option=--py-limited-api={ABI}"
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", abi, "-w", str(folder)]
    subprocess.run([*pip, source], check=True, stdout=subprocess.DEVNULL)
    (made,) = folder.glob("*.whl")
    return made


def licenses(target: Path) -> None:
    """The terms of all that is copied in, as Debian has collected them."""
    target.mkdir(parents=True, exist_ok=True)
    papers = {name: Path("/usr/share/doc") / name / "copyright" for name in DOCUMENTED}
    papers |= {name: Path("/usr/share/common-licenses") / name for name in LICENSES}
    for name, paper in papers.items():
        shutil.copyfile(paper, target / f"{name}.txt")


def filled(made: Path, commands: Path) -> Path:
    """The wheel with the libraries that are loaded by name, and all licenses, in the folder `filled` beside it."""
    folder = made.parent / "unpacked"
    wheel = [str(commands / "python"), "-m", "wheel"]
    subprocess.run([*wheel, "unpack", "-d", folder, made], check=True, stdout=subprocess.DEVNULL)
    (top,) = folder.iterdir()
    (top / "pyffpf.libs").mkdir()  # where auditwheel lets the module look, too
    for name in LOADED:
        shutil.copy(Path("/usr/lib") / sysconfig.get_config_var("MULTIARCH") / name, top / "pyffpf.libs" / name)
    (info,) = top.glob("*.dist-info")
    licenses(info / "licenses" / "of-libraries-inside")
    result = made.parent / "filled"
    result.mkdir()
    subprocess.run([*wheel, "pack", "-d", result, top], check=True, stdout=subprocess.DEVNULL)
    (packed,) = result.glob("*.whl")
    return packed


def build(target: Path) -> Path:
    """Builds it; its path, in the folder. CalledProcessError when a step fails, auditwheel's judgement among them."""
    with harness.scratch("ffpf-wheel-") as folder:
        commands = tools(folder / "tools")
        made = filled(linux_wheel(folder), commands)
        env = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"}
        repair = [commands / "auditwheel", "repair", "--strip", "--only-plat", "--plat", platform_tag()]
        subprocess.run([*map(str, repair), "-w", folder / "repaired", made], check=True, env=env)
        (repaired,) = (folder / "repaired").glob("*.whl")
        target.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(repaired, target))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m compat_tests.packaging.wheel", description="Builds the wheel.")
    parser.add_argument("folder", type=Path, help="where it goes")
    print(build(parser.parse_args().folder.resolve()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
