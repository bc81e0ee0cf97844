# SPDX-License-Identifier: BSD-3-Clause
"""Hours of tools that join and leave one ffpfd while the rate changes: counters exact, nothing left (README.md)."""
