# SPDX-License-Identifier: BSD-3-Clause
"""The Debian package installed, used, removed and purged, in a Debian that nothing else is in (debootstrap)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from compat_tests import captures, harness
from compat_tests.packaging import debian
from compat_tests.packaging.debian_root import DebianRoot

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
    "/srv",  # where the test puts its own
)


@pytest.fixture(scope="module")
def machine() -> Iterator[DebianRoot]:
    with harness.scratch("ffpf-debian-") as folder:
        yield DebianRoot.create(folder / "root", RELEASE, ("tcpdump", "python3", "libbpf1", "libsodium23"))


def test_it_is_installed_used_removed_and_purged(machine: DebianRoot) -> None:
    root = machine.root
    before = machine.files(LEFT_BY_APT)
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
    left = machine.files(LEFT_BY_APT) - before
    assert left <= {"/etc/ffpf", "/etc/ffpf/ffpfd.toml", *apparmor(left)}, left
    assert "/etc/ffpf/ffpfd.toml" in left
    machine.run("dpkg", "--purge", "ffpf")
    accounts = {
        path
        for path in machine.files(LEFT_BY_APT) - before
        if path.endswith(("passwd-", "group-", "shadow-", "gshadow-"))
    }
    assert machine.files(LEFT_BY_APT) - before == accounts
    assert machine.run("getent", "passwd", "ffpf", check=False).returncode != 0


def apparmor(paths: set[str]) -> set[str]:
    return {path for path in paths if path.startswith("/etc/apparmor.d")}
