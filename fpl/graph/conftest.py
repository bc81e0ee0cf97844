# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of graph share: a source without a socket, its classifier and its stage."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from fpl.graph.testing import TestStage


@pytest.fixture
def made() -> Iterator[TestStage]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    with TestStage() as stage:
        yield stage
    os.sched_setaffinity(0, before)
