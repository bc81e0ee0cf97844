# SPDX-License-Identifier: BSD-3-Clause
"""FPL-2 in the kernel: the table of cases of all back ends, random programs beside the reference, and placement."""

from __future__ import annotations

import contextlib
import os
import random
import re
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from fpl.classify import Compiler, bpf, layout
from fpl.classify.testing import Packet
from fpl.fpl2 import FplError, check, ebpf, tree
from fpl.fpl2.found import HIDDEN
from fpl.fpl2.packets import ethernet, ip4, ip6, tcp, udp
from fpl.fpl2.random_programs import Programs
from fpl.fpl2.test_back_ends import CASES, FIELDS, MBUF, PACKETS, SHARED, changed
from fpl.graph import class_fpl2, emit
from fpl.graph.node import Level, Node, Placed
from fpl.graph.testing import DEVICE, TestStage
from fpl.graph.testing_fpl2 import KernelPrograms, Seen, expected, seen


def test_layout_is_that_of_the_header(root: Path) -> None:
    text = (root / "csrc" / "kernel" / "node_layout.h").read_text()
    offsets = dict(re.findall(r"FFPF_AT\(ffpf_node_program, (\w+), (\d+)\)", text))
    assert {name: int(at) + ebpf.PROGRAM for name, at in offsets.items()} == {
        "captured": ebpf.PROGRAM_CAPTURED, "bounds": ebpf.PROGRAM_BOUNDS, "scan": ebpf.PROGRAM_SCAN,
        "result": ebpf.PROGRAM_RESULT, "shift": ebpf.PROGRAM_SHIFT,
    }  # fmt: skip
    assert emit.WORK_PROGRAM == ebpf.PROGRAM
    assert f"#define FFPF_NODE_REGISTERS {ebpf.REGISTERS}\n" in text
    assert tree.REGISTERS + HIDDEN <= ebpf.REGISTERS
    assert f"FFPF_SIZE(ffpf_node_program, {ebpf.PROGRAM_BYTES})" in text


@pytest.mark.parametrize("declared", ["", "PERCPU MEM MERGE sum; "])
def test_cases(shared: TestStage, declared: str) -> None:
    """With an MBuf for each processor none is atomic, and one that runs alone finds what it wrote."""
    loaded = KernelPrograms(shared, [declared + text for text, *_ in CASES], MBUF)
    try:
        assert loaded.refused == {}
        for number, (text, packet, result, memory) in enumerate(CASES):
            assert loaded.run(number, [seen(packet)]) == [result], text
            assert loaded.memory(number) == memory.ljust(MBUF, b"\0"), text
    finally:
        loaded.close()


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("tag", [None, 0x6064])
def test_fields(shared: TestStage, tag: int | None, columns: bool) -> None:
    """With a tag beside the packet, which programs see in place, too; as columns of classify, and as nodes' code."""
    packets = [seen(packet, tag) for packet in PACKETS]
    loaded = KernelPrograms(shared, [text for text, _ in FIELDS], 0, columns=columns)
    try:
        assert all(("in the program of all nodes" not in how) == columns for how in loaded.how.values())
        for number, (text, results) in enumerate(FIELDS):
            wanted, _ = expected(text, packets, 0)
            assert loaded.run(number, packets) == wanted, text
            assert tag is not None or wanted[:8] == results
    finally:
        loaded.close()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 1 << 64))
def test_random_programs_do_what_the_reference_does(shared: TestStage, seed: int) -> None:
    """Seven programs at once."""
    chance, texts = random.Random(seed), list[str]()
    for number in range(7):
        text = Programs(seed * 7 + number).program()
        try:
            check(text, mbuf_bytes=MBUF)
            texts.append(text)
        except FplError as error:
            event(f"refused: {error.message}")
            assert error.message == "division by 0", f"{text}\n{error}"
    packets = [seen(packet, chance.choice([None, chance.randrange(1 << 16)]))
               for packet in [*chance.sample(PACKETS, 4), chance.randbytes(chance.randrange(90))]]  # fmt: skip
    _compare(shared, texts, packets)


def _compare(made: TestStage, texts: list[str], packets: list[Seen]) -> None:
    loaded = KernelPrograms(made, texts, MBUF)
    try:
        assert loaded.refused == {}, texts
        for number, text in enumerate(texts):
            results, memory = expected(text, packets, MBUF)
            assert loaded.run(number, packets) == results, (text, packets)
            assert loaded.memory(number) == memory, (text, packets)
            event("some accepted" if any(results) else "all turned away")
    finally:
        loaded.close()


DEEP = "".join(f"(R[{n % 16}] * PKT.B[R[{n % 16}]] + " for n in range(30)) + "1" + ")" * 30


def fetched(made: TestStage) -> int:
    control = bpf.map_lookup(made.source.maps.control, 0, layout.CONTROL_BYTES)
    return int(struct.unpack_from("=I", control, layout.CONTROL_FETCH_LEN)[0])


def placed(made: TestStage, text: str, mbuf: int | None = None, *more: Node) -> Placed:
    return made.open(1, [DEVICE, Node("FPL-2", text, (0,), mbuf), *more]).placed[1]


def test_a_node_lets_pass_what_its_program_accepts_and_its_result_is_what_that_returns(made: TestStage) -> None:
    made.open(1, [DEVICE, Node("FPL-2", "RETURN PKT.B[0];", (0,)), Node("packetcount", "", (1,), deliver=True)])
    assert [made.send(Packet(bytes([n]) * 60)) for n in (7, 0, 9)] == [{1: 7}, {}, {1: 9}]
    assert made.counts(1)[1] == (3, 2)
    assert made.u64(1, 2) == 2


def test_as_many_octets_are_fetched_as_the_program_can_look_at(made: TestStage) -> None:
    for flow, (text, octets) in enumerate([
        ("RETURN PKT.B[0];", ebpf.FETCH_LEAST), ("RETURN PKT.D[100] + HASH(500, 10, 7);", 510),
        ("RETURN PKT.B[PKT.B[0]];", 65536),
    ], 1):  # fmt: skip
        assert placed(made, text).level is Level.KERNEL
        assert octets == ebpf.octets_needed(check(text).program), flow
        assert fetched(made) >= octets
        made.close(1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("".join(f"FOR (R[{n}] = 0; R[{n}] < 2; R[{n}]++) " for n in range(6)) + "R[9]++;" + "ROF " * 6,
         "its loops are 6 deep: the kernel has 5 at most"),
        ("".join(f"FOR (R[{n}] = 0; R[{n}] < 2; R[{n}]++) R[9] = {DEEP}; " for n in range(5)) + "ROF " * 5,
         "combined stack size of"),
    ],
)  # fmt: skip
def test_what_the_kernel_cannot_run_is_in_userspace_with_the_reason(made: TestStage, text: str, said: str) -> None:
    found = placed(made, text, 4096)
    assert found.level is Level.USERSPACE
    assert said in found.reason


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("RETURN BOGUS;", "the compiler for the kernel: <fpl-2>:1:8: BOGUS is not known"),
        ("MEM[0]++;", "the compiler for the kernel: <fpl-2>:1:1: this filter has no MBuf"),
        ('RETURN PKT.IP_SRC IN {USE "hosts"};', "no files may be used here"),
        ("RETURN EXTERN(mine, 0, 0);", "no external function mine may be called here"),
        ("file:/srv/web.fplo", "a record has native code alone"),
    ],
)
def test_what_is_wrong_is_said_by_the_process_that_asks(made: TestStage, text: str, said: str) -> None:
    """It may know files and functions that the control plane does not."""
    found = placed(made, text)
    assert found.level is Level.USERSPACE
    assert said in found.reason


def test_what_was_compiled_and_verified_alone_is_not_again(one_processor: None) -> None:
    """For a flow more there is the program of all nodes, without the functions that are there."""
    texts = [f"MEM[{n}] += PKT.B[0]; RETURN {n + 1};" for n in range(3)]
    compiler = Compiler()
    with contextlib.closing(compiler), TestStage(compiler) as own:
        before = compiler.count
        for flow, text in enumerate(texts, 1):
            own.open(flow, [DEVICE, Node("FPL-2", text, (0,), 64, private=True)])
        assert compiler.count - before == 1 + 2 * len(texts)  # around one alone; each function, and program of all
        own.open(4, [DEVICE, Node("FPL-2", texts[0], (0,), 64, private=True)])
        assert compiler.count - before == 2 + 2 * len(texts)
        assert own.send(Packet(b"\7" + bytes(59))) == {1: 1, 2: 2, 3: 3, 4: 1}


def test_packets_of_other_links_are_judged_in_userspace(compiler: Compiler) -> None:
    with TestStage(compiler, link=1) as made:
        found = placed(made, "RETURN 1;")
    assert (found.level, found.reason) == (Level.USERSPACE, class_fpl2.LINKLESS)


def test_assignment_operators_of_several_processors_lose_nothing(made: TestStage) -> None:
    """As in userspace: octets and words that lie in one word of MBuf, too."""
    assert placed(made, SHARED, 32).level is Level.KERNEL
    processors = range(min(2, os.cpu_count() or 1))

    def run(cpu: int) -> None:
        os.sched_setaffinity(0, {cpu})
        made.source.place(Packet(bytes(60)), cpu)
        for _ in range(10):
            made.source.run(20)

    threads = [threading.Thread(target=run, args=(cpu,)) for cpu in processors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made.counts(1)[1] == (200 * len(processors), 200 * len(processors))
    assert made.mbuf(1, 1)[:24] == changed(200 * len(processors))


def port_of(text: bytes) -> int:
    """What externs/rtsp.c says of a message."""
    for line in text.split(b"\n"):
        header = re.match(rb"transport[ \t]*:(.*)", line, re.IGNORECASE | re.DOTALL)
        said = dict.fromkeys((b"client_port=", b"server_port="), 0)
        if not header:
            continue
        for name in said:
            for found in re.finditer(name, header[1], re.IGNORECASE):
                digits = re.match(rb"\d*", header[1][found.end() :])
                if digits and digits[0] and 0 < int(digits[0]) <= 65535:
                    said[name] = int(digits[0])
                    break
        if any(said.values()):
            return said[b"client_port="] or said[b"server_port="]
    return 0


WORDS = [
    b"Transport",
    b":",
    b" ",
    b"client_port=",
    b"SERVER_port=",
    b"5004",
    b"65536",
    b"0",
    b"-",
    b"\r\n",
    b"\n",
    b";",
    b"cl",
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=14).map(b"".join), min_size=1, max_size=8))
def test_ports_that_rtsp_settles_are_found_as_in_userspace(rtsp: KernelPrograms, messages: list[bytes]) -> None:
    packets = [ethernet(ip4(6, tcp(1, 554, text))) for text in messages]
    packets += [
        ethernet(ip4(17, udp(1, 554, messages[0])) + b"Transport:client_port=9"),
        ethernet(ip6(6, tcp(1, 2, messages[0])), 0x86DD),
    ]
    expected_ports = [*map(port_of, messages), port_of(messages[0]), port_of(messages[0])]
    assert rtsp.run(0, [seen(packet) for packet in packets]) == expected_ports
    assert rtsp.run(0, [seen(packet, 5) for packet in packets]) == expected_ports


@pytest.fixture(scope="module")
def rtsp(compiler: Compiler) -> Iterator[KernelPrograms]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    with TestStage(compiler) as made:
        loaded = KernelPrograms(made, ['RETURN EXTERN("GetDynTCPDPortFromRTSP", 0, 0);'], 0)
        assert loaded.refused == {}
        yield loaded
    os.sched_setaffinity(0, before)


def test_figure_7_delivers_what_goes_to_ports_that_rtsp_settled(made: TestStage, root: Path) -> None:
    text = (root / "docs" / "examples" / "figure_7.fpl").read_text()
    assert placed(made, text, 256).level is Level.KERNEL
    setup = b"RTSP/1.0 200 OK\r\nTransport: RTP/AVP/TCP;client_port=4588-4589\r\n\r\n"
    data, other = (Packet(ethernet(ip4(6, tcp(6970, port)))) for port in (4588, 4590))
    assert made.send(data) == {}
    assert made.send(Packet(ethernet(ip4(6, tcp(3056, 554, setup))))) == {}
    assert [made.send(packet) for packet in (data, other)] == [{1: 1}, {}]
    assert struct.unpack_from("=2I", made.mbuf(1, 1)) == (1, 4588)


def test_a_loop_of_many_rounds_costs_the_verifier_no_more_than_one(made: TestStage) -> None:
    """32,768 rounds, five deep."""
    loops = "".join(f"FOR (R[{n}] = 0; R[{n}] < LEN; R[{n}]++) MAX {most} " for n, most in enumerate([4, 8, 8, 16, 8]))
    assert placed(made, f"{loops} MEM[0]++; {'ROF ' * 5} RETURN 1;", 64).level is Level.KERNEL
    assert made.send(Packet(bytes(60))) == {1: 1}
    assert int.from_bytes(made.mbuf(1, 1)[:4], "little") == 32768
    assert made.stage.program[1] < 3000
