# SPDX-License-Identifier: BSD-3-Clause
"""The mixed-size capture that benches read: 60, 576 and 1500 octets at 7:4:1, nearly all Ethernet, IPv4, TCP and UDP.

Clients are half in 10.0.0.0/16 and half in 198.18.0.0/16, servers in 192.0.2.0/24 and 203.0.113.0/24. Shares of the
packets that the usual filters match: `ip` 0.97, `tcp port 80` 0.19, the SYN filter (not from 10/8) 0.05, HOST_PAIR
0.01, HUNDRED_HOSTS 0.2.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from compat_tests.capture_files import MAGIC_NS, MAGIC_US, PcapFormat

Octets = npt.NDArray[np.uint8]
Words = npt.NDArray[np.int64]

SIZES = (60, 576, 1500)
WEIGHTS = (7, 4, 1)
SERVERS = tuple(f"192.0.2.{i}" for i in range(1, 251)) + tuple(f"203.0.113.{i}" for i in range(1, 251))
HOST_PAIR = (SERVERS[7], SERVERS[8])
HUNDRED_HOSTS = SERVERS[100:200]
PORTS = (80, 443, 22, 8080, 53, 25)
PORT_SHARES = (0.25, 0.45, 0.08, 0.12, 0.07, 0.03)
START = 1_700_000_000
MEAN_GAP = 5_000  # nanoseconds
CHUNK = 100_000  # packets in memory at once: about 37 MB

FIN_ACK, SYN, SYN_ACK, ACK, PUSH_ACK = 0x11, 0x02, 0x12, 0x10, 0x18


def words_be(values: Words, octets: int) -> Octets:
    """(n,) integers to (n, octets) in network order."""
    return values.astype(">u8").view(np.uint8).reshape(len(values), 8)[:, 8 - octets :]


def sum16(rows: Octets) -> Words:
    """(n,) sums of the big-endian 16-bit words of (n, even) octets."""
    total: Words = rows.view(">u2").sum(axis=1, dtype=np.int64)
    return total


def folded(sums: Words) -> Words:
    for _ in range(3):
        sums = (sums & 0xFFFF) + (sums >> 16)
    return ~sums & 0xFFFF


def addresses(rng: np.random.Generator, n: int) -> tuple[Words, Words]:
    """(n,) clients and (n,) servers as integers; some servers are busier than others."""
    server_values = np.array([struct.unpack(">I", bytes(map(int, s.split("."))))[0] for s in SERVERS], dtype=np.int64)
    rank = np.minimum((rng.random(n) ** 1.5 * len(SERVERS)).astype(np.int64), len(SERVERS) - 1)
    low = rng.integers(1, 65535, n)
    client = np.where(rng.random(n) < 0.5, (10 << 24) + low, (198 << 24) + (18 << 16) + low)
    return client, server_values[rank]


def ipv4_frames(rng: np.random.Generator, n: int, size: int) -> Octets:
    """(n, size) octets: Ethernet frames with IPv4 and TCP, or UDP for one in five."""
    frames = np.frombuffer(rng.bytes(n * size), dtype=np.uint8).reshape(n, size).copy()
    client, server = addresses(rng, n)
    upwards = rng.random(n) < 0.5
    is_udp = rng.random(n) < 0.2
    port = rng.choice(PORTS, n, p=PORT_SHARES)
    client_port = rng.integers(32768, 61000, n)

    frames[:, :6] = np.frombuffer(bytes.fromhex("020000000002"), np.uint8)
    frames[:, 6:12] = np.frombuffer(bytes.fromhex("020000000001"), np.uint8)
    frames[:, 12:14] = (0x08, 0x00)
    frames[:, 14:16] = (0x45, 0)
    frames[:, 16:18] = words_be(np.full(n, size - 14), 2)
    frames[:, 20:22] = (0x40, 0)
    frames[:, 22] = 64
    frames[:, 23] = np.where(is_udp, 17, 6)
    frames[:, 24:26] = 0
    frames[:, 26:30] = words_be(np.where(upwards, client, server), 4)
    frames[:, 30:34] = words_be(np.where(upwards, server, client), 4)
    frames[:, 24:26] = words_be(folded(sum16(np.ascontiguousarray(frames[:, 14:34]))), 2)
    frames[:, 34:36] = words_be(np.where(upwards, client_port, port), 2)
    frames[:, 36:38] = words_be(np.where(upwards, port, client_port), 2)

    segment_len = size - 34
    if size == SIZES[0]:
        flags = rng.choice([ACK, SYN, SYN_ACK, FIN_ACK], n, p=[0.78, 0.08, 0.08, 0.06])
    else:
        flags = rng.choice([ACK, PUSH_ACK], n, p=[0.7, 0.3])
    frames[:, 46] = np.where(is_udp, frames[:, 46], 0x50)
    frames[:, 47] = np.where(is_udp, frames[:, 47], flags)
    udp_head = np.concatenate([words_be(np.full(n, segment_len), 2), np.zeros((n, 2), np.uint8)], axis=1)
    frames[:, 38:42] = np.where(is_udp[:, None], udp_head, frames[:, 38:42])
    frames[:, 50:54] = np.where(is_udp[:, None], frames[:, 50:54], 0)

    pseudo = sum16(np.ascontiguousarray(frames[:, 26:34])) + frames[:, 23] + segment_len
    total = words_be(folded(sum16(np.ascontiguousarray(frames[:, 34:])) + pseudo), 2)
    frames[:, 50:52] = np.where(is_udp[:, None], frames[:, 50:52], total)
    frames[:, 40:42] = np.where(is_udp[:, None], total, frames[:, 40:42])
    return frames


def other_small_frames(rng: np.random.Generator, frames: Octets) -> None:
    """Makes one in twenty of the (n, 60) frames ARP or IPv6, in place."""
    chosen = np.flatnonzero(rng.random(len(frames)) < 0.05)
    arps, sixes = chosen[::4], np.delete(chosen, np.s_[::4])
    frames[arps, 12:14] = (0x08, 0x06)
    frames[arps, 14:22] = (0, 1, 8, 0, 6, 4, 0, 1)
    frames[sixes, 12:14] = (0x86, 0xDD)
    frames[sixes, 14:22] = (0x60, 0, 0, 0, 0, 6, 59, 64)  # 59: nothing follows


def chunk_of_records(rng: np.random.Generator, n: int, times: Words, order: str, ticks: int) -> bytes:
    """n pcap records; times in nanoseconds, stored in ticks a second."""
    which = rng.choice(len(SIZES), n, p=np.array(WEIGHTS) / sum(WEIGHTS))
    records: list[memoryview] = [memoryview(b"")] * n
    for kind, size in enumerate(SIZES):
        members = np.flatnonzero(which == kind)
        rows = np.empty((len(members), 16 + size), dtype=np.uint8)
        words = np.empty((len(members), 4), dtype=order + "u4")
        seconds, rest = np.divmod(times[members], 1_000_000_000)
        words[:, 0] = seconds
        words[:, 1] = rest // (1_000_000_000 // ticks)
        words[:, 2:] = size
        rows[:, :16] = words.view(np.uint8).reshape(len(members), 16)
        rows[:, 16:] = ipv4_frames(rng, len(members), size)
        if size == SIZES[0]:
            other_small_frames(rng, rows[:, 16:])
        flat = rows.reshape(-1).data if len(members) else memoryview(b"")
        width = 16 + size
        for i, member in enumerate(members.tolist()):
            records[member] = flat[i * width : (i + 1) * width]
    return b"".join(records)


def write_imix(path: Path | str, count: int, seed: int = 1, *, order: str = "<", nanoseconds: bool = False) -> None:
    """Writes `count` packets to a pcap file; the same octets for the same arguments. A million take some seconds."""
    rng = np.random.default_rng(seed)
    ticks = 1_000_000_000 if nanoseconds else 1_000_000
    layout = PcapFormat(order=order, magic=MAGIC_NS if nanoseconds else MAGIC_US)
    now = START * 1_000_000_000
    with Path(path).open("wb") as file:
        file.write(layout.header())
        for start in range(0, count, CHUNK):
            n = min(CHUNK, count - start)
            times = now + np.cumsum(rng.exponential(MEAN_GAP, n).astype(np.int64))
            now = int(times[-1])
            file.write(chunk_of_records(rng, n, times, order, ticks))
