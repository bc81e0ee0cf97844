# SPDX-License-Identifier: BSD-3-Clause
"""FPL-1, the stack language of the paper (section 3.3), which may extend itself; README.md has the files."""

from fpl.fpl1.assemble import assemble
from fpl.fpl1.disassemble import disassemble
from fpl.fpl1.object import Object

__all__ = ["Object", "assemble", "disassemble"]
