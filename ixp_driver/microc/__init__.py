# SPDX-License-Identifier: BSD-3-Clause
"""Microengine C to microcode. compile.py is the door."""

from ixp_driver.microc.compile import Object, compile_file, compile_text
from ixp_driver.microc.ir import CompileError

__all__ = ["CompileError", "Object", "compile_file", "compile_text"]
