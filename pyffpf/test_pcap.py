# SPDX-License-Identifier: BSD-3-Clause
"""pyffpf.pcap beside pypcap itself: the same script, told the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pcap as pypcap
import pytest

from compat_tests.capture_files import MAGIC_NS, PcapFormat, Record, stamped
from compat_tests.capture_imix import write_imix
from compat_tests.capture_packets import ethernet, udp4
from compat_tests.netns import Netns
from pyffpf import pcap as ours

MODULES = (pypcap, ours)


@pytest.fixture(scope="module")
def imix(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("imix") / "imix.pcap"
    write_imix(path, 5000, seed=5)
    return str(path)


def both(script: Callable[[Any], Any]) -> Any:
    """What the script gives with each module, which must be equal."""
    theirs, found = (script(module) for module in MODULES)
    assert found == theirs
    return found


def failure(work: Callable[[], Any]) -> bool:
    try:
        work()
    except OSError:
        return True
    return False


def test_iteration_filters_and_facts(imix: str) -> None:
    def script(module: Any) -> Any:
        capture = module.pcap(imix)
        capture.setfilter("tcp port 80")
        facts = (capture.datalink(), capture.dloff, capture.filter, capture.name, capture.getnonblock())
        found = [facts, list(capture), list(capture)]
        capture.close()
        return found

    assert len(both(script)[1]) > 500


def test_the_ways_to_read(imix: str) -> None:
    def script(module: Any) -> Any:
        capture = module.pcap(imix)
        seen: list[Any] = []
        first = next(capture)
        dispatched = capture.dispatch(3, lambda *told: seen.append(told), "x", 5)
        looped = capture.loop(200, lambda *told: seen.append(told))
        rest = capture.readpkts()
        return first, dispatched, looped, seen, rest, capture.dispatch(0, seen.append), capture.readpkts()

    found = both(script)
    assert len(found[3]) == 203 and len(found[4]) == 5000 - 204


def test_loop_to_the_end_and_callbacks_that_fail(imix: str) -> None:
    def script(module: Any) -> Any:
        capture, seen = module.pcap(imix), []

        def callback(ts: float, octets: bytes) -> None:
            seen.append((ts, octets))
            if len(seen) == 7:
                raise KeyError("seven")

        with pytest.raises(KeyError):
            capture.loop(0, callback)
        capture.loop(0, callback)
        return len(seen), seen[:10]

    theirs, found = (script(module) for module in MODULES)
    assert found[0] == 5000
    assert found[1][:7] == theirs[1][:7]


def test_stamps_in_nanoseconds(tmp_path: Path) -> None:
    path = tmp_path / "ns.pcap"
    records = stamped([b"x" * 60] * 50, units=1_000_000_000)
    path.write_bytes(PcapFormat(magic=MAGIC_NS).file(records))

    def script(module: Any) -> Any:
        return [[ts for ts, _ in module.pcap(str(path), timestamp_in_ns=in_ns)] for in_ns in (True, False)]

    both(script)


def test_what_fails_fails_there_too(imix: str, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(PcapFormat().file([Record(b"x" * 60)] * 3)[:-5])

    def script(module: Any) -> Any:
        capture = module.pcap(imix)
        return (
            failure(capture.stats), failure(lambda: capture.setfilter("nonsense nonsense")),
            failure(lambda: capture.sendpacket(b"x" * 60)), failure(lambda: module.pcap("nosuch0")),
            failure(lambda: module.bpf(b"nonsense nonsense")), capture.setdirection(module.PCAP_D_IN),
            failure(lambda: module.pcap(str(tmp_path / "none.pcap"))), len(module.pcap(str(cut)).readpkts()),
        )  # fmt: skip

    assert both(script) == (True, True, True, True, True, False, True, 2)


def test_functions_and_constants() -> None:
    assert ours.dltoff == pypcap.dltoff
    assert {name: getattr(ours, name) for name in dir(pypcap) if name.startswith(("DLT_", "PCAP_"))} == {
        name: getattr(pypcap, name) for name in dir(pypcap) if name.startswith(("DLT_", "PCAP_"))
    }
    both(lambda module: module.lookupnet(b"lo"))
    assert set(ours.findalldevs()) <= set(pypcap.findalldevs())
    frame = ethernet(udp4(b"x"))
    both(lambda module: [module.bpf(text, dlt=1).filter(frame) for text in (b"udp", b"tcp", b"less 20", b"")])


@pytest.fixture
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


@pytest.mark.live
def test_live_the_same_packets_and_statistics(ns: Netns) -> None:
    frames = [ethernet(udp4(bytes([i]) * 100, dport=100 + i % 2)) for i in range(200)]
    with ns.entered():
        captures = [module.pcap(ns.left, timeout_ms=200, promisc=True) for module in MODULES]
    for capture in captures:
        capture.setfilter("udp dst port 101")
    ns.send(ns.right, frames)
    found: list[list[bytes]] = []
    for capture in captures:
        mine: list[bytes] = []
        while len(mine) < 100:
            mine += [octets for _, octets in capture.readpkts()]
        found.append(mine)
        with ns.entered():
            assert capture.sendpacket(frames[0]) == len(frames[0])
    assert found[0] == found[1] == frames[1::2]
    statistics = [capture.stats() for capture in captures]
    assert all(dropped == 0 for _, dropped, _ in statistics)
    assert statistics[0][0] == 100
    for capture in captures:
        capture.setnonblock(True)
        assert capture.getnonblock()
        assert capture.dispatch(0, print) == 0
        capture.close()


@pytest.mark.live
def test_a_timeout_gives_none(ns: Netns) -> None:
    """As pypcap promises; on Linux's packet rings the system's libpcap waits on, and so does pypcap."""
    with ns.entered():
        capture = ours.pcap(ns.left, timeout_ms=50)
    assert next(capture) is None
    ns.send(ns.right, [ethernet(udp4(b"x"))])
    found: list[Any] = []
    while not any(found):
        found.append(next(capture))
    assert found[-1][1] == ethernet(udp4(b"x"))
    capture.close()
