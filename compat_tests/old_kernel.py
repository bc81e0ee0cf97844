# SPDX-License-Identifier: BSD-3-Clause
"""`python -m compat_tests.old_kernel`: the project on Debian 12's own kernel, which need not be this machine's.

A kernel of Debian's is fetched and unpacked, not installed; qemu emulates a machine that boots it from an initramfs
with this machine's Python, tools and build of the project (guest_image.py), and there guest_checks.py runs: which form
of the hook is taken, what it stores, unmodified tools through ffpfd and without, TPACKET where the hook is refused,
what is said of netfilter. No hardware support is used. What is fetched and made lies in build/guest and is used again.

    python -m compat_tests.old_kernel                           # the newest 6.1 that apt knows; minutes
    python -m compat_tests.old_kernel --package linux-image-...-cloud-amd64 [CHECK ...]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compat_tests import guest_image, guest_init

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "guest"
KERNELS = r"^linux-image-6\.1\.[0-9.]+-[0-9]+-cloud-amd64$"
EMULATOR = "qemu-system-x86"
MEMORY = "3G"
SECONDS = 1800
PROGRAMS = ("cat", "env", "ethtool", "false", "ip", "kill", "ldconfig", "ls", "setpriv", "sh", "sleep", "sysctl",
            "taskset", "tcpdump", "tcpreplay", "time", "true", "unshare")  # fmt: skip
DISTRIBUTIONS = ("pyffpf", "llvmlite", "pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "setuptools")
FILES = (
    "/bin",
    "/lib",
    "/lib64",
    "/sbin",
    "/etc/group",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/protocols",
    "/etc/services",
)
LIBRARIES = ("libgcc_s.so.1", "libpcap.so.0.8")  # that are loaded by name
MODULES = ("veth", "dummy")
LEFT_OUT = (".git", ".venv", "asan", "bench-results", "fuzz", "guest", "obj", "tsan")
SCRIPTS = ("ffpf", "ffpf-run", "ffpfd", "python", "python3")


class GuestError(Exception):
    """The guest could not be made or booted."""


# ---- what is fetched ----


def _apt(*words: str, folder: Path | None = None) -> str:
    done = subprocess.run(words, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise GuestError(f"{' '.join(words)}: {done.stdout.strip()}")
    return done.stdout


def newest(pattern: str) -> str:
    """Of the packages of that name which apt knows, the one with the largest numbers."""
    known = [line.split()[0] for line in _apt("apt-cache", "search", "--names-only", pattern).splitlines()]
    if not known:
        raise GuestError(f"apt knows no package {pattern}: apt-get update?")
    return max(known, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])


def _unpack(archives: Path, to: Path) -> None:
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(archive), str(to)], check=True)


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def kernel_of(package: str) -> Path:
    """The folder where the package is unpacked."""
    folder = FOLDER / package
    if not (folder / "done").exists():
        archives = _fresh(folder / "archives")
        _apt("apt-get", "download", package, folder=archives)
        _unpack(archives, folder)
        (folder / "done").touch()
    return folder


@dataclass(frozen=True)
class Emulator:
    """qemu: the machine's own, or one that is unpacked and not installed."""

    command: tuple[str, ...]
    libraries: str = ""

    @staticmethod
    def find() -> Emulator:
        installed = shutil.which("qemu-system-x86_64")
        if installed:
            return Emulator((installed,))
        folder = FOLDER / EMULATOR
        if not (folder / "done").exists():
            archives = _fresh(folder / "archives")
            (archives / "partial").mkdir()
            _apt("apt-get", "install", "--yes", "--no-install-recommends", "--download-only",
                 "-o", f"Dir::Cache::archives={archives}", EMULATOR)  # fmt: skip
            _unpack(archives, folder)
            (folder / "done").touch()
        firmware = [word for name in ("qemu", "seabios") for word in ("-L", str(folder / "usr" / "share" / name))]
        found = {str(path.parent) for path in folder.rglob("*.so.*")}
        return Emulator((str(folder / "usr" / "bin" / "qemu-system-x86_64"), *firmware), ":".join(sorted(found)))


# ---- the guest ----


def make_image(kernel: Path, path: Path) -> None:
    image = guest_image.Image()
    for program in PROGRAMS:
        image.add_program(program)
    for file in FILES:
        if Path(file).exists():
            image.add_file(Path(file))
    for library in LIBRARIES:
        image.add_file(guest_image.library(library))
    image.add_python(DISTRIBUTIONS)
    for script in SCRIPTS:
        image.add_file(Path(sys.prefix) / "bin" / script)
    image.add_tree(ROOT, LEFT_OUT)
    image.add_folder(Path("/modules"))
    modules = guest_image.modules(kernel / "lib" / "modules", MODULES)
    for number, (name, octets) in enumerate(modules.items()):
        image.add_octets(Path(f"/modules/{number:02}-{name}"), octets)
    sys.path.insert(0, str(ROOT / "csrc"))
    build = importlib.import_module("build")
    with build.locked():
        build.build_bench_program(ROOT / "bench" / "send.c")
    init = (ROOT / "compat_tests" / "guest_init.py").read_text()
    image.add_octets(Path("/init"), f"#!{sys.executable}\n{init}".encode(), 0o755)
    image.add_shared_objects()
    image.write(path)


@dataclass
class Story:
    """What the guest has said."""

    kernel: str = ""
    checks: list[dict[str, Any]] = field(default_factory=list)
    done: bool = False

    def take(self, line: str) -> None:
        _, mark, text = line.partition(guest_init.MARK)
        if not mark:
            return
        said = json.loads(text)
        if "check" in said:
            self.checks.append(said)
        self.kernel = said.get("kernel", self.kernel)
        self.done = self.done or "done" in said

    @property
    def good(self) -> bool:
        return self.done and bool(self.checks) and all(check["ok"] for check in self.checks)


def boot(emulator: Emulator, kernel: Path, image: Path, checks: Sequence[str], seconds: float, verbose: bool) -> Story:
    """Runs the guest until it turns itself off, or the time is over."""
    (binary,) = (kernel / "boot").glob("vmlinuz-*")
    words = ["console=ttyS0", "panic=-1", "quiet", "mitigations=off", "--", str(ROOT), sys.executable, *checks]
    command = [*emulator.command, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", MEMORY, "-no-reboot",
               "-display", "none", "-serial", "stdio", "-monitor", "none", "-nic", "none", "-kernel", str(binary),
               "-initrd", str(image), "-append", " ".join(words)]  # fmt: skip
    environment = os.environ | ({"LD_LIBRARY_PATH": emulator.libraries} if emulator.libraries else {})
    story, log = Story(), (FOLDER / "console.log").open("w")
    end = time.monotonic() + seconds
    with log, subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as machine, selectors.DefaultSelector() as selector:  # fmt: skip
        assert machine.stdout is not None
        selector.register(machine.stdout, selectors.EVENT_READ)
        rest = b""
        try:
            while time.monotonic() < end:
                if not selector.select(1):
                    continue
                octets = os.read(machine.stdout.fileno(), 65536)
                if not octets:
                    break
                *lines, rest = (rest + octets).replace(b"\r", b"").split(b"\n")
                for line in lines:
                    text = line.decode(errors="replace")
                    log.write(text + "\n")
                    log.flush()
                    story.take(text)
                    if verbose:
                        print(text, flush=True)
        finally:
            machine.kill()
    return story


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help="of guest_checks.py; all but `kernel` without")
    parser.add_argument("--package", help="of Debian's kernels; the newest 6.1 without")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"that the guest has; {SECONDS} without")
    parser.add_argument("--verbose", action="store_true", help="show what the guest's console says")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        kernel = kernel_of(options.package or newest(KERNELS))
        emulator = Emulator.find()
        image = FOLDER / "image.cpio"
        make_image(kernel, image)
        story = boot(emulator, kernel, image, options.checks, options.seconds, options.verbose)
    except (GuestError, guest_image.ImageError) as error:
        print(f"old_kernel: {error}", file=sys.stderr)
        return 1
    print(f"Linux {story.kernel or 'did not come up'}")
    for check in story.checks:
        verdict = "ok" if check["ok"] else "FAILED"
        print(f"  {verdict:6} {check['check']:10} {check['seconds']:6.1f} s  {check['words']}")
    if not story.done:
        print(f"  the guest did not come to the end within {options.seconds:.0f} s")
    if not story.good:
        print(f"the guest's console: {FOLDER / 'console.log'}")
    return 0 if story.good else 1


if __name__ == "__main__":
    sys.exit(main())
