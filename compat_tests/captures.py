# SPDX-License-Identifier: BSD-3-Clause
"""Test captures that the project makes itself, the same octets for the same seed.

`python -m compat_tests.captures OUTDIR` writes every family; `--imix COUNT FILE` writes the mixed capture for benches.
From Python: `families()` names and makes them, `write_families(directory)` writes them, `write_imix(path, count)`.
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from compat_tests import capture_files as files
from compat_tests import capture_packets as packets
from compat_tests.capture_files import PcapFormat, PcapngFile, Record, enhanced, interface, section, stamped
from compat_tests.capture_imix import HOST_PAIR, HUNDRED_HOSTS, write_imix
from compat_tests.capture_packets import ETH_QINQ, ETH_QINQ_OLD, ETH_VLAN, ethernet, tagged, tcp4, tcp6, udp4

__all__ = ["HOST_PAIR", "HUNDRED_HOSTS", "families", "write_families", "write_imix"]

Maker = Callable[[random.Random], bytes]

MICROSECONDS = 1_700_000_000_000_000


def mixed(rng: random.Random, count: int = 40) -> list[bytes]:
    """Ethernet frames of many kinds and sizes."""
    frames = []
    for _ in range(count):
        payload = rng.randbytes(rng.choice([0, 6, 100, 512, 1400]))
        server = f"192.0.2.{rng.randrange(1, 20)}"
        client = f"{rng.choice(['10.0.0', '198.18.0'])}.{rng.randrange(1, 20)}"
        port = rng.randrange(1024, 65535)
        flags = rng.choice([packets.SYN, packets.ACK, packets.ACK | packets.PSH, packets.FIN | packets.ACK])
        choices = [
            ethernet(tcp4(payload, client, server, port, rng.choice([80, 443, 22]), flags)),
            ethernet(udp4(payload, client, server, port, rng.choice([53, 123]))),
            ethernet(tcp6(payload), packets.ETH_IP6),
            packets.arp(client, "10.0.0.254"),
        ]
        frames.append(rng.choice(choices))
    return frames


def pcap_variant(layout: PcapFormat) -> Maker:
    units = 1_000_000_000 if layout.magic == files.MAGIC_NS else 1_000_000
    return lambda rng: layout.file(stamped(mixed(rng), units=units))


def ether(build: Callable[[random.Random], list[bytes]]) -> Maker:
    return lambda rng: PcapFormat().file(stamped(build(rng)))


def linked(link_type: int, wrap: Callable[[bytes], bytes]) -> Maker:
    """IP packets behind a link header of their own."""

    def make(rng: random.Random) -> bytes:
        inner = [tcp4(rng.randbytes(rng.randrange(200))) for _ in range(10)] + [udp4(b"query") for _ in range(5)]
        return PcapFormat(link_type=link_type).file(stamped([wrap(packet) for packet in inner]))

    return make


def jumbo(rng: random.Random) -> list[bytes]:
    return [ethernet(tcp4(rng.randbytes(size))) for size in (8000, 8946, 9000, 1460, 8946)]


def gro(rng: random.Random) -> list[bytes]:
    """What the kernel makes of many segments: up to 64 KB, and a few small ones between."""
    sizes = (65481, 1, 40000, 65000, 0, 32768, 65481)
    return [ethernet(tcp4(rng.randbytes(size))) for size in sizes]


def fragmented(rng: random.Random) -> list[bytes]:
    whole = tcp4(rng.randbytes(4000))
    small = udp4(rng.randbytes(100))
    return [ethernet(piece) for piece in packets.fragments(whole, 1480) + packets.fragments(small, 8)]


def vlan(rng: random.Random) -> list[bytes]:
    return [tagged(frame, [(ETH_VLAN, rng.randrange(1, 4095) | rng.randrange(8) << 13)]) for frame in mixed(rng, 15)]


def qinq(rng: random.Random) -> list[bytes]:
    outer = [ETH_QINQ, ETH_QINQ_OLD, ETH_VLAN]
    return [tagged(frame, [(outer[i % 3], 100 + i), (ETH_VLAN, 7)]) for i, frame in enumerate(mixed(rng, 15))]


def snapped(rng: random.Random, snap_len: int = 96) -> bytes:
    """Cut at the snapshot length, as tcpdump -s does."""
    records = [
        Record(record.data[:snap_len], len(record.data), record.seconds, record.fraction)
        for record in stamped(mixed(rng))
    ]
    return PcapFormat(snap_len=snap_len).file(records)


def lying_snap_len(rng: random.Random) -> bytes:
    """Records longer than the header's snapshot length."""
    return PcapFormat(snap_len=68).file(stamped(mixed(rng)))


def empty_packets(rng: random.Random) -> bytes:
    records = [Record(b"", wire_len=rng.randrange(2000)), *stamped(mixed(rng, 3)), Record(b"", wire_len=0)]
    return PcapFormat().file(records)


def odd_times(rng: random.Random) -> bytes:
    """Fractions beyond a second, negative seconds, the last second of 32 bits."""
    frame = mixed(rng, 1)[0]
    times = [(0, 0), (-1, 5), (0x7FFFFFFF, 999_999), (0x80000000, 1), (5, 1_000_000), (6, 0x7FFFFFFF), (7, 0xFFFFFFFF)]
    return PcapFormat().file(Record(frame, seconds=sec, fraction=frac) for sec, frac in times)


def truncated_at(cut: int) -> Maker:
    return lambda rng: PcapFormat().file(stamped(mixed(rng, 10)))[:-cut]


def in_order(order: str) -> Maker:
    """A pcapng file with every kind of block, two interfaces and two sections."""

    def make(rng: random.Random) -> bytes:
        frames = mixed(rng, 20)
        comment = files.option(order, 1, b"a comment") + files.option(order, 0, b"")
        name = files.option(order, 2, b"eth0")
        out = PcapngFile(order).add(section(order, options=comment), interface(order, extra=name), interface(order))
        out.add(files.block(order, files.BLOCK_NAMES, b"\1\0\5\0" + b"\x7f\0\0\1a\0\0\0"))
        for i, frame in enumerate(frames):
            options = comment if i % 3 else b""
            out.add(enhanced(order, frame, MICROSECONDS + i * 999_983, interface_id=i % 2, options=options))
        out.add(files.block(order, files.BLOCK_STATISTICS, bytes(12)), files.block(order, 0x0BAD, rng.randbytes(40)))
        out.add(*(files.simple(order, frame) for frame in frames[:3]))
        out.add(*(files.obsolete(order, frame, MICROSECONDS) for frame in frames[:3]))
        out.add(section(order), interface(order)).packets(frames[:5])
        return out.bytes()

    return make


def resolutions(order: str) -> Maker:
    """One interface a resolution: powers of 10 and of 2, with and without an offset."""

    def make(rng: random.Random) -> bytes:
        octets = [0, 1, 3, 6, 7, 9, 12, 19, 0x80, 0x81, 0x8A, 0x94, 0xA0, 0xBF]
        out = PcapngFile(order).add(section(order))
        for octet in octets:
            out.add(interface(order, resolution=octet, offset=rng.choice([None, 0, 3600, -1, 1_600_000_000])))
        for i, octet in enumerate(octets):
            ticks = 2 ** (octet & 0x7F) if octet & 0x80 else 10**octet
            for seconds in (0, 1, 1_000_000):
                value = seconds * ticks + rng.randrange(ticks)
                out.add(enhanced(order, mixed(rng, 1)[0], value, interface_id=i))
        return out.bytes()

    return make


def simple_snapped(rng: random.Random) -> bytes:
    frames = mixed(rng, 8)
    out = PcapngFile().add(section(), interface(snap_len=64, offset=1_700_000_000))
    out.add(*(files.simple("<", frame[:64], wire_len=len(frame)) for frame in frames))
    return out.bytes()


def large_blocks(rng: random.Random) -> bytes:
    """Blocks larger than any sensible window: a megabyte of names, and packets of the largest size after it."""
    out = PcapngFile().add(section(), interface())
    out.add(files.block("<", files.BLOCK_NAMES, rng.randbytes(1_200_000)))
    return out.packets([rng.randbytes(262_144), *mixed(rng, 5), rng.randbytes(262_140)]).bytes()


def can_frames(wrap: Callable[..., bytes]) -> Maker:
    """SocketCAN behind a cooked header, in a file of the other byte order."""
    frame = struct.pack(">I", 0x80000123) + bytes([8, 0, 0, 0]) + b"can data"
    data = [wrap(frame, 0x000C, hatype=280), wrap(frame, 0x000D, hatype=280), wrap(tcp4(b"ip"))]
    kind = files.LINKTYPE_LINUX_SLL if wrap is packets.sll else files.LINKTYPE_LINUX_SLL2
    return lambda _rng: PcapFormat(order=">", link_type=kind).file(stamped(data))


def families() -> dict[str, Maker]:
    """Name of the file to what makes its octets from a generator of random numbers."""
    made: dict[str, Maker] = {}
    for order, name in (("<", "little"), (">", "big")):
        for magic, kind in ((files.MAGIC_US, "us"), (files.MAGIC_NS, "ns"), (files.MAGIC_KUZNETZOV, "kuznetzov")):
            made[f"pcap-{kind}-{name}.pcap"] = pcap_variant(PcapFormat(order=order, magic=magic))
        for version in ((2, 0), (2, 2), (2, 3), (543, 0)):
            made[f"pcap-{version[0]}.{version[1]}-{name}.pcap"] = pcap_variant(PcapFormat(order=order, version=version))
        made[f"pcapng-{name}.pcapng"] = in_order(order)
        made[f"pcapng-resolutions-{name}.pcapng"] = resolutions(order)
    made["pcap-fcs.pcap"] = pcap_variant(PcapFormat(link_type=1 | 0x14000000))
    made["pcap-snaplen-0.pcap"] = pcap_variant(PcapFormat(snap_len=0))
    made["pcapng-simple.pcapng"] = simple_snapped
    made["pcapng-large-blocks.pcapng"] = large_blocks
    builders = (mixed, jumbo, gro, fragmented, vlan, qinq)
    for build in (*builders, packets.ipv6_extensions, packets.tunnels, packets.malformed):
        made[f"{build.__name__.replace('_', '-')}.pcap"] = ether(build)
    made["empty.pcap"] = lambda _rng: PcapFormat().file([])
    made["snapped.pcap"] = snapped
    made["lying-snaplen.pcap"] = lying_snap_len
    made["empty-packets.pcap"] = empty_packets
    made["odd-times.pcap"] = odd_times
    made["truncated-data.pcap"] = truncated_at(1)
    made["truncated-much.pcap"] = truncated_at(1000)
    made["sll.pcap"] = linked(files.LINKTYPE_LINUX_SLL, packets.sll)
    made["sll2.pcap"] = linked(files.LINKTYPE_LINUX_SLL2, packets.sll2)
    made["raw.pcap"] = linked(files.LINKTYPE_RAW, lambda packet: packet)
    made["null.pcap"] = linked(files.LINKTYPE_NULL, lambda packet: struct.pack("<I", 2) + packet)
    made["loop.pcap"] = linked(files.LINKTYPE_LOOP, lambda packet: struct.pack(">I", 2) + packet)
    made["radiotap.pcap"] = linked(files.LINKTYPE_IEEE802_11_RADIOTAP, packets.radiotap)
    made["ppp.pcap"] = linked(files.LINKTYPE_PPP, packets.ppp)
    made["sll-can-big.pcap"] = can_frames(packets.sll)
    made["sll2-can-big.pcap"] = can_frames(packets.sll2)
    return made


def made_families(seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """(file name, octets) of every family; each has a generator of its own, so adding one changes no other."""
    for name, make in families().items():
        yield name, make(random.Random(f"{seed} {name}"))


def write_families(directory: Path | str, seed: int = 1) -> list[Path]:
    """Writes every family, and a small mixed one, into a directory, which is made; returns the paths, sorted."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in made_families(seed):
        (directory / name).write_bytes(content)
    write_imix(directory / "imix.pcap", 3000, seed)
    return sorted(path for path in directory.iterdir() if path.suffix in (".pcap", ".pcapng"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m compat_tests.captures", description="Writes test captures.")
    parser.add_argument("outdir", nargs="?", help="directory for every family")
    parser.add_argument("--imix", nargs=2, metavar=("COUNT", "FILE"), help="the mixed-size capture for benches")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if not args.outdir and not args.imix:
        parser.error("nothing to write")
    if args.imix:
        write_imix(args.imix[1], int(args.imix[0]), args.seed)
    if args.outdir:
        for path in write_families(args.outdir, args.seed):
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
