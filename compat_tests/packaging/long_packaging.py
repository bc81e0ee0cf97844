# SPDX-License-Identifier: BSD-3-Clause
"""The Debian package, built and unpacked; commands run out of it. Installing and removing it: `installed.py`."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat_tests import captures, harness
from compat_tests.packaging import debian

COMMANDS = ("ffpf", "ffpf-extcap", "ffpf-flow", "ffpf-ixp", "ffpf-run", "ffpfd", "fpl1", "fplc")
PROGRAM = """
#include <ffpf.h>

#include <stdio.h>

int
main(void)
{
	printf("%s\\n", ffpf_drop_name(FFPF_DROP_PBUF));
	return 0;
}
"""


@pytest.fixture(scope="module")
def package() -> Iterator[Path]:
    with harness.scratch("ffpf-package-") as folder:
        yield debian.package(folder)


@pytest.fixture(scope="module")
def root(package: Path) -> Path:
    """The package unpacked."""
    target = package.parent / "unpacked"
    subprocess.run(["dpkg-deb", "-x", package, target], check=True)
    return target


def out(*words: object, **options: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True, **options)  # type: ignore[call-overload]
    return str(done.stdout)


def test_it_says_what_it_is_and_what_it_needs(package: Path) -> None:
    said = out("dpkg-deb", "-f", package)
    assert re.search(r"^Package: ffpf$", said, re.M)
    assert "@" not in re.sub(r"\S+@\S+>", "", said)
    needed = [one.split("(")[0].strip() for one in re.split(r"[,|]", out("dpkg-deb", "-f", package, "Depends"))]
    known = out("dpkg-query", "-W", "-f", "${Package} ${Provides}\n")
    assert all(re.search(rf"(^|\s){re.escape(name)}\s", known, re.M) for name in needed), needed
    conffiles = out("dpkg-deb", "--ctrl-tarfile", package, encoding="latin-1")
    assert "/etc/ffpf/ffpfd.toml" in conffiles


def test_everything_of_it_has_its_place(root: Path) -> None:
    assert sorted(path.name for path in (root / "usr/bin").iterdir()) == sorted(COMMANDS)
    pages = sorted(path.name.removesuffix(".gz") for path in (root / "usr/share/man").rglob("*.gz"))
    assert pages == sorted(path.name for path in (harness.ROOT / "docs/man").iterdir())
    unit = (root / "usr/lib/systemd/system/ffpfd.service").read_text()
    assert "ExecStart=/usr/bin/ffpfd\n" in unit
    (extcap,) = (root / "usr/lib").glob("*/wireshark/extcap")
    assert (extcap / "ffpf-extcap").readlink() == Path("/usr/bin/ffpf-extcap")
    for script in root.parent.glob("*/DEBIAN/p*"):
        subprocess.run(["sh", "-n", script], check=True)


def test_commands_run_out_of_it(root: Path) -> None:
    """As root's, with the package's own modules alone: nothing of the working tree or its environment."""
    with harness.scratch() as folder:
        for name in COMMANDS:
            text = (root / "usr/bin" / name).read_text().replace('"/usr/lib/ffpf', f'"{root}/usr/lib/ffpf')
            (folder / name).write_text(text.replace("#!/usr/bin/python3", f"#!{sys.executable}"))
            (folder / name).chmod(0o755)
            assert "usage: " in out(folder / name, "--help", cwd=folder)
        made = folder / "mixed.pcap"
        captures.write_imix(made, 500)
        stock = out("tcpdump", "-r", made, "-nn", cwd=folder)
        env = {"PATH": f"{folder}:/usr/bin:/usr/sbin:/bin:/sbin", "FFPF_STATS": str(folder / "stats")}
        assert out(folder / "ffpf-run", "tcpdump", "-r", made, "-nn", cwd=folder, env=env) == stock
        assert "engine=embedded" in (folder / "stats").read_text()
        counted = out(folder / "ffpf-flow", f"(device,{made}) -> (packetcount)", cwd=folder, env=env)
        assert str(len(stock.splitlines())) in counted


def test_a_program_in_c_is_built_with_pkg_config(root: Path) -> None:
    with harness.scratch() as folder:
        env = {"PKG_CONFIG_PATH": str(root / "usr/lib/pkgconfig"), "PATH": "/usr/bin:/bin"}
        flags = out("pkg-config", f"--define-variable=prefix={root}/usr", "--cflags", "--libs", "ffpf", env=env).split()
        (folder / "program.c").write_text(PROGRAM)
        subprocess.run(["gcc", "-Wall", "-Werror", "-o", folder / "program", folder / "program.c", *flags], check=True)
        assert out(folder / "program") == "pbuf\n"


def test_the_source_distribution_has_what_it_is_built_of() -> None:
    """What git tracks, tests and documents among it."""
    with harness.scratch() as folder:
        with tarfile.open(debian.source(folder)) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        tracked = set(out("git", "-C", harness.ROOT, "ls-files").splitlines())
        wanted = {name for name in tracked if not name.startswith(".")}
        assert not wanted - names, sorted(wanted - names)[:20]
