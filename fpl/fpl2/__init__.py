# SPDX-License-Identifier: BSD-3-Clause
"""FPL-2, the register language of the paper (section 3.3, Figure 5); README.md has the passes."""

from fpl.fpl2.compile import Checked, check, compile_native
from fpl.fpl2.report import FplError

__all__ = ["Checked", "FplError", "check", "compile_native"]
