# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the whole-system tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compat_tests import captures as generator
from compat_tests import daq, harness
from compat_tests.netns import Netns


@pytest.fixture(scope="session")
def captures() -> Iterator[tuple[Path, ...]]:
    """Every capture that the offline comparisons read: the project's own, and the shared ones when present."""
    shared = sorted(path for path in harness.SHARED_CAPTURES.glob("*") if path.suffix in (".pcap", ".pcapng"))
    with harness.scratch() as directory:
        made = generator.write_families(directory)
        yield (*made, *shared)


@pytest.fixture(scope="session")
def daq_driver() -> tuple[str, ...]:
    """The command that captures as snort 2.9 does: our driver over Debian's libdaq 2 and its pcap module."""
    return (str(daq.driver()), "-M", str(daq.modules()))


@pytest.fixture(scope="session")
def ids_driver() -> str:
    """Our program that calls libpcap as Snort 3 and Suricata do."""
    return str(daq.compiled("ids_driver", "-lpcap"))


@pytest.fixture
def ns() -> Iterator[Netns]:
    """A network namespace of the test's own, with a veth pair."""
    with Netns() as made:
        yield made


@pytest.fixture(scope="session")
def traffic_files(captures: tuple[Path, ...]) -> dict[str, Path]:
    """Generated captures to replay, by name."""
    return {path.stem: path for path in captures if path.stem in ("mixed", "vlan", "qinq", "imix", "fragmented")}
