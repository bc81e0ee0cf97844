# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of classify share: a source without a socket, and a thread that stays on one processor."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from fpl.classify import Classifier
from fpl.classify.testing import TestSource


@pytest.fixture
def source() -> Iterator[TestSource]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    with TestSource() as made:
        yield made
    os.sched_setaffinity(0, before)


@pytest.fixture
def classifier(source: TestSource) -> Iterator[Classifier]:
    made = Classifier(source.maps)
    yield made
    made.close()
