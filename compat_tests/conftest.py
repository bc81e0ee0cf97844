# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the whole-system tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat_tests import harness


@pytest.fixture(scope="session")
def captures() -> tuple[Path, ...]:
    """Every capture that the offline comparisons read."""
    shared = sorted(path for path in harness.SHARED_CAPTURES.glob("*") if path.suffix in (".pcap", ".pcapng"))
    return tuple(shared)
