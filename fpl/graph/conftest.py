# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of graph share: a source without a socket, its classifier and its stage."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from fpl.classify import Compiler
from fpl.graph.testing import TestStage


@pytest.fixture(scope="session")
def compiler() -> Iterator[Compiler]:
    made = Compiler()
    yield made
    made.close()


@contextlib.contextmanager
def _on_one_processor() -> Iterator[None]:
    """Packets are handled where the test is."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture
def one_processor() -> Iterator[None]:
    with _on_one_processor():
        yield


@pytest.fixture(scope="module")
def shared(compiler: Compiler) -> Iterator[TestStage]:
    """For tests of a module that leave it as it was."""
    with _on_one_processor(), TestStage(compiler) as stage:
        yield stage


@pytest.fixture
def made(compiler: Compiler, one_processor: None) -> Iterator[TestStage]:
    with TestStage(compiler) as stage:
        yield stage
