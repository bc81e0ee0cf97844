# SPDX-License-Identifier: BSD-3-Clause
"""What tests on a running ffpfd stand on: a network namespace, and an ffpfd in it, for all tests of a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from compat_tests.netns import Netns, wait_until
from pyffpf.daemon.test_kernel import Ffpfd
from pyffpf.daemon.testing import open_to_all


@contextmanager
def network() -> Iterator[Netns]:
    """A pair of interfaces that are up. Its sender is opened by root, and kept for users."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with Netns() as made:
        wait_until(lambda: made.is_up(made.left), "the interface")
        made.sender(made.right)
        yield made


@contextmanager
def started(ns: Netns, folders: pytest.TempPathFactory, config: str) -> Iterator[Ffpfd]:
    """An ffpfd that users reach, too. It takes a second to start. When nothing failed it must end well."""
    folder = folders.mktemp("ffpfd")
    open_to_all(folder)
    made = Ffpfd(ns, folder, config)
    try:
        yield made
        made.stop()
    finally:
        made.clear_up()
