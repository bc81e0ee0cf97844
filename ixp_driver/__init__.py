# SPDX-License-Identifier: BSD-3-Clause
"""The emulated IXP1200: board, compiler, driver. README.md has the rooms."""
