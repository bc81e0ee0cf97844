# SPDX-License-Identifier: BSD-3-Clause
"""The README's two commands in a Debian that has nothing else: `python3 -m compat_tests.packaging.fresh_root`.

    python3 -m compat_tests.packaging.fresh_root --log FILE             # make demo, make test: half an hour, or more
    python3 -m compat_tests.packaging.fresh_root --log FILE demo        # the first alone: minutes

Run from the project's folder, as root. It makes a minimal Debian in a temporary folder (debian_root.py), installs make
and git, clones what is committed, lays the folder `shared` beside the clone, where this project has one, and runs the
commands as root. What they print goes to the log, and what each step took to the log and the standard output; exit 0
when all of them ended well. The folder is removed, unless `--keep FOLDER` says where it is to stay; one that is there
already is used as it is, with the clone brought up to date.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from compat_tests.packaging.debian_root import DebianRoot

ROOT = Path(__file__).resolve().parents[2]
RELEASE = "bookworm"
BESIDE = "/srv/project"
PROJECT = f"{BESIDE}/main"
WANTED = ("git", "make")  # of a fresh machine, by the README
COMMANDS = ("demo", "test")


class StepError(Exception):
    """A command in the root, or one that makes it, failed; the log has its words."""


@dataclass
class Run:
    """Where the log goes, and what the steps took: name, seconds."""

    log: IO[bytes]
    took: list[tuple[str, float]] = field(default_factory=list)

    def say(self, text: str) -> None:
        print(text, flush=True)
        self.log.write(f"{text}\n".encode())
        self.log.flush()

    def step(self, name: str, action: Callable[[], int]) -> None:
        """Runs it; StepError unless it returns 0."""
        self.say(f"==> {name}")
        began = time.monotonic()
        code = action()
        self.took.append((name, time.monotonic() - began))
        self.say(f"==> {name}: {'ended well' if code == 0 else f'failed, exit {code}'}, {self.took[-1][1]:.0f} s")
        if code:
            raise StepError(name)


def clone(root: DebianRoot) -> int:
    """What is committed here, as it is now; and `shared`, which other commits do not have."""
    target = root.root / PROJECT.lstrip("/")
    if target.is_dir():
        return subprocess.run(["git", "-C", target, "pull", "-q", "--ff-only", ROOT, "HEAD"], check=False).returncode
    target.parent.mkdir(parents=True, exist_ok=True)
    if (ROOT.parent / "shared").is_dir():
        shutil.copytree(ROOT.parent / "shared", target.parent / "shared")
    return subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, target], check=False).returncode


def versions(run: Run, root: DebianRoot) -> int:
    """What the root and this machine are; and that nothing is mounted in the root from outside."""
    run.say(f"commit {root.run('git', 'rev-parse', 'HEAD', cwd=PROJECT).stdout.strip()}")
    run.say(f"Debian {(root.root / 'etc/debian_version').read_text().strip()}, kernel {root.run('uname', '-r').stdout}")
    mounted = Path("/proc/self/mounts").read_text()
    return int(str(root.root) in mounted)


def rehearse(run: Run, folder: Path, commands: list[str]) -> None:
    """Makes the root in the folder, unless it is there, and runs the commands in it. StepError."""
    root = DebianRoot(folder)
    if not (folder / "etc").is_dir():

        def create() -> int:
            DebianRoot.create(folder, RELEASE)
            return 0

        run.step(f"a minimal Debian, {RELEASE}", create)
        run.step("apt-get update", lambda: root.log(run.log, "apt-get", "update", "-qq"))
        install = ("apt-get", "install", "-y", "-qq", "--no-install-recommends", *WANTED)
        run.step(f"{' and '.join(WANTED)} installed", lambda: root.log(run.log, *install))
    run.step("a clean clone of the project", lambda: clone(root))
    run.step("what there is", lambda: versions(run, root))
    for command in commands:
        run.step(f"make {command}", lambda command=command: root.log(run.log, "make", command, cwd=PROJECT))  # type: ignore[misc]


@contextmanager
def place(kept: Path | None) -> Iterator[Path]:
    """The root's folder: the one to be kept, or one that is removed afterwards."""
    if kept is not None:
        yield kept.resolve()
        return
    above = Path(tempfile.mkdtemp(prefix="ffpf-fresh-root-"))
    above.chmod(0o755)
    try:
        yield above / "root"
    finally:
        shutil.rmtree(above)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m compat_tests.packaging.fresh_root")
    parser.add_argument("commands", nargs="*", choices=(*COMMANDS, []), metavar="{demo,test}",
                        help="of make; without one, all, in this order")  # fmt: skip
    parser.add_argument("--log", type=Path, required=True, help="where all that is said goes")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where the Debian lies, and stays")
    options = parser.parse_args()
    with options.log.open("wb") as log, place(options.keep) as folder:
        run = Run(log)
        try:
            rehearse(run, folder, options.commands or list(COMMANDS))
        except StepError:
            return 1
        finally:
            for name, seconds in run.took:
                run.say(f"{seconds:8.1f} s  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
