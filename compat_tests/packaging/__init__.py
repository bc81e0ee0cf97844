# SPDX-License-Identifier: BSD-3-Clause
"""Packages: what is built for others to install, and whether it works there."""
