# SPDX-License-Identifier: BSD-3-Clause
"""Every filter of libpcap's manual page, compiled by libpcap for many link types, optimized and not, over packets of
real captures, of made ones, and over packets made to reach the filter's depths: all engines return the same.
"""

from __future__ import annotations

import platform
import random
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyffpf._core import lib

from bpf.engines import (
    Bench,
    CannotCompileError,
    GuardedPage,
    Insn,
    Program,
    accepts,
    bench,
    stock_compile,
    stock_packets,
)
from bpf.filter_texts import EXAMPLES, MANUAL_PAGE, long_text, or_ed
from bpf.programs import directed, zeroed_memory
from compat_tests.captures import write_families

LINK_TYPES = {
    "NULL": 0, "EN10MB": 1, "IEEE802": 6, "SLIP": 8, "PPP": 9, "FDDI": 10, "ATM_RFC1483": 11, "RAW": 12,
    "PPP_SERIAL": 50, "C_HDLC": 104, "IEEE802_11": 105, "FRELAY": 107, "LOOP": 108, "LINUX_SLL": 113, "PFLOG": 117,
    "PRISM_HEADER": 119, "IP_OVER_FC": 122, "SUNATM": 123, "IEEE802_11_RADIO": 127, "ARCNET_LINUX": 129, "MTP2": 140,
    "IEEE802_11_RADIO_AVS": 163, "PPP_PPPD": 166, "PPI": 192, "IPV4": 228, "IPV6": 229, "NETANALYZER": 240,
    "LINUX_SLL2": 276,
}  # fmt: skip
# What packets of link types with headers of variable length begin with: the length is where the rest is looked for.
BEGINNINGS = {
    "PPI": bytes([0, 0, 8, 0, 105, 0, 0, 0]),
    "IEEE802_11_RADIO": bytes([0, 0, 8, 0, 0, 0, 0, 0]),
    "IEEE802_11_RADIO_AVS": struct.pack(">II", 0x80211001, 64) + bytes(56),
    "PRISM_HEADER": struct.pack("<II", 0x44, 144) + bytes(136),
}
SEED = 6
PACKETS_PER_FILE = 40
PACKETS_PER_LINK_TYPE = 60
DIRECTED = 12
LONGEST = 16384

Packets = dict[int, list[tuple[bytes, int]]]


def loops(program: Program) -> bool:
    return any(insn.code == 0x05 and insn.k >> 31 for insn in program)


@pytest.fixture(scope="module")
def corpus(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Packets:
    """DLT to packets of the shared captures, where this machine has them, and of the families the project makes."""
    found: Packets = defaultdict(list)
    shared = root.parent / "shared" / "captures"
    made = write_families(tmp_path_factory.mktemp("families"))
    for path in sorted(path for path in [*made, *shared.glob("**/*")] if path.is_file()):
        link_type, packets = stock_packets(path)
        step = max(1, len(packets) // PACKETS_PER_FILE)
        found[link_type] += [(octets[:LONGEST], wire_len) for octets, wire_len in packets[::step]]
    found.pop(-1, None)
    return found


@pytest.fixture(scope="module")
def page() -> Iterator[GuardedPage]:
    yield GuardedPage()


def check_native(engines: Bench, program: list[Insn], text: str) -> None:
    """The compiler takes all that libpcap compiles, but loops."""
    if platform.machine() == "x86_64" and not loops(program):
        assert engines.native, text


def run(
    page: GuardedPage,
    program: list[Insn],
    text: str,
    packets: list[tuple[bytes, int]],
    rng: random.Random,
    beginning: bytes = b"",
) -> int:
    """Judges packets, cut ones, and packets directed by the program; returns how many of all passed.

    What libpcap compiles without its optimizer may read words of M[] that nothing wrote, where its own interpreter
    finds what happens to lie on the stack.
    """
    assert accepts(program, lib.FFPF_BPF_RULES_LIBPCAP), text
    program = zeroed_memory(program)
    passed = 0
    with bench(page, program) as engines:
        check_native(engines, program, text)
        for octets, wire_len in packets:
            passed += engines.verdict(octets, wire_len) != 0
        for _ in range(DIRECTED):
            start = beginning + rng.randbytes(rng.randrange(120))
            if packets and rng.random() < 0.7:
                start = rng.choice(packets)[0][:200]
            octets = directed(program, rng, start)
            passed += engines.verdict(octets, len(octets)) != 0
            engines.verdict(octets[: rng.randrange(len(octets) + 1)], len(octets))
    return passed


@pytest.mark.parametrize("link_type", LINK_TYPES)
def test_every_filter_of_the_manual_page(link_type: str, corpus: Packets, page: GuardedPage) -> None:
    dlt = LINK_TYPES[link_type]
    rng = random.Random(f"{SEED} {link_type}")
    print(f"seed={SEED}")
    packets = rng.sample(corpus[dlt], min(len(corpus[dlt]), PACKETS_PER_LINK_TYPE))
    beginning = BEGINNINGS.get(link_type, b"")
    compiled = passed_some = 0
    for text in (text for texts in MANUAL_PAGE.values() for text in texts):
        try:
            programs = [stock_compile(dlt, text, optimize=optimize) for optimize in (True, False)]
        except CannotCompileError:
            continue
        compiled += 1
        passed = [run(page, program, f"{text!r} on {link_type}", packets, rng, beginning) for program in programs]
        passed_some += max(passed) > 0
    assert compiled >= 15, "too few filters for this link type to say anything"
    assert passed_some >= compiled // 4, "the packets reach nothing"


def test_every_filter_compiles_for_some_link_type() -> None:
    for text in (text for texts in MANUAL_PAGE.values() for text in texts):
        for dlt in LINK_TYPES.values():
            try:
                assert stock_compile(dlt, text)
                break
            except CannotCompileError:
                pass
        else:
            pytest.fail(f"{text!r} is no filter")


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_over_all_packets(text: str, corpus: Packets, page: GuardedPage) -> None:
    """As a reader of those captures runs them: every packet of every link type that knows the filter."""
    verdicts = 0
    for dlt, packets in corpus.items():
        try:
            program = stock_compile(dlt, text)
        except CannotCompileError:
            continue
        with bench(page, program) as engines:
            check_native(engines, program, text)
            for octets, wire_len in packets:
                engines.verdict(octets, wire_len)
                verdicts += 1
    assert verdicts > 500


@pytest.mark.parametrize("what", ["host", "port", "net", "ip6 host", "ether host", "dst port", "src net"])
@pytest.mark.parametrize("count", [2, 9, 100])
def test_one_kind_or_ed(what: str, count: int, corpus: Packets, page: GuardedPage) -> None:
    """What the compiler turns into a search, positive and negated."""
    rng = random.Random(f"{SEED} {what} {count}")
    print(f"seed={SEED}")
    text = or_ed(rng, what, count)
    packets = rng.sample(corpus[1], min(len(corpus[1]), 300))
    for written in (text, f"not ({text})", f"tcp and ({text})", f"({text}) and not ({or_ed(rng, what, count)})"):
        for optimize in (True, False):
            program = stock_compile(1, written, optimize=optimize)
            passed = run(page, program, written, packets, rng)
            run(page, program, written, [], rng)
            assert passed > 0 or "not (" not in written[:5]


@pytest.mark.parametrize("what", ["host", "port", "net"])
def test_hundreds_or_ed(what: str, corpus: Packets, page: GuardedPage) -> None:
    """libpcap's optimizer takes too long for these: they run as its parser makes them."""
    rng = random.Random(f"{SEED} {what}")
    print(f"seed={SEED}")
    text = or_ed(rng, what, 300)
    packets = rng.sample(corpus[1], min(len(corpus[1]), 300))
    for written in (text, f"not ({text})"):
        assert run(page, stock_compile(1, written, optimize=False), written, packets, rng) > 0


@pytest.mark.parametrize("terms", [3, 10, 40, 100])
@pytest.mark.parametrize("link_type", ["EN10MB", "LINUX_SLL", "LINUX_SLL2", "RAW", "NULL", "PPP", "IEEE802_11_RADIO"])
def test_mixed_terms(link_type: str, terms: int, corpus: Packets, page: GuardedPage) -> None:
    """Hosts, nets, ports and protocols, or-ed, and-ed and negated."""
    rng = random.Random(f"{SEED} {link_type} {terms}")
    print(f"seed={SEED}")
    dlt = LINK_TYPES[link_type]
    packets = rng.sample(corpus[dlt], min(len(corpus[dlt]), 100))
    compiled = 0
    for _ in range(12):
        text = long_text(rng, terms)
        try:
            programs = [stock_compile(dlt, text, optimize=optimize) for optimize in (True, False)]
        except CannotCompileError as error:
            assert "expression rejects all packets" in str(error)
            continue
        compiled += 1
        for program in programs:
            run(page, program, text, packets, rng)
    assert compiled >= 6
