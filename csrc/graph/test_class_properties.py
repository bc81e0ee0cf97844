# SPDX-License-Identifier: BSD-3-Clause
"""Filter classes against plain statements of what they promise, over generated packets; and what every class keeps to,
whatever arguments and octets come."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dpkt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.class_instance import ALL, Instance, Packet, RefusedError, class_names, ethernet, find

NAMES = [name for name in class_names() if not find(name).source]
OF_PACKETS = [
    name for name in NAMES if name not in ("BPF", "FPL-1", "FPL-2", "file")
]  # their arguments are more than words
WORDS = {"sampler": "3", "first_n": "2", "delivered": "0"}  # what must be said

addresses = st.integers(0, 7).map(lambda n: bytes([10, 0, 0, n]))
ports = st.sampled_from([53, 80, 443, 1024, 1025, 1026])


@st.composite
def tcp_packets(draw: st.DrawFn) -> bytes:
    """Ethernet, IPv4, TCP, few hosts and ports, so that flows meet; some cut off."""
    segment = dpkt.tcp.TCP(
        sport=draw(ports), dport=draw(ports), flags=draw(st.integers(0, 63)), data=draw(st.binary(max_size=9))
    )
    inner = dpkt.ip.IP(src=draw(addresses), dst=draw(addresses), p=dpkt.ip.IP_PROTO_TCP, data=segment)
    inner.len = len(inner)
    whole = bytes(dpkt.ethernet.Ethernet(type=dpkt.ethernet.ETH_TYPE_IP, data=inner))
    return whole[: draw(st.integers(0, len(whole)))] if draw(st.integers(0, 9)) == 0 else whole


def flow_of(data: bytes) -> tuple[Any, ...] | None:
    """The conversation as dpkt sees it: protocol and a set of two ends; None where the octets end before."""
    if len(data) < 14 + 20 + 4:
        return None
    inner = dpkt.ip.IP(data[14:])
    ends = sorted([(data[26:30], data[34:36]), (data[30:34], data[36:38])])
    return (inner.p, *ends)


whole_packets = st.lists(tcp_packets().filter(lambda data: flow_of(data) is not None), max_size=60)


@given(packets=whole_packets, count=st.integers(1, 4))
def test_first_n_passes_the_first_n_of_each_flow(packets: list[bytes], count: int) -> None:
    seen: Counter[Any] = Counter()
    expected = []
    for data in packets:
        seen[flow_of(data)] += 1
        expected.append(seen[flow_of(data)] <= count)
    with Instance("first_n", str(count)) as first:
        assert [result != 0 for result in first.filter(ethernet(packets))] == expected
        assert first.mbuf["flows"] == len(seen)


@given(packets=whole_packets)
def test_flow_hash_is_one_number_a_flow(packets: list[bytes]) -> None:
    with Instance("flow_hash") as hashes:
        results = hashes.filter(ethernet(packets))
    by_flow: dict[Any, set[int]] = {}
    for data, result in zip(packets, results, strict=True):
        by_flow.setdefault(flow_of(data), set()).add(result)
    assert all(len(found) == 1 and 0 not in found for found in by_flow.values())
    assert len(set(results)) == len(by_flow)  # two of so few meet once in 2^25 runs


@given(packets=whole_packets, room=st.integers(1, 8), by_bytes=st.booleans())
def test_topk_keeps_its_bounds(packets: list[bytes], room: int, by_bytes: bool) -> None:
    truth: Counter[bytes] = Counter()
    for data in packets:
        truth[data[26:30]] += len(data) if by_bytes else 1
    arguments = f"k=1 of=ip.src by={'bytes' if by_bytes else 'packets'}"
    with Instance("topk", arguments, 64 + 64 * room) as top:
        assert top.filter(ethernet(packets)) == [ALL] * len(packets)
        total = int(top.mbuf["total"])
        entries = top.mbuf["entries"][: top.mbuf["filled"]]
        shown = {bytes(entry["key"]["src"][:4]): (int(entry["count"]), int(entry["error"])) for entry in entries}
    assert total == sum(truth.values()) and len(shown) == len(entries)
    for key, (count, error) in shown.items():
        assert count - error <= truth[key] <= count
        assert error <= total / room
    assert all(truth[key] <= total / room for key in truth if key not in shown)


@given(
    lengths=st.lists(st.integers(0, 2000), max_size=60), bins=st.integers(1, 20), begin=st.integers(0, 500),
    width=st.integers(20, 1500),
)  # fmt: skip
def test_histogram_counts_as_numpy_does(lengths: list[int], bins: int, begin: int, width: int) -> None:
    end = begin + width
    inside = [length for length in lengths if begin <= length < end]
    # numpy's edges are rounded, and its last bin is closed; these are exact, and it is open
    expected = np.bincount([(length - begin) * bins // width for length in inside], minlength=bins)
    with Instance("histogram", f"of=len bins={bins} from={begin} to={end}") as histogram:
        histogram.filter([Packet(b"", wire_len=length) for length in lengths])
        assert histogram.mbuf["counts"].tolist() == expected.tolist()
        assert histogram.mbuf["below"] == sum(length < begin for length in lengths)
        assert histogram.mbuf["above"] == sum(length >= end for length in lengths)


@given(
    packets=st.lists(st.tuples(st.binary(max_size=2), st.integers(0, 40)), max_size=60), window=st.integers(1, 100),
    last=st.integers(1, 6),
)  # fmt: skip
def test_dedup_turns_away_what_passed_a_moment_ago(packets: list[tuple[bytes, int]], window: int, last: int) -> None:
    passed: list[tuple[bytes, int]] = []
    now, expected, made = 1000, [], []
    for data, later in packets:
        now += later
        duplicate = any(old == data and now - time <= window for old, time in passed[-last:])
        expected.append(not duplicate)
        if not duplicate:
            passed.append((data, now))
        made.append(Packet(data, now))
    with Instance("dedup", f"window={window}ns packets={last}") as dedup:
        assert [result != 0 for result in dedup.filter(made)] == expected


@given(packets=st.lists(st.tuples(tcp_packets(), st.integers(0, 3_000)), max_size=60), idle=st.integers(500, 5000))
def test_flow_table_loses_no_packet_and_no_octet(packets: list[tuple[bytes, int]], idle: int) -> None:
    now, made = 0, []
    for data, later in packets:
        now += later
        made.append(Packet(data, now, wire_len=100))
    with Instance("flow_table", f"idle={idle}ns linger={idle}ns") as table:
        assert table.filter(made) == [ALL] * len(made)
        table.flush()
        records = table.mbuf["records"][: table.mbuf["written"]]
        assert table.mbuf["present"] == 0
        assert records["packets"].sum() + table.mbuf["none"] == len(made)
        assert records["bytes"].sum() == 100 * records["packets"].sum()
        assert (records["last_ns"] - records["first_ns"] < now + 1).all()


@settings(max_examples=50)
@given(packets=st.lists(tcp_packets(), max_size=40), suffix=st.sampled_from(["pcap", "pcapng"]))
def test_files_are_what_others_read(
    tmp_path_factory: pytest.TempPathFactory, packets: list[bytes], suffix: str
) -> None:
    path = tmp_path_factory.mktemp("sink") / f"a.{suffix}"
    times = [1_700_000_000_123_456_789 + 999_999_999 * i for i in range(len(packets))]
    with Instance("file", f"path={path}") as sink:
        sink.filter([Packet(data, time) for data, time in zip(packets, times, strict=True)])
    with path.open("rb") as stream:
        reader = dpkt.pcap.UniversalReader(stream)
        assert reader.datalink() == dpkt.pcap.DLT_EN10MB
        found = [(bytes(data), round(float(time), 4)) for time, data in reader]
    assert found == [(data, round(time / 1e9, 4)) for data, time in zip(packets, times, strict=True)]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40)
@given(arguments=st.text(st.sampled_from("0123456789kmns=/' abfilowpy.randomhashseed"), max_size=20))
def test_any_arguments_are_taken_or_refused_and_canonical_ones_stay(name: str, arguments: str) -> None:
    try:
        one = Instance(name, arguments)
    except RefusedError as refused:
        assert str(refused) and refused.at <= len(arguments)
        return
    one.close()
    again = Instance(name, one.canonical, one.octets)
    again.close()
    assert (again.canonical, again.octets) == (one.canonical, one.octets)


@pytest.mark.parametrize("name", OF_PACKETS)
@settings(max_examples=25)
@given(packets=st.lists(tcp_packets() | st.binary(max_size=60), max_size=40), cut=st.integers(0, 40))
def test_batches_change_nothing(name: str, packets: list[bytes], cut: int) -> None:
    """One batch, or two: the same results, the same MBuf. Any octets do."""
    made = ethernet(packets)
    with Instance(name, WORDS.get(name, "")) as whole, Instance(name, WORDS.get(name, "")) as parts:
        assert whole.filter(made) == parts.filter(made[:cut]) + parts.filter(made[cut:])
        assert whole.report() == parts.report()
        assert whole.octets == 0 or name == "distinct" or whole.mbuf.tobytes() == parts.mbuf.tobytes()


REPORTED: OrderedDict[str, Callable[[Any], bool]] = OrderedDict(
    topk=lambda told: told["top"][0] == {"key": "tcp 10.0.0.1:1024 <-> 10.0.0.2:80", "count": 1, "error": 0},
    flow_table=lambda told: told["recent"][0]["state"] == "syn",
    histogram=lambda told: told["bins"][0]["count"] == 1,
    rate=lambda told: told["packets"] == 1,
    distinct=lambda told: told["distinct"] == 1,
)


@pytest.mark.parametrize("name", REPORTED)
def test_reports_are_json_too(name: str) -> None:
    inner = dpkt.ip.IP(src=b"\x0a\0\0\1", dst=b"\x0a\0\0\2", p=6, data=dpkt.tcp.TCP(sport=1024, dport=80, flags=2))
    inner.len = len(inner)
    with Instance(name) as one:
        one.filter(ethernet([bytes(dpkt.ethernet.Ethernet(data=inner))]))
        one.flush()
        assert REPORTED[name](one.json())


def test_a_sink_tells_its_file(tmp_path: Path) -> None:
    with Instance("file", f"path={tmp_path}/a.pcap") as sink:
        assert sink.json()["path"] == f"{tmp_path}/a.pcap"
