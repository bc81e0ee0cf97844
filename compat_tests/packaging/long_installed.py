# SPDX-License-Identifier: BSD-3-Clause
"""The Debian package installed, used, removed and purged, in a Debian that nothing else is in (debootstrap)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from compat_tests import captures, harness
from compat_tests.packaging import debian

RELEASE = "bookworm"
LEFT_BY_APT = (
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/var/cache",
    "/var/log",
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/tmp",
    "/root",
)


def mirror() -> str:
    """Where this machine's packages come from."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.split()[0]


class Machine:
    """A Debian in a folder; `run` runs a command in it as root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(["chroot", str(self.root), *argv], capture_output=True, text=True, check=False, env=env)
        assert done.returncode == 0 or not check, f"{argv}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done

    def files(self) -> set[str]:
        """Every path of it but what package tools keep for themselves."""
        found = self.run("find", "/", "-xdev").stdout.splitlines()
        return {path for path in found if not path.startswith(LEFT_BY_APT)}


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with harness.scratch("ffpf-debian-") as folder, ExitStack() as stack:
        root = folder / "root"
        subprocess.run(["debootstrap", "--variant=minbase", RELEASE, root, mirror()], check=True, capture_output=True)
        for kind in ("proc", "sysfs"):
            place = str(root / ("proc" if kind == "proc" else "sys"))
            subprocess.run(["mount", "-t", kind, kind, place], check=True)
            stack.callback(subprocess.run, ["umount", "--lazy", place], check=True)
        made = Machine(root)
        for name in ("apt.conf.d", "sources.list.d", "trusted.gpg.d"):
            subprocess.run(["cp", "-rT", f"/etc/apt/{name}", root / "etc/apt" / name], check=True)
        made.run("apt-get", "update", "-qq")
        made.run(
            "apt-get", "install", "-y", "-qq", "--no-install-recommends", "tcpdump", "python3", "libbpf1", "libsodium23"
        )
        yield made


def test_it_is_installed_used_removed_and_purged(machine: Machine) -> None:
    root = machine.root
    before = machine.files()
    with harness.scratch("ffpf-package-") as folder:
        package = debian.package(folder)
        (root / "srv/ffpf.deb").write_bytes(package.read_bytes())
    captures.write_imix(root / "srv/some.pcap", 500)
    machine.run("dpkg", "-i", "/srv/ffpf.deb")
    assert machine.run("getent", "passwd", "ffpf").stdout.startswith("ffpf:")

    stock = machine.run("tcpdump", "-r", "/srv/some.pcap", "-nn").stdout
    assert len(stock.splitlines()) == 500
    ran = machine.run("env", "FFPF_STATS=/tmp/stats", "ffpf-run", "tcpdump", "-r", "/srv/some.pcap", "-nn")
    assert ran.stdout == stock
    assert "engine=embedded" in (root / "tmp/stats").read_text()
    assert "500" in machine.run("ffpf-flow", "(device,/srv/some.pcap) -> (packetcount)").stdout
    program = root / "srv/web.fpl"
    program.write_text("IF (TCP_DPORT == 80) THEN RETURN 1; FI\n")
    machine.run("fplc", "check", "/srv/web.fpl")
    assert "ffpf-flow" in machine.run("ffpf-extcap", "--extcap-interfaces").stdout

    machine.run("dpkg", "-r", "ffpf")
    left = machine.files() - before
    assert left <= {"/etc/ffpf", "/etc/ffpf/ffpfd.toml", *apparmor(left)}, left
    assert "/etc/ffpf/ffpfd.toml" in left
    machine.run("dpkg", "--purge", "ffpf")
    accounts = {
        path for path in machine.files() - before if path.endswith(("passwd-", "group-", "shadow-", "gshadow-"))
    }
    assert machine.files() - before == accounts
    assert machine.run("getent", "passwd", "ffpf", check=False).returncode != 0


def apparmor(paths: set[str]) -> set[str]:
    return {path for path in paths if path.startswith("/etc/apparmor.d")}
