# SPDX-License-Identifier: BSD-3-Clause
"""What looks into packets in the kernel, beside csrc/graph's C on the same octets; packets cut anywhere, too."""

from __future__ import annotations

import random
import re
import struct
from collections import Counter
from pathlib import Path

import pytest
from pyffpf._core import ffi, lib

from compat_tests import capture_packets as packets
from compat_tests.captures import fragmented, mixed, qinq, vlan
from fpl.classify.testing import Packet
from fpl.graph import emit
from fpl.graph.fields import NUMBERS as FIELDS
from fpl.graph.node import GraphError, Level, Node
from fpl.graph.table import CLASSES
from fpl.graph.testing import DEVICE, TestStage

DLT_EN10MB = 1
U64 = (1 << 64) - 1


def corpus() -> list[bytes]:
    """Of all kinds, whole and cut; what begins with a VLAN tag comes with it in its octets."""
    rng = random.Random(3)
    echo = struct.pack(">BBHHH", 8, 3, 0, 77, 1)
    pings = [packets.ethernet(packets.ipv4(echo, 1, "10.0.0.1", "10.0.0.2"))]
    pings.append(packets.ethernet(packets.ipv6(b"\x81" + echo[1:], 58, "2001:db8::1", "2001:db8::2"), packets.ETH_IP6))
    whole = [*mixed(rng, 60), *vlan(rng), *qinq(rng), *fragmented(rng), *pings, packets.ethernet(bytes(20)), bytes(60)]
    whole += [*packets.ipv6_extensions(rng), *packets.malformed(rng), *packets.tunnels(rng)]
    cut = [frame[: rng.randrange(1, 90)] for frame in rng.choices(whole, k=90)]
    return [frame[:256] for frame in [*whole, *cut] if frame]


class Found:
    """What csrc/graph finds in a packet of an Ethernet."""

    def __init__(self, octets: bytes) -> None:
        self._data = ffi.new("uint8_t[]", octets or b"\0")
        said = {"data": self._data, "cap_len": len(octets), "wire_len": len(octets), "protocol": 0x0800}
        self._pkt = ffi.new("struct ffpf_packet *", said)
        self._headers, self.flow = ffi.new("struct ffpf_headers *"), ffi.new("struct ffpf_tuple *")
        lib.ffpf_headers_find(self._headers, self._pkt, DLT_EN10MB)
        lib.ffpf_tuple_of(self.flow, self._headers)
        lib.ffpf_tuple_canonical(self.flow)

    def hash(self, seed: int) -> int:
        return int(lib.ffpf_tuple_hash(self.flow, seed))

    def keys(self, field: str) -> list[bytes]:
        made = ffi.new("struct ffpf_tuple[2]")
        count = lib.ffpf_field_keys(lib.ffpf_field_find(field.encode()), self._headers, made)
        return [bytes(ffi.buffer(made + n, 40)) for n in range(count)]

    def values(self, field: str) -> list[int]:
        return [int.from_bytes(key[:8], "little") for key in self.keys(field)]


def entries_of(memory: bytes) -> dict[bytes, tuple[int, int]]:
    """Key to (count, error) of a top-k's MBuf."""
    entries = [memory[at : at + 64] for at in range(64, len(memory), 64)]
    said = {entry[:40]: struct.unpack("=2Q", entry[40:56]) for entry in entries}
    return {key: (count, error) for key, (count, error) in said.items() if count}


def test_layout_is_that_of_the_header(root: Path) -> None:
    text = (root / "csrc" / "kernel" / "node_layout.h").read_text()
    offsets = dict(re.findall(r"FFPF_AT\(ffpf_node_work, (\w+), (\d+)\)", text))
    assert {name: int(at) for name, at in offsets.items()} == {
        "counters": emit.WORK_COUNTERS, "results": emit.WORK_RESULTS, "headers": emit.WORK_HEADERS,
        "flow": emit.WORK_FLOW, "program": emit.WORK_PROGRAM,
    }  # fmt: skip
    assert f"FFPF_SIZE(ffpf_node_work, {emit.WORK_BYTES})" in text
    assert f"#define FFPF_NODE_HEADERS_BYTES {emit.HEADERS_BYTES}\n" in text
    fields = re.findall(r"\tFFPF_NODE_FIELD_(\w+),", text)
    assert [name.lower() for name in fields] == [name.replace(".", "_") for name in FIELDS]


def test_the_table_and_csrc_graph_agree_on_what_the_kernel_runs() -> None:
    """BPF has no row there that says so: in a process its filters run in userspace."""
    rows = [lib.ffpf_classes[number] for number in range(lib.ffpf_class_count)]
    there = {ffi.string(row.name).decode() for row in rows if row.levels & lib.FFPF_LEVEL_KERNEL}
    assert there | {"BPF", "device"} == {*CLASSES, "device"}


def test_flow_hashes_are_csrc_graphs(made: TestStage) -> None:
    made.open(1, [DEVICE, Node("flow_hash", "seed=9", (0,))])
    made.open(2, [DEVICE, Node("flow_hash", "mod=7", (0,)), Node("packetcount", "", (1,), deliver=True)])
    kinds = Counter[int]()
    for octets in corpus():
        found = Found(octets)
        high = found.hash(1) >> 32
        assert made.send(Packet(octets)) == {1: found.hash(9) >> 32 or 1, 2: 1 + (high * 7 >> 32)}, octets.hex()
        kinds[int(found.flow.kind)] += 1
    assert set(kinds) == {0, 2, 4, 6}


def test_a_sampler_by_flow_keeps_whole_flows(made: TestStage) -> None:
    made.open(1, [DEVICE, Node("sampler", "1/3 hash seed=5", (0,))])
    kept = 0
    for octets in corpus():
        expected = Found(octets).hash(5) <= U64 // 3
        assert bool(made.send(Packet(octets))) == expected
        kept += expected
    assert 0 < kept < len(corpus())


@pytest.mark.parametrize("field", [f for f in FIELDS if f not in ("ifindex", "len")])
def test_values_of_fields_are_csrc_graphs(made: TestStage, field: str) -> None:
    made.open(1, [DEVICE, Node("histogram", f"of={field} scale=log", (0,))])
    counts, none = Counter[int](), 0
    for octets in corpus():
        made.send(Packet(octets))
        values = Found(octets).values(field)
        none += not values
        counts.update(value.bit_length() for value in values)
    memory = struct.unpack("=5Q2I65Q", made.mbuf(1, 1))
    assert memory[4:7] == (none, 65, 1)
    assert dict(enumerate(memory[7:])) == {bin_: counts[bin_] for bin_ in range(65)}
    assert counts


def test_a_histogram_of_lengths(made: TestStage) -> None:
    made.open(1, [DEVICE, Node("histogram", "bins=4 from=60 to=100", (0,))])
    for size in (59, 60, 69, 70, 99, 100, 1000):
        made.send(Packet(bytes(min(size, 200)), wire_len=size))
    assert struct.unpack("=5Q2I4Q", made.mbuf(1, 1)) == (60, 100, 1, 2, 0, 4, 0, 2, 1, 0, 1)


def test_the_first_packets_of_flows_pass(made: TestStage) -> None:
    """Both directions are one flow; what csrc/graph's table has no room for begins anew."""
    made.open(1, [DEVICE, Node("first_n", "2", (0,))])
    there = packets.ethernet(packets.tcp4(b"", "10.0.0.1", "10.0.0.2", 1000, 80))
    back = packets.ethernet(packets.tcp4(b"", "10.0.0.2", "10.0.0.1", 80, 1000))
    other = packets.ethernet(packets.udp4(b"", "10.0.0.1", "10.0.0.2"))
    assert [bool(made.send(Packet(p))) for p in (there, back, other, there, other, back, other)] == [
        True, True, True, False, True, False, False,
    ]  # fmt: skip
    assert struct.unpack("=4Q", made.mbuf(1, 1)) == (2, 0, 0, 0)


def test_flows_for_which_there_is_no_room_are_forgotten(made: TestStage) -> None:
    made.open(1, [DEVICE, Node("first_n", "1 flows=4", (0,))])
    frames = [packets.ethernet(packets.tcp4(b"", sport=1000 + n)) for n in range(5)]
    assert [bool(made.send(Packet(frame))) for frame in [*frames[:4], *frames[:4], frames[4]]] == (
        [True] * 4 + [False] * 4 + [True]
    )
    assert struct.unpack("=4Q", made.mbuf(1, 1)) == (5, 1, 0, 0)


@pytest.mark.parametrize(
    ("kind", "argument", "said"),
    [
        ("first_n", "", "how many packets"), ("first_n", "1 idle=x", "no time such as 10s"),
        ("flow_hash", "mod=0", "no number from 1"), ("histogram", "scale=log from=1", "has no from and to"),
        ("histogram", "bins=10 to=5", "each must hold a whole number"), ("histogram", "x=1", "x=1: not known"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(made: TestStage, kind: str, argument: str, said: str) -> None:
    with pytest.raises(GraphError, match=said):
        made.open(1, [DEVICE, Node(kind, argument, (0,))])


@pytest.mark.parametrize(
    ("kind", "argument", "reason"),
    [
        ("first_n", "1 flows=1000000", "the kernel's table has 262144 flows at most"),
        ("histogram", "of=caplen", "the kernel does not look for caplen"),
        ("histogram", "to=9000000000", "the kernel has no range of more than 32 bits"),
    ],
)
def test_what_only_userspace_can_is_there_with_the_reason(
    made: TestStage, kind: str, argument: str, reason: str
) -> None:
    placed = made.open(1, [DEVICE, Node(kind, argument, (0,))]).placed[1]
    assert (placed.level, placed.reason) == (Level.USERSPACE, reason)


@pytest.mark.parametrize("field", ["flow", "pair", "ip.src", "ip.dst", "ip.addr", "eth.src", "eth.dst", "port"])
@pytest.mark.parametrize("by", ["packets", "bytes"])
def test_the_keys_that_have_most_are_csrc_graphs(made: TestStage, field: str, by: str) -> None:
    """With room for all, every count is the truth."""
    made.open(1, [DEVICE, Node("topk", f"k=5 of={field} by={by}", (0,))])
    truth, none = Counter[bytes](), 0
    for octets in corpus():
        made.send(Packet(octets))
        keys = Found(octets).keys(field)
        none += not keys
        for key in keys:
            truth[key] += len(octets) if by == "bytes" else 1
    memory = made.mbuf(1, 1)
    assert struct.unpack("=3Q2I2Q", memory[:48]) == (2 * len(truth), truth.total(), 0, 1024, 5, none, 0)
    assert entries_of(memory) == {key: (count, 0) for key, count in truth.items()}
    assert truth


def test_a_key_takes_the_place_of_the_least_of_its_set(made: TestStage) -> None:
    """One set of eight, and many more keys: the bounds hold, and who has most is there."""
    made.open(1, [DEVICE, Node("topk", "k=1 of=udp.sport", (0,), 64 + 8 * 64)])
    rng = random.Random(2)
    truth = Counter(rng.choices(range(1, 40), weights=[1000 // n for n in range(1, 40)], k=1000))
    sent = list(truth.elements())
    rng.shuffle(sent)
    for port in sent:
        made.send(Packet(packets.ethernet(packets.udp4(b"", sport=port))))
    found = {int.from_bytes(key[:8], "little"): said for key, said in entries_of(made.mbuf(1, 1)).items()}
    assert len(found) == 8
    assert max(found, key=lambda port: found[port][0]) == truth.most_common(1)[0][0]
    for port, (count, error) in found.items():
        assert count - error <= truth[port] <= count
        assert error <= 1000 / 8
    assert all(port in found for port, count in truth.items() if count > 1000 / 8)
