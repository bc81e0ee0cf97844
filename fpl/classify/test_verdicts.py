# SPDX-License-Identifier: BSD-3-Clause
"""Many filters at once, each in a column: every column's bit is what the interpreter says of its filter, on real,
bent and cut packets.
"""

from __future__ import annotations

import ctypes
import random
import struct

import pytest
from pyffpf._core import ffi, lib

from bpf.engines import CannotCompileError, Insn, stock_compile
from bpf.filter_texts import MANUAL_PAGE
from bpf.programs import directed
from fpl.classify import Classifier, ClassifyRefused, bytecode
from fpl.classify.testing import Oracle, Packet, TestSource, octets_of

ETHERNET = 1
SEED = 11


def compare(source: TestSource, oracles: dict[int, Oracle], packet: Packet, classifier: Classifier) -> int:
    """How many columns accept."""
    bits, results = source.judge(packet)
    for column, oracle in oracles.items():
        expected = oracle(packet)
        assert bool(bits >> column & 1) == bool(expected), (column, classifier.info(column), packet)
        if expected:
            assert (source.result(column) or results[column]) == expected
    return bits.bit_count()


def test_filters_of_the_manual_page(source: TestSource, classifier: Classifier) -> None:
    print(f"seed={SEED}")
    rng = random.Random(SEED)
    programs: dict[int, list[Insn]] = {}
    oracles: dict[int, Oracle] = {}
    texts = list(dict.fromkeys(text for texts in MANUAL_PAGE.values() for text in texts))
    for text in rng.sample(texts, 90):
        try:
            program = stock_compile(ETHERNET, text)
            column = len(programs) * 3
            classifier.set(column, octets_of(program))
        except (CannotCompileError, ClassifyRefused):
            continue
        programs[column], oracles[column] = program, Oracle(octets_of(program))
    assert len(programs) > 50
    accepted = 0
    for program in programs.values():
        octets = directed(program, rng, rng.randbytes(rng.randrange(14, 120)))
        accepted += compare(source, oracles, Packet(octets), classifier)
        cut = octets[: rng.randrange(len(octets) + 1)]
        accepted += compare(source, oracles, Packet(cut), classifier)
    assert accepted > 150


def test_a_program_that_linux_would_not_attach_is_refused(source: TestSource, classifier: Classifier) -> None:
    for octets in (b"", b"1234", octets_of([(0x05, 0, 0, 0xFFFFFFFF)])):
        with pytest.raises(ClassifyRefused):
            classifier.set(0, octets)
    assert source.judge(Packet(bytes(60)))[0] == 0


def test_loads_behind_an_offset_in_memory_are_bounded() -> None:
    """As libpcap looks behind a VLAN tag: ngrep's and p0f's filters."""
    text = "tcp or (vlan and tcp)"
    add, load_m, index = 0x04, 0x61, 0x48  # add #k; ldx M[k]; ldh [x + k]
    program = [(0x00, 0, 0, 0), (0x02, 0, 0, 1), (add, 0, 0, 4), (0x02, 0, 0, 1), (load_m, 0, 0, 1), (index, 0, 0, 12)]
    assert bytecode.fetch_len(bytecode.decode(octets_of([*program, (0x06, 0, 0, 1)]))) == 18
    assert bytecode.fetch_len(bytecode.decode(octets_of(stock_compile(ETHERNET, text)))) < 100
    unknown = [(0x00, 0, 0, 0xFFFFFFF0), *program[1:], (0x06, 0, 0, 1)]
    with pytest.raises(ClassifyRefused, match="beyond"):
        bytecode.fetch_len(bytecode.decode(octets_of(unknown)))


REALISTIC = [
    "host 10.0.0.1", "not host 10.0.0.2", "net 10.0.0.0/9", "src net 192.0.2.0/28 and not dst port 53", "tcp port 80",
    "udp portrange 50-60", "port 443 or port 80", "icmp", "arp", "ip6", "ip6 host 2001:db8::1", "not ip6 and tcp",
    "src host 2001:db8::2 and udp", "ether host 02:00:00:00:00:01", "ether multicast", "vlan 5",
    "vlan 5 and tcp port 80",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "ip[6:2] & 0x1fff != 0", "ip[8] < 5", "less 60", "greater 70",
    "ip[2:2] - ((ip[0] & 0xf) << 2) > 20", "tcp[((tcp[12] & 0xf0) >> 2)] = 0x47", "host 10.0.0.1 and host 10.0.0.2",
    "dst portrange 1-1023", "not (tcp or udp)", "sctp or esp or ah", "ip proto 17 and not src host 10.0.0.1",
]  # fmt: skip


def live_form(text: str) -> bytes:
    """As libpcap compiles it for a handle that captures: VLAN tags are metadata."""
    insns, count, error = ffi.new("struct ffpf_bpf_insn **"), ffi.new("uint32_t *"), ffi.new("struct ffpf_error *")
    form = lib.FFPF_FORM_LIVE
    result = lib.ffpf_syspcap_compile(insns, count, text.encode(), ETHERNET, 65535, True, 0xFFFFFF00, form, error)
    assert result == 0, ffi.string(error.text)
    octets = bytes(ffi.buffer(insns[0], 8 * count[0]))
    ctypes.CDLL(None).free(ctypes.c_void_p(int(ffi.cast("uintptr_t", insns[0]))))
    return octets


def test_live_forms_on_packets_cut_at_every_octet(source: TestSource, classifier: Classifier) -> None:
    """Also what the octets do not say: VLAN tag, direction, protocol, interface."""
    print(f"seed={SEED}")
    rng = random.Random(SEED)
    texts = [*REALISTIC, "inbound", "outbound and tcp", "ifindex 3", "not vlan"]
    filters = {2 * number: live_form(text) for number, text in enumerate(texts)}
    kinds = [classifier.set(column, octets).kind for column, octets in filters.items()]
    assert kinds.count("table") >= len(kinds) - 4
    oracles = {column: Oracle(octets) for column, octets in filters.items()}
    accepted = 0
    for number, octets in enumerate(filters.values()):
        program = [Insn(*fields) for fields in struct.iter_unpack("<HBBI", octets)]
        packet = directed(program, rng, rng.randbytes(rng.randrange(40, 90)))
        tag = rng.choice([None, 5, 0x2005, 7])
        cuts = range(len(packet) + 1) if number % 9 == 0 else [len(packet), rng.randrange(len(packet))]
        for cut in cuts:
            made = Packet(
                packet[:cut], None, rng.randrange(2, 5), rng.randrange(5), rng.choice([0x800, 0x8100]), 1, tag
            )
            accepted += compare(source, oracles, made, classifier)
    assert accepted > 1000
