# SPDX-License-Identifier: BSD-3-Clause
"""Builds the drop-in library and the cffi module; everything else is said in pyproject.toml."""

import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "csrc"))
import build  # noqa: E402  (the build driver is a script beside the sources, not a package)


class BuildAll(build_ext):
    """build_ext, and beside the package's modules what commands look for there: libffpfpcap.so and ffpf-ixp-board."""

    def run(self) -> None:
        with build.locked():
            library = build.build_library("normal")
            board = build.build_board_program("normal")
            core = build.build_core("normal")
        for extension in self.extensions or []:
            extension.depends.append(str(core))  # else a change of the core alone would not link the module anew
        super().run()
        package = ROOT / "pyffpf" if self.inplace else Path(self.build_lib) / "pyffpf"
        package.mkdir(parents=True, exist_ok=True)
        for made in (library, board):
            target = package / made.name
            target.unlink(missing_ok=True)  # programs that run on the old one keep it
            shutil.copy2(made, target)


setup(cmdclass={"build_ext": BuildAll}, cffi_modules=["pyffpf/_core_build.py:ffi"])
