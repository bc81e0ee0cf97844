# SPDX-License-Identifier: BSD-3-Clause
"""Columns come, change and go: no other column's verdict changes for even one packet, and what has a known shape
compiles nothing.
"""

from __future__ import annotations

import json
import mmap
import multiprocessing
import os
import random
import struct
import threading
from multiprocessing import Queue
from multiprocessing.synchronize import Event

import pytest

from bpf.engines import stock_compile
from bpf.filter_texts import long_text, or_ed
from bpf.programs import directed
from fpl.classify import Classifier, ClassifyRefused, bpf, bytecode, layout
from fpl.classify.rules import RULE_FIELDS_MAX, rules_of
from fpl.classify.store import Size
from fpl.classify.symbolic import graph
from fpl.classify.tables import _Generation
from fpl.classify.testing import Oracle, Packet, TestSource, octets_of

ETHERNET = 1
SEED = 17


def compiled(text: str) -> bytes:
    return octets_of(stock_compile(ETHERNET, text))


def control(source: TestSource) -> tuple[int, int]:
    """(fetch_len, words)"""
    octets = bpf.map_lookup(source.maps.control, 0, layout.CONTROL_BYTES)
    return struct.unpack_from("=II", octets, layout.CONTROL_FETCH_LEN)


def tcp(source: bytes, destination: bytes, sport: int, dport: int) -> Packet:
    head = bytes(12) + b"\x08\x00" + bytes([0x45, 0, 0, 60, 0, 0, 0, 0, 64, 6, 0, 0])
    return Packet((head + source + destination + struct.pack(">HH", sport, dport)).ljust(74, b"\0"))


def test_a_known_shape_compiles_nothing(source: TestSource, classifier: Classifier) -> None:
    first = [classifier.set(i, compiled(t)) for i, t in enumerate(("host 10.0.0.1", "tcp port 80", "net 10.0.0.0/8"))]
    assert [info.kind for info in first] == ["table"] * 3
    assert first[0].compiled
    assert first[1].compiled
    assert not first[2].compiled
    before = classifier.prog_ids
    more = ["host 10.9.0.7", "not host 10.0.0.1", "udp portrange 5-900", "tcp and src net 172.16.0.0/12", "arp",
            "host 10.0.0.1 and not tcp port 443", or_ed(random.Random(SEED), "host", 40)]  # fmt: skip
    for column, text in enumerate(more, 100):
        info = classifier.set(column, compiled(text))
        assert (info.kind, info.compiled, info.result) == ("table", False, 262144), text
    assert classifier.prog_ids == before
    for address, port in ((b"\x0a\0\0\1", 443), (b"\x0a\x09\0\7", 80), (b"\xac\x10\0\1", 5)):
        packet = tcp(address, b"\1\2\3\4", 1000, port)
        bits, _ = source.judge(packet)
        for column, text in enumerate(more, 100):
            assert bool(bits >> column & 1) == bool(Oracle(compiled(text))(packet)), text


def watched(control_fd: int, stop: Event, seen: Queue[tuple[set[int], set[int]]]) -> None:
    """In a process of its own, on another processor if there is one: each value that fetch_len and words have."""
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    lengths: set[int] = set()
    counts: set[int] = set()
    length_at, words_at = layout.CONTROL_FETCH_LEN // 4, layout.CONTROL_WORDS // 4
    with (
        mmap.mmap(control_fd, layout.CONTROL_BYTES, prot=mmap.PROT_READ) as memory,
        memoryview(memory) as octets,
        octets.cast("I") as control,
    ):
        while not stop.is_set():
            for _ in range(10_000):
                lengths.add(control[length_at])
                counts.add(control[words_at])
    seen.put((lengths, counts))


def test_the_hook_never_finds_less_columns_than_there_are(source: TestSource, classifier: Classifier) -> None:
    """Regression: the words were cleared before they were written, and the packet that came between was nobody's."""
    classifier.set(1000, None)
    classifier.need(1)
    context = multiprocessing.get_context("fork")
    stop, seen = context.Event(), context.Queue()
    watcher = context.Process(target=watched, args=(source.maps.control, stop, seen))
    watcher.start()
    try:
        for round in range(150_000):
            classifier.need(1 + round % 100)  # writes the control again, and nothing else
        stop.set()
        lengths, counts = seen.get(timeout=60)
    finally:
        stop.set()
        watcher.join(60)
    assert counts == {16}
    assert lengths <= set(range(1, 101))


def test_accept_all_clear_and_control(source: TestSource, classifier: Classifier) -> None:
    assert control(source) == (0, 0)
    info = classifier.set(1000, None)
    assert (info.result, info.kind, info.compiled, info.fetch_len) == (0xFFFFFFFF, "table", False, 0)
    assert source.result(1000) == 0xFFFFFFFF
    assert source.judge(Packet(b""))[0] == 1 << 1000
    assert control(source) == (0, 16)
    assert classifier.set(3, compiled("tcp port 80")).fetch_len == 14 + 60 + 4
    assert control(source) == (78, 16)
    classifier.clear(1000)
    assert control(source) == (78, 1)
    classifier.set(3, compiled("ip"))
    assert control(source) == (14, 1)
    assert source.judge(tcp(bytes(4), bytes(4), 80, 80))[0] == 1 << 3
    classifier.clear(3)
    assert source.judge(tcp(bytes(4), bytes(4), 80, 80))[0] == 0
    assert control(source) == (0, 0)


def test_a_refusal_changes_nothing(source: TestSource, classifier: Classifier) -> None:
    classifier.set(7, compiled("tcp port 80"))
    packet = tcp(bytes(4), bytes(4), 80, 9)
    with pytest.raises(ClassifyRefused, match="beyond"):
        classifier.set(7, compiled("ether[ip[2:2] + 9] = 0"))
    with pytest.raises(ClassifyRefused, match="column"):
        classifier.set(layout.COLUMNS, None)
    assert source.judge(packet)[0] == 1 << 7
    info = classifier.info(7)
    assert info is not None
    assert info.kind == "table"


def test_code_and_tables_take_turns_in_a_column(source: TestSource, classifier: Classifier) -> None:
    """What a column had before, of either kind, never adds to what it has."""
    texts = ["ip[2:2] + 1 = 61", "tcp port 80", "ip[2:2] + 1 = 62", None, "ip[2:2] + 1 = 9", "udp"]
    packet = tcp(bytes(4), bytes(4), 80, 9)  # of total length 60
    classifier.set(64, compiled("ip[2:2] + 1 = 61"))
    for text, accepts in zip(texts, [1, 1, 0, 1, 0, 0], strict=True):
        info = classifier.set(5, None if text is None else compiled(text))
        assert info.kind == ("code" if text and "+" in text else "table")
        assert source.judge(packet)[0] == accepts << 5 | 1 << 64, text
    classifier.clear(5)
    assert source.judge(packet)[0] == 1 << 64


@pytest.mark.parametrize(("width", "apart"), [(1, 1), (8, 43)], ids=["narrow lines", "wide lines"])
def test_no_other_column_notices(source: TestSource, classifier: Classifier, width: int, apart: int) -> None:
    """One thread classifies without a pause while another changes columns beside those it looks at: known shapes, new
    shapes, code, full stores.
    """
    print(f"seed={SEED}")
    rng = random.Random(SEED)
    classifier._tables._now.store.close()
    classifier._tables._now = _Generation(Size(width=width))
    steady = {2 * i * apart: text for i, text in enumerate([
        "host 10.0.0.1", "not host 10.0.0.2", "tcp port 80", "portrange 70-90", "net 10.0.0.0/9", "ip[2:2] + 3 > 20",
        "ip6", "not tcp port 443", "tcp[tcpflags] & tcp-syn != 0", "host 10.0.0.1 and not port 81", "less 80",
    ])}  # fmt: skip
    oracles = {column: Oracle(compiled(text)) for column, text in steady.items()}
    for column, text in steady.items():
        classifier.set(column, compiled(text))
    mask = sum(1 << column for column in steady)
    packets = [tcp(bytes([10, 0, 0, rng.randrange(4)]), rng.randbytes(4), rng.randrange(70, 92), 443) for _ in range(8)]
    expected = [sum(bool(oracle(p)) << column for column, oracle in oracles.items()) for p in packets]
    (cpu,) = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(range(os.cpu_count() or 1)) - {cpu} or {cpu})  # changes come while programs run
    stop, rounds = threading.Event(), [0]
    wrong: list[Packet] = []

    def classify() -> None:
        os.sched_setaffinity(0, {cpu})
        while not stop.is_set() and not wrong:
            for packet, bits in zip(packets, expected, strict=True):
                source.place(packet, cpu)
                source.run(30)
                if source.verdicts(cpu)[0] & mask != bits:
                    wrong.append(packet)
            rounds[0] += 1

    thread = threading.Thread(target=classify)
    thread.start()
    try:
        for number in range(40):
            column = rng.randrange(12) * 2 * apart + 1
            kinds = [f"host 10.0.0.{rng.randrange(6)}", or_ed(rng, rng.choice(["host", "port", "net"]), 12),
                     f"ip[2:2] + {number} = 7", long_text(rng, 3), f"ether[{number}] = 7", f"not port {number}",
                     ]  # fmt: skip
            if rng.random() < 0.2:
                classifier.clear(column)
            else:
                classifier.set(column, compiled(rng.choice(kinds)))
    finally:
        stop.set()
        thread.join()
    assert not wrong
    assert rounds[0] > 10


def test_state_goes_over_to_another_process(source: TestSource, classifier: Classifier) -> None:
    """The next one builds its programs beside those in force, and takes over in one store."""
    texts = {0: "host 10.0.0.1", 3: "ip[2:2] + 1 = 61", 700: "not tcp port 80", 701: None}
    for column, text in texts.items():
        classifier.set(column, None if text is None else compiled(text))
    packet = tcp(b"\x0a\0\0\1", bytes(4), 80, 9)
    expected, _ = source.judge(packet)
    assert expected == 1 << 0 | 1 << 3 | 1 << 701
    state = json.loads(json.dumps(classifier.export_state()))
    for _ in range(2):
        classifier.close()
        assert source.judge(packet)[0] == expected
        successor = Classifier(source.maps, state)
        assert not successor.refused
        assert source.judge(packet)[0] == expected
        successor.set(0, compiled("udp"))
        assert source.judge(packet)[0] == expected & ~1
        successor.set(0, compiled("host 10.0.0.1"))
        classifier.close()
        classifier, state = successor, json.loads(json.dumps(successor.export_state()))
    classifier.close()


def test_a_state_that_does_not_fit_any_more(source: TestSource, classifier: Classifier) -> None:
    classifier.set(2, compiled("ip"))
    state = classifier.export_state()
    state["columns"]["4"] = "AAAA"
    successor = Classifier(source.maps, state)
    assert list(successor.refused) == [4]
    assert source.judge(Packet(bytes(60)))[0] == 1 << 4
    successor.close()


def conjunction(rng: random.Random, fields: int) -> str:
    """Of so many fields: a line asks for them four at a time."""
    places = sorted(rng.sample(range(14, 60), fields))
    return " and ".join(f"ether[{at}] {rng.choice(['=', '!='])} {rng.randrange(4)}" for at in places)


SIZES = {
    "classes": (Size(1, 1, 16, 64), 40), "blocks": (Size(1, 1, 512, 16), 40), "both": (Size(1, 1, 64, 32), 40),
    "lines": (Size(1, 1, 2048, 1024), 200), "wide lines": (Size(1, 4, 2048, 1024), layout.COLUMNS),
}  # fmt: skip


@pytest.mark.parametrize("case", SIZES)
def test_tables_that_fill_up(source: TestSource, case: str) -> None:
    """Small stores: each is outgrown several times, and the verdicts stay."""
    size, columns = SIZES[case]
    print(f"seed={SEED}")
    rng = random.Random(SEED)
    classifier = Classifier(source.maps)
    classifier._tables._now.store.close()
    classifier._tables._now = _Generation(size)
    programs = {}
    oracles = {}
    for number in range(45):
        text = rng.choice([f"host 10.{number}.7.9", f"not host 10.0.{number}.9", f"port {number * 700}",
                           f"net 10.{number}.0.0/16 and portrange {number}-{500 * number + 9}"])  # fmt: skip
        if number % 9 == 0 and columns > 40:
            text = conjunction(rng, [3, 5, 9, 20, 24][number // 9])
        column = rng.randrange(columns)
        programs[column] = stock_compile(ETHERNET, text)
        assert classifier.set(column, octets_of(programs[column])).kind == "table"
        oracles[column] = Oracle(octets_of(programs[column]))
        if number % 7 == 0:
            packet = Packet(directed(programs[column], rng, rng.randbytes(80)))
            assert source.judge(packet)[0] >> column & 1 == bool(oracles[column](packet))
            packet = Packet(directed(rng.choice(list(programs.values())), rng, rng.randbytes(80)))
            bits, _ = source.judge(packet)
            for at, oracle in oracles.items():
                assert bool(bits >> at & 1) == bool(oracle(packet)), (at, packet)
    after = classifier._tables._now.store.size
    assert after != size
    assert columns == 40 or after.width > size.width
    classifier.close()


def test_a_rule_of_too_many_fields_is_code(source: TestSource, classifier: Classifier) -> None:
    text = conjunction(random.Random(SEED), RULE_FIELDS_MAX + 1)
    assert classifier.set(0, compiled(text)).kind == "code"


def test_a_line_that_packets_may_still_be_in_is_not_another_columns(source: TestSource, classifier: Classifier) -> None:
    """Until set() has waited: it could be or-ed to the other verdict word, with the bit of a rule that is gone."""
    rules = rules_of(graph(bytecode.decode(compiled("tcp port 80"))))
    classifier.set(5, compiled("tcp port 80"))
    generation = classifier._tables._now
    freed = set(generation.lines)
    classifier.clear(5)
    assert not generation.lines
    generation.put(64 + 5, rules)
    assert not freed & set(generation.lines)
    generation.put(5, rules)
    assert freed <= set(generation.lines)
    generation.take(5)
    classifier.wait()
    generation.put(128 + 5, rules)
    assert freed <= set(generation.lines)
