# SPDX-License-Identifier: BSD-3-Clause
"""An ffpfd that the kernel refuses eBPF: it captures by TPACKET into userspace lanes, and its clients get what the
embedded engine gives."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compat_tests import capture_packets as packets
from compat_tests.harness import library_path, published
from compat_tests.netns import Netns, receivers, wait_until
from fpl.classify import ClassifyRefused, Compiler
from pyffpf.cli.control import ControlError
from pyffpf.daemon.engine import EngineError
from pyffpf.daemon.kernel_engine import KernelEngine
from pyffpf.daemon.testing import Tool

CONFIG = '[daemon]\nuser = ""\nholder = "none"\n[[allow]]\nusers = ["*"]\n'
LAST = b"the last one".ljust(50)


class Ffpfd:
    """Without CAP_BPF and CAP_SYS_ADMIN: bpf(2) is refused."""

    def __init__(self, ns: Netns, folder: Path) -> None:
        self.ns = ns
        self.path = folder / "ffpfd.sock"
        self._log = folder / "ffpfd.log"
        config = folder / "ffpfd.toml"
        config.write_text(CONFIG)
        capabilities = ["setpriv", "--bounding-set=-bpf,-sys_admin,-perfmon", "--inh-caps=-bpf,-sys_admin,-perfmon"]
        command = [sys.executable, "-m", "pyffpf.cli.ffpfd", "--socket", str(self.path), "--config", str(config)]
        with self._log.open("wb") as log:
            self.process = ns.popen([*capabilities, *command], stderr=log)
        wait_until(self._answers, "ffpfd")

    def _answers(self) -> bool:
        with contextlib.suppress(ControlError):
            self.connect().close()
            return True
        assert self.process.poll() is None, self.said()
        return False

    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def connect(self) -> Tool:
        with self.ns.entered():
            return Tool(self.path, "test")


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with Netns() as made:
        wait_until(lambda: made.is_up(made.left) and made.is_up(made.right), "the veth pair")
        yield made


@pytest.fixture(scope="module")
def ffpfd(ns: Netns) -> Iterator[Ffpfd]:
    folder = Path(tempfile.mkdtemp())
    try:
        made = Ffpfd(ns, folder)
        yield made
        made.process.send_signal(signal.SIGTERM)
        assert made.process.wait(20) == 0, made.said()
    finally:
        shutil.rmtree(folder)


class Capture:
    """A tcpdump -w of one engine, until the last frame has come."""

    def __init__(self, ffpfd: Ffpfd, engine: str, device: str, folder: Path, words: str) -> None:
        self.output = folder / f"{engine}.pcap"
        self._stats = folder / f"{engine}.stats"
        environ = {
            **os.environ,
            "LD_PRELOAD": str(published(library_path())),
            "FFPF_ENGINE": engine,
            "FFPF_SOCKET": str(ffpfd.path),
            "FFPF_STATS": str(self._stats),
        }
        expression = f"ether proto 0x88b6 or ({words})" if words else ""  # behind "vlan" it would lie elsewhere
        command = ["tcpdump", "-Z", "root", "-U", "-i", device, "-w", str(self.output), expression]
        self.process: subprocess.Popen[Any] = ffpfd.ns.popen(command, env=environ, stderr=subprocess.PIPE)
        assert self.process.stderr is not None
        while b"listening on" not in (line := self.process.stderr.readline()):
            assert line, "tcpdump ended"

    def packets(self) -> list[bytes]:
        """Lengths and octets of each."""
        wait_until(lambda: LAST in self.output.read_bytes(), "the last frame")
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(20) == 0
        assert f"engine={self.output.stem}" in self._stats.read_text()
        data, at, found = self.output.read_bytes(), 24, []
        while at < len(data):
            end = at + 16 + int.from_bytes(data[at + 8 : at + 12], "little")
            found.append(data[at + 8 : end])
            at = end
        return found


def traffic(tags: bool = True) -> list[bytes]:
    """tags: with VLAN tags. What this machine sends with a tag among its octets, as these are sent, TPACKET describes
    on `any` as if the tag had been taken out, and so do userspace lanes; a filter on a socket sees it otherwise."""
    frames = []
    for number in range(300):
        payload = number.to_bytes(2, "big") * (1 + number * 7 % 600)
        frame = packets.ethernet(
            packets.udp4(payload, f"192.0.2.{1 + number % 5}", "198.18.0.1", 1024, 53 + number % 3)
        )
        frames.append(
            packets.tagged(frame, [(packets.ETH_VLAN, 100 + number % 3)]) if tags and number % 4 == 0 else frame
        )
        if number % 5 == 0:
            frames.append(packets.arp("192.0.2.1", "192.0.2.2"))
        if tags and number % 10 == 0:
            frames.append(packets.tagged(frame, [(packets.ETH_QINQ, 100), (packets.ETH_VLAN, 7)]))
    return frames


WORDS = ("", "vlan", "vlan 101", "udp port 53", "ip host 192.0.2.3", "vlan and udp port 54", "not ip")


@pytest.mark.parametrize(
    ("device", "words"),
    [("veth", words) for words in WORDS] + [("any", words) for words in WORDS if "vlan" not in words],
)
def test_shared_captures_what_embedded_does(ns: Netns, ffpfd: Ffpfd, tmp_path: Path, device: str, words: str) -> None:
    name = ns.left if device == "veth" else "any"
    captures = [Capture(ffpfd, engine, name, tmp_path, words) for engine in ("embedded", "shared")]
    with ffpfd.connect() as tool:
        (source,) = tool.status().sources
        assert (source.kind, source.form) == ("tpacket", "")
        assert source.reason and f"not in the kernel, but by TPACKET: {source.reason}" in ffpfd.said()
    ns.send(ns.right, traffic(device != "any"))
    ns.send(ns.left, traffic(device != "any")[:50])
    ns.send(ns.right, [b"\xff" * 12 + b"\x88\xb6" + LAST])
    embedded, shared = (capture.packets() for capture in captures)
    assert len(embedded) > 10
    assert shared == embedded


def test_all_readers_have_one_socket_and_it_goes_with_the_last(ns: Netns, ffpfd: Ffpfd, tmp_path: Path) -> None:
    ns.sender(ns.right)
    with ffpfd.connect() as tool:
        wait_until(lambda: not tool.status().sources, "the end of captures before this one")
        replies = [tool.open(ns.left, promisc=True) for _ in range(4)]
        assert all(reply["wake_kind"] == "timerfd" for reply in replies)
        ns.send(ns.right, traffic())
        wait_until(lambda: all(flow.seen >= len(traffic()) for flow in tool.status().flows), "all packets")
        for flow in tool.status().flows:
            assert flow.seen == flow.filtered + flow.delivered + flow.waiting + sum(flow.dropped.values())
        with_all = receivers(ns.name)  # those of captures before this one are gone by now
        for reply in replies:
            assert receivers(ns.name) == with_all
            tool.do("close", flow=reply["flow"])
            reply.close()
        wait_until(lambda: receivers(ns.name) == with_all - 1, "the end of the one socket")
        assert "by TPACKET" in ffpfd.said()


def test_an_interface_that_goes_ends_its_captures(ns: Netns, ffpfd: Ffpfd, tmp_path: Path) -> None:
    ns.add_veth("goes", "too")
    capture = Capture(ffpfd, "shared", "goes", tmp_path, "")
    ns.ip("link", "del", "goes")
    assert capture.process.wait(20) == 1
    assert capture.process.stderr is not None
    assert b"interface disappeared" in capture.process.stderr.read()


def test_without_a_compiler_the_kernel_is_not_used(ns: Netns, monkeypatch: pytest.MonkeyPatch) -> None:
    """EngineError is what Sources falls back for."""

    def compile_nothing(compiler: Compiler, text: str, *_: object) -> bytes:
        raise ClassifyRefused("no LLVM")

    before = receivers(ns.name)
    engine = KernelEngine()
    with contextlib.closing(engine), ns.entered():
        monkeypatch.setattr(Compiler, "compile", compile_nothing)
        with pytest.raises(EngineError, match="no classify program: no LLVM"):
            engine.open_source(engine.resolve(ns.left), 1 << 20)
    assert receivers(ns.name) <= before  # what an ended ffpfd of the test before had may have gone meanwhile
