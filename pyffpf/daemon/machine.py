# SPDX-License-Identifier: BSD-3-Clause
"""For tests: a systemd of its own, in namespaces, that runs our units as they are.

    with Machine(folder, {"ffpfd.service.d/test.conf": "..."}, starts="ffpfd.socket") as machine:
        machine.systemctl("show", "ffpfd", "--property=MainPID")

It has its own processes, mounts, /run, a copy of /etc with the user `ffpf` in it, and a control group that is removed
with it. Units of the host are not started. The interpreter and the project are seen at PYTHON and PROJECT, which every
user can read: the units hide home directories and /tmp. Needs root and systemd 252.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from compat_tests.netns import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
UNITS = ROOT / "pyffpf" / "daemon" / "units"
SYSTEMD = Path("/lib/systemd/systemd")
FROM_THE_HOST = ("basic.target", "sysinit.target", "sockets.target", "shutdown.target", "umount.target", "final.target",
                 "network.target", "local-fs.target", "multi-user.target", "-.slice", "system.slice",
                 "init.scope")  # fmt: skip
TOP = Path("/mnt")
PYTHON = TOP / "python" / "bin" / Path(sys.base_prefix, "bin", "python3").resolve().name
PROJECT = TOP / "project"
PACKAGES = TOP / "packages"
# For a service's [Service] section: how it finds all that.
ENVIRONMENT = (
    f"Environment=PYTHONPATH={PROJECT}:{PACKAGES} PYTHONDONTWRITEBYTECODE=1 LD_LIBRARY_PATH={TOP / 'python' / 'lib'}"
)

# In a mount namespace: a control group, and what lives in it. $1 is its name, the rest what to run.
OUTER = """
set -eu
mount --make-rprivate /
mount -t cgroup2 cgroup2 /mnt
group=/mnt$(sed -n 's/^0:://p' /proc/self/cgroup)
mkdir "$group/$1"
echo $$ >"$group/$1/cgroup.procs"
name=$1
shift
unshare --fork --pid --mount --cgroup --ipc --uts --kill-child "$@" || true
echo $$ >"$group/cgroup.procs"
find "$group/$name" -depth -type d -exec rmdir {} +
"""

# As process 1 of the machine. $1 console, $2 units, $3 interpreter's prefix, $4 project, $5 its packages, $6 unit.
INNER = """
set -eu
mount -t proc proc /proc
umount -R /sys/fs/cgroup 2>/dev/null || true  # in a network namespace /sys is a new one
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind "$1" /dev/console
mount -t tmpfs tmpfs /run
mkdir /run/etc /run/units
cp -a /etc/. /run/etc
mount --bind /run/etc /etc
mount -t tmpfs tmpfs /mnt
mkdir /mnt/python /mnt/project /mnt/packages
mount --bind "$3" /mnt/python
mount --bind "$4" /mnt/project
mount --bind "$5" /mnt/packages
systemd-sysusers /mnt/project/pyffpf/daemon/units/ffpf.sysusers.conf 2>/dev/null
systemd-tmpfiles --create /mnt/project/pyffpf/daemon/units/ffpf.tmpfiles.conf
cp -a "$2/." /run/units
exec env -i PATH="$PATH" container=ffpf SYSTEMD_UNIT_PATH=/run/units \
    /lib/systemd/systemd --system --unit="$6" --log-target=console --log-level=info --show-status=no
"""


class Machine:
    """A context manager. Files of `files` are added to our units and the few of the host that these need."""

    def __init__(self, folder: Path, files: Mapping[str, str], starts: str, netns: str | None = None) -> None:
        """folder: an empty one. starts: the unit to boot. netns: the network namespace to live in, None: the host's."""
        self._units = folder / "units"
        self._files = files
        self._starts = starts
        self._netns = netns
        self._output = bytearray()
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0  # of its process 1, seen from here

    def __enter__(self) -> Machine:
        self._write_units()
        master, slave = pty.openpty()
        enter = ["ip", "netns", "exec", self._netns] if self._netns else []
        inner = ["sh", "-c", INNER, "sh", os.ttyname(slave), str(self._units), sys.base_prefix, str(ROOT),
                 sysconfig.get_path("purelib"), self._starts]  # fmt: skip
        command = [*enter, "unshare", "--mount", "sh", "-c", OUTER, "sh", f"ffpf-test-{os.getpid()}", *inner]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
        self._reader = threading.Thread(target=self._read, args=(master,))
        self._reader.start()
        os.close(slave)
        try:
            wait_until(self._is_up, "systemd to start", 30)
        except BaseException:
            self._close()
            raise AssertionError(f"systemd does not start:\n{self.console()}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        if value is not None:
            value.add_note(f"console:\n{self.console()}")

    def console(self) -> str:
        return self._output.decode(errors="replace").replace("\r\n", "\n")

    def command(self, argv: Sequence[str]) -> list[str]:
        """argv, to be run inside."""
        return ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--net", *argv]

    def run(self, *argv: str) -> str:
        done = subprocess.run(self.command(argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, f"{argv}: {done.stdout}"
        return done.stdout

    def systemctl(self, *args: str) -> str:
        return self.run("systemctl", *args)

    def shown(self, unit: str, what: str) -> str:
        return self.systemctl("show", unit, f"--property={what}", "--value").strip()

    def path(self, inside: str) -> Path:
        """A path of the machine, as it can be opened from here."""
        return Path(f"/proc/{self.pid}/root{inside}")

    def outer_pid(self, inner: int) -> int:
        """A process of the machine, as it is called here."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    status = (entry / "status").read_text()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                (line,) = [line for line in status.splitlines() if line.startswith("NSpid:")]
                if line.split()[-1] == str(inner) and len(line.split()) == 3 and self._is_inside(entry):
                    return int(entry.name)
        raise AssertionError(f"the machine has no process {inner}")

    def _is_inside(self, entry: Path) -> bool:
        ours = Path(f"/proc/{self.pid}/ns/pid").readlink()
        try:
            return (entry / "ns" / "pid").readlink() == ours
        except FileNotFoundError:
            return False

    def _write_units(self) -> None:
        self._units.mkdir()
        for name in FROM_THE_HOST:
            for folder in ("/etc/systemd/system", "/lib/systemd/system"):
                if (Path(folder) / name).is_file():
                    (self._units / name).write_text((Path(folder) / name).read_text())
                    break
        for unit in ("ffpfd.service", "ffpfd.socket"):
            (self._units / unit).write_text((UNITS / unit).read_text())
        for name, text in self._files.items():
            (self._units / name).parent.mkdir(parents=True, exist_ok=True)
            (self._units / name).write_text(text)

    def _read(self, master: int) -> None:
        """A console that nobody reads would stop systemd."""
        while True:
            try:
                self._output += os.read(master, 65536)
            except OSError:
                break
        os.close(master)

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError("it ended")
        self.pid = self.pid or self._find_systemd(self._process.pid)
        return bool(self.pid) and self.path("/run/systemd/private").exists()

    def _find_systemd(self, pid: int) -> int:
        """The first process of the machine below `pid`, once it is systemd."""
        try:
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                is_it = Path(f"/proc/{child}/exe").readlink().name == "systemd"
                found = int(child) if is_it else self._find_systemd(int(child))
                if found:
                    return found
        except (FileNotFoundError, ProcessLookupError):
            pass  # a process that is just ending
        return 0

    def _close(self) -> None:
        """Process 1's end is that of the others; the shell outside then removes the control group."""
        assert self._process is not None
        if not self.pid:
            self.pid = self._find_systemd(self._process.pid) if self._process.poll() is None else 0
        if self.pid:
            os.kill(self.pid, 9)
        elif self._process.poll() is None:
            self._process.terminate()
        self._process.wait(30)
        self._reader.join(30)
