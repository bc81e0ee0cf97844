# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the host's side share."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat_tests.captures import write_imix

PACKETS = 2000


@pytest.fixture(scope="session")
def imix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture of PACKETS packets of three sizes."""
    path = tmp_path_factory.mktemp("imix") / "imix.pcap"
    write_imix(path, PACKETS)
    return path
