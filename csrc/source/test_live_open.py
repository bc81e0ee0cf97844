# SPDX-License-Identifier: BSD-3-Clause
"""Opening a live reader: what fails, in whose words, and what is known of a device."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyffpf._core import ffi, lib

from compat_tests.netns import Netns
from source.live_frames import numbered
from source.live_reader import LiveError, OurReader, StockReader, stock_tstamp_types

pytestmark = pytest.mark.live

NOBODY = 65534
# libpcap's PCAP_ERROR_* for the core's codes, as its pcap_activate() returns them
STATUS = {
    lib.FFPF_E_SYSTEM: -1,
    lib.FFPF_E_NO_SUCH_DEVICE: -5,
    lib.FFPF_E_PERMISSION: -8,
    lib.FFPF_E_DEVICE_DOWN: -9,
}


# where the core says nothing, pcap_activate() puts what the status means
IN_OTHER_WORDS = {-5: "No such device exists", -9: "That device is not up"}


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with Netns() as made:
        made.add_veth("down0", "down1")
        made.ip("link", "set", "down0", "down")
        yield made


@pytest.mark.parametrize("promisc", [False, True], ids=["as it is", "promiscuous"])
@pytest.mark.parametrize("immediate", [False, True], ids=["blocks", "frames"])
@pytest.mark.parametrize("device", ["nosuch0", "a-name-that-is-too-long", "", "down0", "eth0/../lo", "any0"])
def test_devices_that_do_not_open(ns: Netns, device: str, promisc: bool, immediate: bool) -> None:
    with pytest.raises(LiveError) as ours:
        OurReader(ns, device, promisc=promisc, immediate=immediate)
    with pytest.raises(LiveError) as theirs:
        StockReader(ns, device, promisc=promisc, immediate=immediate)
    assert STATUS[ours.value.code] == theirs.value.code
    assert (ours.value.text or IN_OTHER_WORDS[theirs.value.code]) == theirs.value.text


def attempt(open_reader: Callable[[], object]) -> tuple[int, str]:
    try:
        open_reader()
    except LiveError as error:
        return error.code, error.text
    return 0, ""


def as_nobody(ns: Netns, ask: Callable[[], object]) -> Any:
    """What ask() returns in a child that is in the namespace and has no privilege there; JSON's types."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with ns.entered():
                os.setgroups([])
                os.setresuid(NOBODY, NOBODY, NOBODY)
                os.write(writing, json.dumps(ask()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return json.loads(answer)


@pytest.mark.parametrize("device", ["lo", "any", "nosuch0"])
def test_without_privilege(ns: Netns, device: str) -> None:
    def ask() -> object:
        return attempt(lambda: OurReader(None, device)), attempt(lambda: StockReader(None, device))

    ours, theirs = as_nobody(ns, ask)
    assert ours == [lib.FFPF_E_PERMISSION, "socket: Operation not permitted"]
    assert theirs == [STATUS[ours[0]], ours[1]]


def test_privilege_is_needed_at_open_only(ns: Netns) -> None:
    """tcpdump gives root up between pcap_activate and pcap_setfilter."""
    with OurReader(ns, ns.left) as ours:
        ns.send(ns.right, [numbered(i) for i in range(4)])

        def ask() -> object:
            ours.set_filter([(0x20, 0, 0, 14), (0x45, 0, 1, 1), (6, 0, 0, 262144), (6, 0, 0, 0)])
            kind = ours.filter_kind
            return kind, [p.data.hex() for p in ours.read(2)], ours.counters()["delivered"]

        kind, data, delivered = as_nobody(ns, ask)
    assert kind == lib.FFPF_FILTER_KERNEL
    assert data == [numbered(1).hex(), numbered(3).hex()]
    assert delivered == 2


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"snap_len": 0}, "FFPF_E_INVALID"),
        ({"snap_len": 262145}, "FFPF_E_INVALID"),
        ({"timeout_ms": -1}, "FFPF_E_INVALID"),
    ],
)
def test_arguments_out_of_range(ns: Netns, changed: dict[str, int], code: str) -> None:
    with pytest.raises(LiveError) as error:
        OurReader(ns, ns.left, **changed)  # type: ignore[arg-type]
    assert error.value.code == getattr(lib, code)


def test_hardware_stamps_that_a_device_does_not_have(ns: Netns) -> None:
    """A warning, and the kernel's stamps instead."""
    for stamps in (3, 4):  # adapter, adapter_unsynced
        with OurReader(ns, ns.left, tstamp_type=stamps) as ours:
            assert ours.warning[0] == lib.FFPF_LIVE_TSTAMP_TYPE_NOT_SUPPORTED
            ns.send(ns.right, [numbered(1)])
            assert len(ours.read(1)) == 1
    for stamps in (-1, 0, 1, 2):
        with OurReader(ns, ns.left, tstamp_type=stamps) as ours:
            assert ours.warning[0] == lib.FFPF_LIVE_OK


def our_tstamp_types(ns: Netns, device: str) -> list[int]:
    types = ffi.new("int[3]")
    with ns.entered():
        count = lib.ffpf_live_tstamp_types(device.encode(), types, ffi.NULL)
    assert 0 <= count <= 3
    return [types[i] for i in range(count)]


@pytest.mark.parametrize("device", ["lo", "any", "left", "nosuch0", "a-name-that-is-too-long"])
def test_stamps_a_device_offers(ns: Netns, device: str) -> None:
    """Stock lists the default where nothing is known; here that is the empty list."""
    name = ns.left if device == "left" else device
    assert (our_tstamp_types(ns, name) or [0]) == stock_tstamp_types(ns, name)


def test_close_of_nothing() -> None:
    with Netns() as made, OurReader(made, "lo") as ours:
        ours.ops.close(ffi.NULL)


def test_many_readers_leave_nothing(ns: Netns) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    for immediate in (False, True):
        for _ in range(20):
            OurReader(ns, ns.left, immediate=immediate).close()
            with pytest.raises(LiveError):
                OurReader(ns, "down0", immediate=immediate)
    assert descriptors() == before
    maps = Path("/proc/self/maps").read_text()
    assert "socket:" not in maps
