# SPDX-License-Identifier: BSD-3-Clause
"""The linters of the project, each one row.

`python -m compat_tests.lint [--fix]` prints what they say; exit code 1 when any objects.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def tracked(*patterns: str) -> list[str]:
    """Files that git knows, or would take, below the root and that match one of the patterns."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(name for name in set(listed) if (ROOT / name).exists())


def c_files() -> list[str]:
    return tracked("*.c", "*.h")


def python_files() -> list[str]:
    return tracked("*.py")


def library_sources() -> list[str]:
    return [
        name
        for name in tracked("csrc/*.c", "libffpfpcap/*.c", "ixp_driver/*.c")
        if not Path(name).name.startswith(("test_", "fuzz_")) and not name.endswith(".bpf.c")
    ]


PYTHON = [sys.executable, "-m"]
CPPCHECK = [
    "cppcheck", "--quiet", "--std=c11", "--language=c", "--error-exitcode=1", "--inline-suppr", "-D__x86_64__",
    "--enable=warning,performance,portability", "--suppress=missingIncludeSystem",
    "--suppress=normalCheckLevelMaxBranches", "-Icsrc", "-Iixp_driver", "-j2",
    "--suppress=internalAstError:csrc/bpf/interpret.c",  # it cannot parse labels as values
    "--suppress=internalAstError:csrc/fpl1/run.c",
]  # fmt: skip

LINTERS: dict[str, Callable[[], list[str]]] = {
    "ruff": lambda: [*PYTHON, "ruff", "check", *python_files()],
    "ruff-format": lambda: [*PYTHON, "ruff", "format", "--check", *python_files()],
    "mypy": lambda: [*PYTHON, "mypy", "--no-error-summary", *python_files()],
    "clang-format": lambda: ["clang-format", "--dry-run", "-Werror", *c_files()],
    "cppcheck": lambda: [*CPPCHECK, *library_sources()],
}
FIXERS: dict[str, Callable[[], list[str]]] = {
    "ruff": lambda: [*PYTHON, "ruff", "check", "--fix", *python_files()],
    "ruff-format": lambda: [*PYTHON, "ruff", "format", *python_files()],
    "clang-format": lambda: ["clang-format", "-i", *c_files()],
}


def run_linter(command: list[str]) -> tuple[bool, str]:
    """Runs one linter at the root: whether it is content, and what it printed."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode == 0, done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the linters over the project.")
    parser.add_argument("--fix", action="store_true", help="first let the formatters rewrite the files")
    args = parser.parse_args()
    if args.fix:
        for make_command in FIXERS.values():
            run_linter(make_command())
    failed = False
    for name, make_command in LINTERS.items():
        content, words = run_linter(make_command())
        print(f"{name}: {'clean' if content else 'objects'}")
        if not content:
            failed = True
            print(words)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
