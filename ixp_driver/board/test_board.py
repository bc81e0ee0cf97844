# SPDX-License-Identifier: BSD-3-Clause
"""The board with its microcode: what it stores, counts, loses and survives. Under the address sanitizer, and in the
board's own time: the same every time."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import pytest

from ixp_driver import framework
from ixp_driver.board.testing import AT_END, DEAD, FAULTED, HUNG, LOST, PORT_ENDED, PORT_FAILED, RUNS, play
from ixp_driver.microc import Object, compile_text

FNV_START, FNV_FACTOR, WIDE = 14695981039346656037, 1099511628211, (1 << 64) - 1
ETHERNET = 1


def slot(body: str) -> Object:
    """A filter whose verdict is what the statements return; loads of the packet are sdram_read_net(packet + n, ...)."""
    return framework.program(
        "static uint32_t ffpf_filter(uint32_t record, uint32_t captured)\n{\nuint32_t packet = record + 48;\n"
        + body
        + "\n}\n"
    )


@pytest.fixture(scope="module")
def odd_lengths() -> Object:
    return slot("return captured & 1;")


def write_capture(path: Path, packets: list[tuple[int, bytes]]) -> None:
    """(time in ns, octets) as a pcap file of nanoseconds."""
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, ETHERNET))
        for time_ns, octets in packets:
            out.write(struct.pack("<IIII", *divmod(time_ns, 10**9), len(octets), len(octets)) + octets)


def checksum(packets: list[tuple[int, bytes, int]]) -> int:
    """As bench_board.c has it: (time, octets, result)."""
    value = FNV_START
    for time_ns, octets, result in packets:
        for word in (*divmod(time_ns, 10**9), len(octets), result, *octets):
            value = (value ^ word) * FNV_FACTOR & WIDE
    return value


def random_packets(seed: int, count: int) -> list[tuple[int, bytes]]:
    chance = random.Random(seed)
    sizes = [0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 79, 80, 81, 1514]
    now, made = 1_700_000_000 * 10**9, []
    for _ in range(count):
        now += chance.randrange(0, 100_000)
        size = chance.choice(sizes) if chance.random() < 0.5 else chance.randrange(0, 3000)
        made.append((now, chance.randbytes(size)))
    return made


def check_counters(played: dict[str, Any]) -> None:
    """What must hold of every run that came to its end."""
    for port in played["ports"]:
        lost = sum(port[cause] for cause in ("rx_lost", "no_descriptor", "no_room", "oversize", "unwanted"))
        assert port["offered"] == lost + port["received"], port
    for reader in played["readers"]:
        assert reader["seen"] == reader["filtered"] + reader["delivered"] + sum(reader["dropped"].values()), reader
        if not reader["ended"]:
            taken = [port["offered"] - port["rx_lost"] - port["unwanted"] for port in played["ports"]]
            assert reader["seen"] == sum(taken), reader
    assert played["free_descriptors"] == played["descriptors"]


@pytest.mark.parametrize("bms", ["srp", "frp"])
def test_what_readers_get_is_what_the_file_holds(tmp_path: Path, bms: str, odd_lengths: Object) -> None:
    packets = random_packets(1, 700)
    write_capture(tmp_path / "in.pcap", packets)
    played = play(tmp_path, [f"pcap:{tmp_path}/in.pcap,hold=2"], [None, odd_lengths], bms=bms)
    check_counters(played)
    everything, odd = played["readers"]
    assert everything["sum"] == checksum([(at, octets, 0xFFFFFFFF) for at, octets in packets])
    assert odd["sum"] == checksum([(at, octets, 1) for at, octets in packets if len(octets) % 2])
    assert odd["filtered"] == sum(len(octets) % 2 == 0 for _, octets in packets)
    assert played["ports"][0]["state"] == PORT_ENDED


def test_two_ports_are_two_lanes_merged_by_time(tmp_path: Path) -> None:
    packets = random_packets(2, 600)
    times = [at for at, _ in packets]
    assert len(set(times)) == len(times)
    write_capture(tmp_path / "even.pcap", packets[::2])
    write_capture(tmp_path / "odd.pcap", packets[1::2])
    played = play(tmp_path, [f"pcap:{tmp_path}/{name}.pcap,hold=4" for name in ("even", "odd")], [None] * 4)
    check_counters(played)
    assert {reader["sum"] for reader in played["readers"]} == {checksum([(at, o, 0xFFFFFFFF) for at, o in packets])}


@pytest.mark.parametrize(("ports", "most"), [(1, 5), (2, 4)])
def test_one_filter_a_microengine(tmp_path: Path, ports: int, most: int) -> None:
    played = play(tmp_path, [f"generator:full,count=50,hold={most}"] * ports, [None] * 5)
    ended = [reader["ended"] for reader in played["readers"]]
    assert ended[:most] == [""] * most
    assert all("taken" in text for text in ended[most:])
    assert [reader["packets"] for reader in played["readers"][:most]] == [50 * ports] * most


def test_a_run_is_the_same_every_time(tmp_path: Path, odd_lengths: Object) -> None:
    runs = [
        play(tmp_path, ["generator:1200000pps,size=65,count=3000"], [None, odd_lengths], bms="frp") for _ in range(2)
    ]
    assert runs[0] == runs[1]


def test_more_than_the_board_can_take_is_counted(tmp_path: Path) -> None:
    """Of 64-octet packets at the wire's rate: the receive engine is the bottleneck, and says what it could do."""
    played = play(tmp_path, ["generator:1000000000bps,size=64,count=20000"])
    check_counters(played)
    port = played["ports"][0]
    assert port["rx_lost"] > 1000
    seconds = played["cycles"] / played["clock_hz"]
    assert abs(played["sustained_pps"] - port["received"] / seconds) < 0.05 * played["sustained_pps"]


def test_srp_a_reader_that_never_reads_stops_the_port_or_costs_packets(tmp_path: Path) -> None:
    small = {"pbuf_bytes": 65536}
    waits = play(tmp_path, ["generator:full,size=1000,count=500"], read=AT_END, params=small)
    assert waits["readers"][0]["packets"] == waits["ports"][0]["received"] < 65536 // 1000
    loses = play(tmp_path, ["generator:50000pps,size=1000,count=500"], read=AT_END, params=small)
    check_counters(loses)
    assert loses["ports"][0]["received"] + loses["ports"][0]["no_room"] == 500
    assert loses["readers"][0]["dropped"]["pbuf"] == loses["ports"][0]["no_room"] > 400
    assert loses["readers"][0]["packets"] == loses["ports"][0]["received"]


def test_srp_one_filter_with_no_room_in_its_ibuf_costs_no_other_a_packet(tmp_path: Path) -> None:
    nothing = slot("return 0;")
    played = play(tmp_path, ["generator:100000pps,size=64,count=6000,hold=2"], [None, nothing], read=AT_END)
    check_counters(played)
    assert played["readers"][0]["dropped"]["ibuf"] == 6000 - 4096
    assert played["readers"][1]["filtered"] == 6000


def test_frp_a_late_reader_is_lapped_and_what_it_gets_is_whole(tmp_path: Path) -> None:
    played = play(
        tmp_path, ["generator:50000pps,size=1000,count=500"], bms="frp", read=AT_END, params={"pbuf_bytes": 65536}
    )
    check_counters(played)
    reader = played["readers"][0]
    assert played["ports"][0]["received"] == 500
    assert reader["dropped"]["lapped"] == 500 - reader["packets"]
    assert 50 <= reader["packets"] <= 64


def test_descriptors_run_out_before_packets_are_overwritten_under_a_slow_filter(tmp_path: Path) -> None:
    slow = slot("uint32_t i; for (i = 0; i < 2000; i++) ; return i;")
    played = play(tmp_path, ["generator:500000pps,size=64,count=3000"], [slow], params={"descriptors": 64})
    check_counters(played)
    assert played["readers"][0]["dropped"]["kernel"] == played["ports"][0]["no_descriptor"] > 1000
    assert played["readers"][0]["packets"] == played["ports"][0]["received"]


@pytest.mark.parametrize(
    ("body", "state", "text"),
    [
        ("if (captured > 64) while (1) ; return 1;", HUNG, "hung"),
        ("if (captured > 64) return sram_read(0x7ffffc0); return 1;", FAULTED, "not there"),
        ("if (captured > 64) csr_write(99, 1); return 1;", FAULTED, "register"),
        ("if (captured > 64) halt(7); return 1;", FAULTED, "halted with code 7"),
    ],
)
def test_a_filter_that_fails_ends_alone(tmp_path: Path, body: str, state: int, text: str) -> None:
    packets = [(n * 1000, bytes(65 if n == 100 else 60)) for n in range(3000)]
    write_capture(tmp_path / "in.pcap", packets)
    played = play(
        tmp_path, [f"pcap:{tmp_path}/in.pcap,hold=2"], [slot(body), None], params={"watchdog_cycles": 100_000}
    )
    failed, fine = played["readers"]
    engine = played["engines"][failed["engine"]]
    assert engine["state"] == state
    assert text in engine["text"]
    assert failed["ended"]
    assert fine["ended"] == ""
    assert fine["packets"] == 3000
    assert played["engines"][fine["engine"]]["state"] == RUNS
    assert played["free_descriptors"] == played["descriptors"]


@pytest.mark.parametrize(("body", "text"), [("while (1) ;", "hung"), ("ctx_kill();", "contexts ended")])
def test_a_receive_engine_that_fails_takes_the_board_with_it(tmp_path: Path, body: str, text: str) -> None:
    broken = compile_text("void main(void) { " + body + " }")
    played = play(tmp_path, ["generator:full,count=100,hold=2"], [None, None], receive=broken,
                  params={"watchdog_cycles": 100_000})  # fmt: skip
    assert played["state"] == DEAD
    assert text in played["engines"][0]["text"]
    assert [played["engines"][i]["state"] for i in (1, 2)] == [LOST, LOST]
    assert all(reader["ended"] for reader in played["readers"])


def test_engines_add_up(tmp_path: Path) -> None:
    played = play(tmp_path, ["generator:100000pps,size=200,count=1000,hold=5"], [None] * 5)
    for engine in played["engines"]:
        assert engine["busy"] + engine["stalled"] + engine["idle"] == pytest.approx(played["cycles"], rel=0.01)
        assert 0 < engine["instructions"] <= engine["busy"]
        assert engine["packets"] == 1000


@pytest.mark.parametrize("seed", range(4))
def test_counters_add_up_whatever_comes(tmp_path: Path, seed: int, odd_lengths: Object) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    ports = chance.choice([1, 2])
    filters = [chance.choice([None, odd_lengths]) for _ in range(chance.randrange(1, 7 - ports))]
    specs = []
    for port in range(ports):
        write_capture(tmp_path / f"{port}.pcap", random_packets(seed * 10 + port, chance.randrange(1, 800)))
        pace = chance.choice(["full", "recorded", "2000000pps", "900000000bps"])
        specs.append(f"pcap:{tmp_path}/{port}.pcap,pace={pace},loops={chance.randrange(1, 4)},hold={len(filters)}")
    params = {
        "pbuf_bytes": chance.choice([65536, 1 << 20]), "descriptors": chance.choice([64, 1024]),
        "quantum_cycles": chance.choice([1, 64, 1000]), "mac_bytes": chance.choice([64, 16384]),
        "snap_len": chance.choice([64, 262096]),
    }  # fmt: skip
    played = play(
        tmp_path, specs, filters, bms=chance.choice(["srp", "frp"]), read=chance.choice([1, 100, 5000]), params=params
    )
    check_counters(played)


def test_a_capture_that_is_cut_ends_with_what_it_has(tmp_path: Path) -> None:
    packets = random_packets(3, 50)
    write_capture(tmp_path / "in.pcap", packets)
    whole = (tmp_path / "in.pcap").read_bytes()
    (tmp_path / "in.pcap").write_bytes(whole[:-1] if packets[-1][1] else whole[:-3])
    played = play(tmp_path, [f"pcap:{tmp_path}/in.pcap"])
    check_counters(played)
    assert played["ports"][0]["state"] == PORT_FAILED
    assert "truncated" in played["ports"][0]["failed"]
    assert played["readers"][0]["sum"] == checksum([(at, octets, 0xFFFFFFFF) for at, octets in packets[:-1]])


def test_times_may_be_any(tmp_path: Path) -> None:
    """Seconds of 32 bits that go back and forth, fractions of more than a second: played as recorded, in no time."""
    stamps = [(0, 0), (2**32 - 1, 5), (7, 2**32 - 1), (2**31, 999_999_999), (1, 1)]
    with (tmp_path / "in.pcap").open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, ETHERNET))
        for seconds, fraction in stamps:
            out.write(struct.pack("<IIII", seconds, fraction, 60, 60) + bytes(60))
    played = play(tmp_path, [f"pcap:{tmp_path}/in.pcap,pace=recorded"])
    check_counters(played)
    assert played["readers"][0]["packets"] == len(stamps)


@pytest.mark.parametrize(
    ("port", "what"),
    [
        ("disk:x", "pcap:FILE"), ("pcap:", "empty"), ("generator:fast", "pace"), ("generator:full,size=10", "60"),
        ("generator:full,hold", "name=value"), ("generator:full,loops=2", "no option"), ("if:nosuchif0", "nosuchif0"),
        ("pcap:/nowhere/at/all", "/nowhere/at/all"),
    ],
)  # fmt: skip
def test_ports_that_cannot_be_are_refused_by_name(tmp_path: Path, port: str, what: str) -> None:
    with pytest.raises(RuntimeError, match=what):
        play(tmp_path, [port])


@pytest.mark.parametrize("param", ["clock_hz=0", "sram.first=x", "nothing=1", "pbuf_bytes=100000"])
def test_parameters_that_cannot_be_are_refused(tmp_path: Path, param: str) -> None:
    name, value = param.split("=")
    with pytest.raises(RuntimeError):
        play(tmp_path, ["generator:full,count=1"], params={name: value})  # type: ignore[dict-item]
