# SPDX-License-Identifier: BSD-3-Clause
"""A Debian of its own in a folder (debootstrap), and commands that run in it as in a fresh container.

Each command has namespaces of its own for mounts, processes and System V objects, and there a /proc, /sys and /dev of
its own, whose devices are those of a container. What it mounts, and what it leaves running, ends with it: outside
nothing is ever mounted in the folder, so that it can be removed at any time. The network is this machine's.

Where this machine's packages come from is known to the root as well: the mirror, what tells pip where to look, and the
certificates that both trust. Nothing else of this machine is.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CERTIFICATES = "/usr/local/share/certificates-of-the-host.pem"
# What of this machine's environment says how packages are reached, how patient tests are, and which routines of
# OpenBLAS work on its processor.
PASSED = re.compile(r"(PIP_.*|OPENBLAS_.*|FFPF_.*|CI|https?_proxy|no_proxy)", re.IGNORECASE)
TRUST = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
PIP_FILES = ("/etc/pip.conf", "~/.config/pip/pip.conf", "~/.pip/pip.conf")
# $1: the root; then folders to be seen in it, read only, one an argument, up to "--"; then the folder, within the root,
# in which the command after it is run. The shell stays, and takes the children whose parents have ended.
ENTER = r"""
set -eu
root=$1; shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=755 dev "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/net"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
while read -r name major minor; do
	mknod -m 666 "$root/dev/$name" c "$major" "$minor"
done <<DEVICES
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
net/tun 10 200
DEVICES
ln -s pts/ptmx "$root/dev/ptmx"
: > "$root/dev/console"  # to mount a terminal on: what starts systemd does
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
while [ "$1" != -- ]; do
	mkdir -p "$root$1"
	mount --bind "$1" "$root$1"
	mount -o remount,bind,ro "$root$1"
	shift
done
shift
cd "$root"
pivot_root . mnt
umount --lazy /mnt
cd "$1"; shift
"$@" && code=0 || code=$?
exit "$code"
"""


def mirror() -> str:
    """Where this machine's packages come from."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.split()[0]


def pip_files() -> list[Path]:
    return [path for name in PIP_FILES if (path := Path(name).expanduser()).is_file()]


def pip_folders(environ: Mapping[str, str]) -> list[Path]:
    """Folders of this machine in which pip is told to look for packages; of an index, the one above its `simple`, for
    what that lists lies beside it."""
    told = [value for name, value in environ.items() if name.startswith("PIP_")]
    for path in pip_files():
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(path)
        told += [value for section in parser.sections() for value in parser[section].values()]
    words = [word.removeprefix("file://") for value in told for word in value.split()]
    folders = {Path(word) for word in words if word.startswith("/") and Path(word).is_dir()}
    return sorted({path.parent if path.name == "simple" else path for path in folders})


class DebianRoot:
    """A Debian in `root`; made by `create`, or made before."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.shown = pip_folders(os.environ)
        self.env = {name: value for name, value in os.environ.items() if PASSED.fullmatch(name)}
        self.env |= {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        if "SSL_CERT_FILE" in os.environ:
            self.env |= dict.fromkeys(TRUST, CERTIFICATES)

    @classmethod
    def create(cls, root: Path, release: str, packages: Sequence[str] = ()) -> DebianRoot:
        """Installs the release's required packages in the folder, which is made, and those named.
        CalledProcessError when debootstrap or apt refuses; FileNotFoundError where debootstrap is not installed."""
        if shutil.which("debootstrap") is None:
            raise FileNotFoundError("debootstrap is not here: apt-get install debootstrap")
        names = [f"--include={','.join(packages)}"] if packages else []
        subprocess.run(
            ["debootstrap", "--variant=minbase", *names, release, root, mirror()], check=True, capture_output=True
        )
        made = cls(root)
        for path in pip_files():
            shutil.copyfile(path, made.root / "etc/pip.conf")
        trusted = os.environ.get("SSL_CERT_FILE")
        if trusted:
            shutil.copyfile(trusted, made.root / CERTIFICATES.lstrip("/"))
        return made

    def argv(self, *words: str, cwd: str = "/") -> list[str]:
        """The command that runs another one in the root."""
        shown = [str(path) for path in self.shown]
        alone = ["setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--ipc"]
        return [*alone, "sh", "-c", ENTER, "sh", str(self.root), *shown, "--", cwd, *words]

    def run(self, *words: str, check: bool = True, cwd: str = "/") -> subprocess.CompletedProcess[str]:
        """Runs a command as root. AssertionError, with the end of what it said, when it fails and `check`."""
        done = subprocess.run(self.argv(*words, cwd=cwd), capture_output=True, text=True, check=False, env=self.env)
        assert done.returncode == 0 or not check, f"{words}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done

    def log(self, log: IO[bytes], *words: str, cwd: str = "/") -> int:
        """Runs a command as root, without input; both outputs go to the log. Its exit code."""
        return subprocess.run(
            self.argv(*words, cwd=cwd), stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False, env=self.env
        ).returncode

    def files(self, hidden: tuple[str, ...]) -> set[str]:
        """Every path of it but those that begin with one of `hidden`."""
        found = self.run("find", "/", "-xdev").stdout.splitlines()
        return {path for path in found if not path.startswith(hidden)}
