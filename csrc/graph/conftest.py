# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures for the graph's tests in Python."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from graph.hooked_engine import Hooked


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Hooked:
    """The compilers are this environment's."""
    folder = Path(sys.executable).parent
    monkeypatch.setenv("FFPF_FPLC", str(folder / "fplc"))
    monkeypatch.setenv("FFPF_FPL1", str(folder / "fpl1"))
    return Hooked()
