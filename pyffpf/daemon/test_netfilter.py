# SPDX-License-Identifier: BSD-3-Clause
"""Sources in netfilter: what unmodified tools see there, and the lanes of contexts that interrupt one another."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compat_tests import pcapfile
from compat_tests.netns import Netns, wait_until
from fpl.classify import bpf, layout
from pyffpf.cli.control import ControlError
from pyffpf.daemon import netfilter, pages
from pyffpf.daemon.engine import ACCEPT_ALL
from pyffpf.daemon.kernel_capture import KernelSource
from pyffpf.daemon.kernel_engine import KernelEngine
from pyffpf.daemon.protocol import Code, RefusedError
from pyffpf.daemon.status import FlowStatus
from pyffpf.daemon.survival import Ffpfd, bpf_objects, exists, wait_listening

HOME = "127.0.0.1"
PORT = 4711
NUMBER = struct.Struct(">I")
CONFIG = 'netfilter = true\n[buffers]\nbytes = "64 MiB"\n'  # behind the keys of [daemon]
FILLER = bytes(range(256)) * 256


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with Netns() as made:
        made.run(["sysctl", "-q", "-w", "net.ipv6.conf.lo.disable_ipv6=0"])
        yield made


@pytest.fixture
def ffpfd(ns: Netns, tmp_path: Path) -> Iterator[Ffpfd]:
    """When it has ended nothing of it is left in the kernel."""
    made = Ffpfd(ns, tmp_path, CONFIG)
    made.start()
    made.wait_ready()
    yield made
    held = bpf_objects(made.pid)
    made.stop()
    wait_until(lambda: not any(exists(*one) for one in held), "everything to go", 20)


class Tcpdump:
    """An unmodified one; engine None: the system's own."""

    def __init__(self, ffpfd: Ffpfd, folder: Path, device: str, *more: str, engine: str | None = "shared") -> None:
        self.name = f"dump{len(list(folder.glob('*.err')))}"
        self.file, self.stats = folder / f"{self.name}.pcap", folder / f"{self.name}.stats"
        environ = {**os.environ, "FFPF_SOCKET": str(ffpfd.socket), "FFPF_STATS": str(self.stats)}
        command = ["tcpdump", "-i", device, "-U", "-w", str(self.file), "-Z", "root", *more]
        if engine:
            command = [sys.executable, "-m", "pyffpf.cli.run", "--engine", engine, *command]
        with (folder / f"{self.name}.err").open("wb") as errors:
            self.process = ffpfd.ns.popen(command, stdin=subprocess.DEVNULL, stderr=errors, env=environ)
        wait_listening(folder, self.name)

    def packets(self) -> list[bytes]:
        return [record.data for record in pcapfile.records(self.file.read_bytes())]

    def wait(self, count: int) -> list[bytes]:
        wait_until(lambda: len(self.packets()) >= count, f"{count} packets of {self.name}", 20)
        return self.packets()

    def end(self) -> list[bytes]:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(20) == 0
        return self.packets()

    @property
    def link_type(self) -> int:
        return int(struct.unpack_from("<I", self.file.read_bytes(), 20)[0])


def checksum(octets: bytes) -> int:
    """RFC 1071, as a number in network order; 0 over octets that have theirs in them."""
    words: tuple[int, ...] = struct.unpack(f">{len(octets) // 2}H", octets[: len(octets) & ~1])
    total = sum(words) + (octets[-1] << 8 if len(octets) & 1 else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def echo(number: int, size: int = 8) -> bytes:
    body = NUMBER.pack(number) + FILLER[number % 251 :][:size]
    head = struct.pack(">BBHHH", 8, 0, 0, 77, number & 0xFFFF)
    return struct.pack(">BBHHH", 8, 0, checksum(head + body), 77, number & 0xFFFF) + body


def datagram(number: int, size: int = 8) -> bytes:
    return NUMBER.pack(number) + FILLER[number % 251 :][:size]


def ping(ns: Netns, numbers: range, size: int = 8) -> None:
    with ns.entered(), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        for number in numbers:
            raw.sendto(echo(number, size), (HOME, 0))


@contextlib.contextmanager
def listening(ns: Netns, family: int = socket.AF_INET) -> Iterator[socket.socket]:
    """A socket whose peer is itself: what it sends nobody answers."""
    with ns.entered():
        own = socket.socket(family, socket.SOCK_DGRAM)
    with own:
        own.bind((HOME if family == socket.AF_INET else "::1", PORT))
        own.connect(own.getsockname())
        yield own


def send_udp(ns: Netns, numbers: range, size: int = 8, family: int = socket.AF_INET) -> None:
    with listening(ns, family) as own:
        for number in numbers:
            own.send(datagram(number, size))


def kinds(packets: list[bytes]) -> Counter[str]:
    """icmp8 and icmp0 (echo, its reply), udp, tcp; udp6."""
    found: Counter[str] = Counter()
    for packet in packets:
        if packet[0] >> 4 == 6:
            found[{17: "udp6", 58: "icmp6"}.get(packet[6], "?")] += 1
        else:
            kind = {1: f"icmp{packet[20]}", 6: "tcp", 17: "udp"}.get(packet[9], "?")
            found[kind] += 1
    return found


def obeys_the_law(flow: FlowStatus) -> bool:
    return flow.seen == flow.filtered + flow.delivered + flow.waiting + sum(flow.dropped.values())


# ---- names ----


def test_a_place_has_one_name() -> None:
    assert netfilter.resolve("netfilter:input,inet") == netfilter.resolve("netfilter:input")
    assert netfilter.resolve("netfilter:input,ip").name == "netfilter:input,ip"
    spots = [netfilter.spot(netfilter.resolve(f"netfilter:{name}")) for name in ("prerouting", "postrouting,ip6")]
    assert [(spot.hook, spot.family.link_type) for spot in spots] == [(0, 12), (4, 229)]


@pytest.mark.parametrize("name", ["netfilter:", "netfilter:lo", "netfilter:input,", "netfilter:input,arp",
                                  "netfilter:input,ip,ip6", "netfilter:INPUT"])  # fmt: skip
def test_what_is_no_place(name: str) -> None:
    with pytest.raises(RefusedError) as refused:
        netfilter.resolve(name)
    assert refused.value.code == Code.NO_SUCH_DEVICE
    assert "prerouting, input" in refused.value.text


# ---- unmodified tools ----


def test_each_place_shows_its_packets(ffpfd: Ffpfd, ns: Netns, tmp_path: Path) -> None:
    places = ("prerouting", "input", "output")
    dumps = [Tcpdump(ffpfd, tmp_path, f"netfilter:{place}") for place in places]
    only = Tcpdump(ffpfd, tmp_path, "netfilter:input", "icmp")
    four, six = (Tcpdump(ffpfd, tmp_path, f"netfilter:output,{family}") for family in ("ip", "ip6"))
    ways = {
        (place, way): Tcpdump(ffpfd, tmp_path, f"netfilter:{place}", "-Q", way, "udp")
        for place in ("input", "output")
        for way in ("in", "out")
    }
    ping(ns, range(5))
    send_udp(ns, range(7))
    send_udp(ns, range(3), family=socket.AF_INET6)
    for dump in dumps:
        assert kinds(dump.wait(20)) == {"icmp8": 5, "icmp0": 5, "udp": 7, "udp6": 3}
        assert dump.link_type == 101  # LINKTYPE_RAW
    assert [kinds(dump.wait(count)) for dump, count in ((four, 17), (six, 3), (only, 10))] == [
        {"icmp8": 5, "icmp0": 5, "udp": 7}, {"udp6": 3}, {"icmp8": 5, "icmp0": 5}]  # fmt: skip
    assert (four.link_type, six.link_type) == (228, 229)
    for place, way in (("input", "in"), ("output", "out")):
        ways[place, way].wait(10)
    sources = {source.name: source for source in ffpfd.status().sources}
    assert {source.kind for source in sources.values()} == {"netfilter"}
    assert set(sources) == {*(f"netfilter:{place}" for place in places), "netfilter:output,ip", "netfilter:output,ip6"}
    assert all(obeys_the_law(flow) for flow in ffpfd.status().flows)
    assert {key: len(dump.end()) for key, dump in ways.items()} == {
        ("input", "in"): 10, ("input", "out"): 0, ("output", "in"): 0, ("output", "out"): 10}  # fmt: skip
    for dump in (*dumps, four, six, only):
        dump.end()
        assert "engine=shared" in dump.stats.read_text()


def test_what_is_forwarded(ffpfd: Ffpfd, ns: Netns, tmp_path: Path) -> None:
    for scope in ("all", ns.left):
        ns.run(["sysctl", "-q", "-w", f"net.ipv4.conf.{scope}.rp_filter=0"])
    ns.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
    ns.ip("neigh", "replace", "10.0.0.77", "lladdr", "02:00:00:00:00:77", "dev", ns.left)
    ns.ip("route", "replace", "10.9.0.0/24", "via", "10.0.0.77", "dev", ns.left)
    forward = Tcpdump(ffpfd, tmp_path, "netfilter:forward", "-Q", "in", "udp")
    behind = Tcpdump(ffpfd, tmp_path, "netfilter:postrouting", "-Q", "out", "udp")
    body = struct.pack(">HHHH", 5, 9, 16, 0) + b"forwards"
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 36, 1, 0, 9, 17, 0, bytes([10, 0, 0, 50]), bytes([10, 9, 0, 1]))
    head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    ns.send(ns.right, [ns.mac(ns.left) + b"\x02" + bytes(5) + b"\x08\x00" + head + body])
    (packet,) = forward.wait(1)
    assert (packet[:8], packet[8], packet[12:]) == (head[:8], 8, head[12:] + body)  # one hop less
    assert behind.wait(1) == [packet]
    assert len(forward.end()) == len(behind.end()) == 1


def test_the_same_packets_as_stock_tcpdump_on_the_loopback_interface(ffpfd: Ffpfd, ns: Netns, tmp_path: Path) -> None:
    ours = Tcpdump(ffpfd, tmp_path, "netfilter:output")
    stock = Tcpdump(ffpfd, tmp_path, "lo", "-B", "65536", engine=None)  # KiB: whole bursts
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    for number in range(60):
        send_udp(ns, range(number, number + 1), chance.randrange(60000))
        ping(ns, range(number, number + 1), chance.randrange(30000))
    send_udp(ns, range(20), 1000, socket.AF_INET6)
    with (
        ns.entered(),
        socket.create_server((HOME, 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        server.accept()[0] as accepted,
    ):
        for _ in range(20):
            client.sendall(FILLER[: chance.randrange(50000)])
            accepted.recv(1 << 20)
    last = range(999, 1000)
    send_udp(ns, last)
    for dump in (ours, stock):
        wait_until(
            lambda dump=dump: dump.packets()[-1:] and dump.packets()[-1].endswith(datagram(last[0])),
            "the last packet",
            20,
        )
    mine, theirs = ours.end(), [packet[14:] for packet in stock.end()]
    for dump in (ours, stock):
        assert "\n0 packets dropped by kernel" in (tmp_path / f"{dump.name}.err").read_text()
    assert set(kinds(mine)) == {"udp", "udp6", "icmp8", "icmp0", "tcp"}
    assert sorted(mine) == sorted(theirs)


def test_filters_that_stay_code(ffpfd: Ffpfd, ns: Netns, tmp_path: Path) -> None:
    """In a chain of programs, each for one remainder, beside one that is a table."""
    dumps = [Tcpdump(ffpfd, tmp_path, "netfilter:output", f"udp and udp[8:4] % 5 = {rest}") for rest in range(3)]
    every = Tcpdump(ffpfd, tmp_path, "netfilter:output", "udp")
    assert [flow.kind for flow in ffpfd.status().flows] == ["code", "code", "code", "table"]
    send_udp(ns, range(100))
    assert len(every.wait(100)) == 100
    for rest, dump in enumerate(dumps):
        assert [NUMBER.unpack_from(packet, 28)[0] for packet in dump.wait(20)] == list(range(rest, 100, 5))
    assert all(obeys_the_law(flow) for flow in ffpfd.status().flows)
    assert [len(dump.end()) for dump in (*dumps, every)] == [20, 20, 20, 100]


def test_a_killed_ffpfd_leaves_it_running(ffpfd: Ffpfd, ns: Netns, tmp_path: Path) -> None:
    dump = Tcpdump(ffpfd, tmp_path, "netfilter:output", "udp")
    send_udp(ns, range(100))
    ffpfd.kill()
    send_udp(ns, range(100, 200))
    ffpfd.start()
    send_udp(ns, range(200, 300))
    ffpfd.wait_ready(adoptions=1)
    send_udp(ns, range(300, 400))
    assert [NUMBER.unpack_from(packet, 28)[0] for packet in dump.wait(400)] == list(range(400))
    (flow,) = ffpfd.status().flows
    assert (flow.seen, flow.delivered) == (400, 400)
    other = Tcpdump(ffpfd, tmp_path, "netfilter:output,inet", "icmp")
    ping(ns, range(10))
    assert kinds(other.wait(20)) == {"icmp8": 10, "icmp0": 10}
    assert len(ffpfd.status().sources) == 1
    assert kinds(dump.end()) == {"udp": 400}
    other.end()


def test_refused_without_the_right_to_it(ns: Netns, tmp_path: Path) -> None:
    ffpfd = Ffpfd(ns, tmp_path)  # does not keep CAP_NET_ADMIN: as on a kernel that has no such programs
    ffpfd.start()
    ffpfd.wait_ready()
    with ffpfd.connect() as tool:
        with pytest.raises(ControlError) as refused:
            tool.ask("open", source="netfilter:input")
        assert refused.value.code == "not-supported"
        assert "CAP_NET_ADMIN" in str(refused.value) and "Linux 6.4" in str(refused.value)
        with tool.open("lo") as opened:
            assert opened["link_type"] == 1
    ffpfd.stop()


# ---- contexts ----


class Contexts:
    """A source of this process on the output of a namespace, with one flow that gets everything."""

    def __init__(self, ns: Netns) -> None:
        self.engine = KernelEngine()
        with ns.entered():
            self.source: KernelSource = self.engine.open_source(self.engine.resolve("netfilter:output"), 1 << 22)
        self.source.open_group(0, "srp")
        self.source.open_flow(0, 0, 1 << 16, 262144)
        self.source.place(0, ACCEPT_ALL)
        self.source.activate(0, 0, 1)
        self.lanes = self.source.facts.lanes

    def own(self, lane: int, owner: int) -> None:
        """As if a context had taken the lane's scratch."""
        fd = self.source._fds["scratch"]
        value = bytearray(bpf.map_lookup(fd, lane, layout.SCRATCH_BYTES))
        struct.pack_into("=Q", value, layout.SCRATCH_OWNER, owner)
        bpf.map_update(fd, lane, bytes(value))

    def owners(self) -> list[int]:
        fd, at = self.source._fds["scratch"], layout.SCRATCH_OWNER
        return [struct.unpack_from("=Q", bpf.map_lookup(fd, lane, layout.SCRATCH_BYTES), at)[0]
                for lane in range(self.lanes)]  # fmt: skip

    def stored(self) -> tuple[int, int]:
        """Packets in the first lanes of CPUs, and in the second ones."""
        counted = [lane.w - lane.first for lane in self.source.flow_counts(0).lanes]
        return sum(counted[::2]), sum(counted[1::2])

    def close(self) -> None:
        self.source.activate(0, None, 0)
        self.source.close_flow(0)
        self.source.close_group(0)
        self.source.close()
        self.engine.close()


@pytest.fixture
def contexts(ns: Netns) -> Iterator[Contexts]:
    made = Contexts(ns)
    yield made
    made.close()


def test_who_comes_between_has_the_second_lane_and_a_third_is_a_counted_drop(ns: Netns, contexts: Contexts) -> None:
    assert contexts.lanes % 2 == 0
    send_udp(ns, range(10))
    assert contexts.stored() == (10, 0)
    for lane in range(0, contexts.lanes, 2):
        contexts.own(lane, 1)
    send_udp(ns, range(7))
    assert contexts.stored() == (10, 7)
    for lane in range(1, contexts.lanes, 2):
        contexts.own(lane, 1)
    send_udp(ns, range(5))
    assert contexts.stored() == (10, 7)
    counted = contexts.source.flow_counts(0)
    assert (counted.seen, counted.dropped["nested"], counted.filtered) == (22, 5, 0)
    for lane in range(contexts.lanes):
        assert contexts.owners()[lane] == 1
        contexts.own(lane, 0)
    send_udp(ns, range(3))
    assert contexts.stored() == (13, 7)
    assert contexts.owners() == [0] * contexts.lanes


def test_a_missing_program_lets_packets_pass_and_frees_the_lane(ns: Netns, contexts: Contexts) -> None:
    """Behind a tail call that finds nothing: the packet goes its way all the same, and the lane is free."""
    bpf.map_delete(contexts.source._fds["progs"], layout.SLOT_STORE)
    with listening(ns) as own:
        own.settimeout(10)
        own.send(datagram(5))
        assert own.recv(100) == datagram(5)
    assert contexts.owners() == [0] * contexts.lanes
    fd = contexts.source._fds["scratch"]
    values = [bpf.map_lookup(fd, lane, layout.SCRATCH_BYTES) for lane in range(contexts.lanes)]
    assert sum(struct.unpack_from("=Q", value, layout.SCRATCH_LOST)[0] for value in values) == 1


def is_whole(packet: bytes) -> bool:
    """What was sent, as it was sent, with its own number."""
    length = struct.unpack_from(">H", packet, 2)[0]
    body = packet[28:]
    number = NUMBER.unpack_from(body)[0]
    same = body == datagram(number, len(body) - NUMBER.size)
    return same and length == len(packet) and (packet[9] == 17 or checksum(packet[20:]) == 0)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one CPU steers no packets to another")
def test_both_contexts_under_load(ffpfd: Ffpfd, ns: Netns, tmp_path: Path) -> None:
    """A task sends from the last CPU, and there too echoes of another CPU's are answered, which interrupts it."""
    busy = (os.cpu_count() or 1) - 1
    ns.run(["sh", "-c", f"echo {1 << busy:x} > /sys/class/net/lo/queues/rx-0/rps_cpus"])
    dump = Tcpdump(ffpfd, tmp_path, "netfilter:output", "icmp[0] = 0 or udp")
    end, sent = threading.Event(), Counter[str]()

    def run(what: str, cpu: int) -> None:
        os.sched_setaffinity(0, {cpu})
        with contextlib.ExitStack() as stack:
            with ns.entered():
                raw = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
            udp = stack.enter_context(listening(ns)) if what == "udp" else None
            while not end.is_set():
                if udp is not None:
                    udp.send(datagram(sent[what], 8000))
                else:
                    raw.sendto(echo(sent[what], 3000), (HOME, 0))
                sent[what] += 1

    with ffpfd.connect() as tool, tool.open("netfilter:output") as opened:
        counts, lanes = os.dup(opened.fds["counts"]), int(opened["lanes"])

    def in_second_lanes() -> int:
        return sum(lane.packets for lane in pages.traffic(counts, lanes)[1::2])

    threads = [threading.Thread(target=run, args=args) for args in (("udp", busy), ("echo", 0))]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: in_second_lanes() > 5, "packets within packets", 30)
    finally:
        os.close(counts)
        end.set()
        for thread in threads:
            thread.join()
    flow = settled(ffpfd)
    packets = dump.end()
    assert obeys_the_law(flow)
    assert flow.seen >= sent["udp"] + sent["echo"]
    assert len(packets) == flow.delivered
    assert set(kinds(packets)) == {"udp", "icmp0"}
    odd = [packet[:60] for packet in packets if not is_whole(packet)]
    assert not odd, f"{len(odd)} of {len(packets)} are torn: {odd[:3]}"


def settled(ffpfd: Ffpfd) -> Any:
    """The only flow, when all that came was read."""
    found: list[FlowStatus] = []

    def is_read() -> bool:
        found[:] = ffpfd.status().flows
        return found[0].waiting == 0

    wait_until(is_read, "all to be read", 30)
    return found[0]
