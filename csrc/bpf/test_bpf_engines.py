# SPDX-License-Identifier: BSD-3-Clause
"""Generated programs over generated packets of all lengths: the interpreter, native code, libpcap's bpf_filter() and
the kernel return the same. Packets end at a page that nobody may read.
"""

from __future__ import annotations

import platform
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyffpf._core import ffi, lib

from bpf.engines import GuardedPage, Insn, KernelFilter, accepts, bench, prepared
from bpf.programs import (
    ABS,
    AD_OFF,
    ALU,
    IND,
    JA,
    JEQ,
    JMP,
    LD,
    LDX,
    LEN,
    LSH,
    OPERATIONS,
    RET,
    RSH,
    A,
    B,
    H,
    W,
    X,
    chain,
    chains,
    changes,
    decoded,
    directed,
    has_meaning_in_libpcap,
    mutated,
    packets,
    programs,
    zeroed_memory,
)

GENERATED = settings(max_examples=1000, deadline=None, print_blob=True)
SEED = 20041206
AUX_FIELDS = {"ifindex": 0xFFFFFFFF, "vlan_tci": 0xFFFF, "vlan_tpid": 0xFFFF, "protocol": 0xFFFF, "hatype": 0xFFFF,
              "pkt_type": 7, "vlan_present": 1}  # fmt: skip


PAGE = GuardedPage(65536)


@GENERATED
@given(program=programs(), packet=packets(), cut=st.integers(0, 2000), seed=st.integers(0, 2**32 - 1))
def test_generated_programs(program: list[Insn], packet: bytes, cut: int, seed: int) -> None:
    program = zeroed_memory(program)
    deep = directed(program, random.Random(seed), packet)
    with bench(PAGE, program) as engines:
        for length in range(len(packet) + 1):
            engines.verdict(packet[:length], length + cut)
            engines.verdict(deep[:length], length + cut)


@GENERATED
@given(program=chains(), packet=packets(60), seed=st.integers(0, 2**32 - 1))
def test_chains_of_equalities(program: list[Insn], packet: bytes, seed: int) -> None:
    rng = random.Random(seed)
    with bench(PAGE, program) as engines:
        for _ in range(20):
            deep = directed(program, rng, packet)
            engines.verdict(deep, len(deep))
        for length in range(len(packet) + 1):
            engines.verdict(packet[:length], len(packet))


@GENERATED
@given(program=programs(), mutations=changes(), packet=packets())
def test_mutated_programs(program: list[Insn], mutations: list[tuple[int, int, int]], packet: bytes) -> None:
    """Loops, codes that nothing knows, memory that was not written: what is valid has one meaning."""
    program = mutated(program, mutations)
    if not accepts(program, lib.FFPF_BPF_RULES_LIBPCAP):
        return
    meaning = has_meaning_in_libpcap(program)
    with bench(PAGE, zeroed_memory(program) if meaning else program, stock=meaning) as engines:
        for length in {0, 1, len(packet) // 2, len(packet)}:
            engines.verdict(packet[:length], len(packet))


@GENERATED
@given(
    program=programs(20),
    fields=st.lists(st.tuples(st.sampled_from(range(16)), st.sampled_from([W, H, B])), min_size=1, max_size=4),
    values=st.fixed_dictionaries({name: st.integers(0, most) for name, most in AUX_FIELDS.items()}),
    packet=packets(),
)
def test_ancillary_loads(
    program: list[Insn], fields: list[tuple[int, int]], values: dict[str, int], packet: bytes
) -> None:
    """With and without what is known about the packet."""
    loads = [Insn(LD | ABS | size, 0, 0, AD_OFF + 4 * at) for at, size in fields]
    program = zeroed_memory([*loads, *program])
    aux = ffi.new("struct ffpf_bpf_aux *", values)
    with bench(PAGE, program) as engines:
        for length in {0, len(packet) // 2, len(packet)}:
            engines.verdict(packet[:length], len(packet))
            engines.verdict(packet[:length], len(packet), aux)


@GENERATED
@given(program=programs(), packet=packets(), seed=st.integers(0, 2**32 - 1))
def test_the_kernel_agrees(program: list[Insn], packet: bytes, seed: int) -> None:
    """What the kernel lets pass of a datagram is what the program says; shifts by X >= 32 are its own there."""
    program = [Insn(LD | LEN, 0, 0, 0) if insn.code in (ALU | LSH | X, ALU | RSH | X) else insn for insn in program]
    program = [Insn(i.code, i.jt, i.jf, i.k & 31) if i.code in (ALU | LSH, ALU | RSH) else i for i in program]
    program = [insn._replace(k=insn.k & 0xFF) if insn.code & 7 in (LD, LDX) and insn.code & 0xE0 in (ABS, IND) else insn
               for insn in program]  # fmt: skip
    program = zeroed_memory(program)
    sockets = KernelFilter()
    try:
        assert sockets.attach(program)
        with bench(PAGE, program) as engines:
            for data in (packet, directed(program, random.Random(seed), packet)):
                if not data:
                    continue
                verdict = engines.verdict(data, len(data))
                expected = min(verdict, len(data)) or None
                assert sockets.octets_passed(data) == expected, engines.report({"ours": verdict}, data, len(data))
    finally:
        sockets.close()


def test_many_programs_of_one_seed() -> None:
    """More than hypothesis can draw; `native` counts that the compiler is what is tested."""
    rng = random.Random(SEED)
    print(f"seed={SEED}")
    verdicts = native = 0
    for turn in range(1500):
        program = decoded(rng.randbytes(6 * rng.randrange(60))) if turn % 2 else chain(rng, 1 + turn % 3, 120)
        program = zeroed_memory(program)
        with bench(PAGE, program) as engines:
            native += engines.native
            for _ in range(6):
                packet = directed(program, rng, rng.randbytes(rng.randrange(90)))
                verdicts += engines.verdict(packet, len(packet)) != 0
                engines.verdict(packet[: rng.randrange(len(packet) + 1)], len(packet))
    assert verdicts > 2000
    assert native == (1500 if platform.machine() == "x86_64" else 0)


@pytest.mark.parametrize("insns", [5_000, 70_000])
def test_long_programs(insns: int) -> None:
    """As 30,000 hosts make: longer than any 16-bit count, with jumps over more than 255."""
    load, accept, reject = Insn(LD | W | ABS, 0, 0, 0), Insn(RET, 0, 0, 9), Insn(RET, 0, 0, 0)
    program = [load]
    for value in range(insns // 2):
        program += [Insn(JMP | JEQ, 0, 1, value * 2654435761 % 2**32), accept]
    program.append(reject)
    with bench(PAGE, program) as engines:
        for value in (0, 1, insns // 4, insns // 2 - 1, insns // 2, 2**31):
            packet = (value * 2654435761 % 2**32).to_bytes(4, "big")
            assert engines.verdict(packet, 4) == (9 if value < insns // 2 else 0)


def test_tables_of_arithmetic() -> None:
    """Every operation on values at the borders, by constants and by X."""
    far = [0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFE, 0xFFFFFFFF]
    borders = [0, 1, 2, 3, 7, 8, 31, 32, 33, 63, 64, 255, 256, *far]
    for operation in OPERATIONS:
        for operand in borders:
            for source in (0, X):
                if operand == 0 and operation in (0x30, 0x90) and source == 0:
                    continue
                program = [Insn(LDX | 0, 0, 0, operand), Insn(LD | W | ABS, 0, 0, 0),
                           Insn(ALU | operation | source, 0, 0, operand), Insn(RET | A, 0, 0, 0)]  # fmt: skip
                with bench(PAGE, program) as engines:
                    for value in borders:
                        engines.verdict(value.to_bytes(4, "big"), 4)


def test_tables_of_jumps() -> None:
    """Every comparison at the borders, by constants and by X, of data and of constants."""
    borders = [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
    for test in range(0x10, 0x50, 0x10):
        for operand in borders:
            for source in (0, X):
                for size in (W, H, B):
                    program = [Insn(LDX | 0, 0, 0, operand), Insn(LD | size | ABS, 0, 0, 0),
                               Insn(JMP | test | source, 0, 1, operand), Insn(RET, 0, 0, 1),
                               Insn(RET, 0, 0, 2)]  # fmt: skip
                    with bench(PAGE, program) as engines:
                        for value in borders:
                            engines.verdict(value.to_bytes(4, "big"), 4)
                            engines.verdict(value.to_bytes(4, "little"), 4)


def test_loads_at_every_border() -> None:
    """Absolute and indirect loads of every size at, before and behind the end, near 2^31 and 2^32."""
    octets = bytes(range(1, 41))
    far = [0x7FFFFFF0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFDF, 0xFFFFFFE0, 0xFFFFFFFC, 0xFFFFFFFD, 0xFFFFFFFE, 0xFFFFFFFF]
    offsets = [*range(45), *far]
    for size in (W, H, B):
        for offset in offsets:
            absolute = [Insn(LD | size | ABS, 0, 0, offset), Insn(RET | A, 0, 0, 0)]
            with bench(PAGE, absolute) as engines:
                for length in (0, 1, 2, 3, 4, 39, 40):
                    engines.verdict(octets[:length], 40)
        for x in (0, 1, 30, *far):
            for offset in (0, 1, 9, 10, 11, 40, *far):
                indirect = [Insn(LDX | 0, 0, 0, x), Insn(LD | size | IND, 0, 0, offset), Insn(RET | A, 0, 0, 0)]
                from_packet = [Insn(LD | W | ABS, 0, 0, 0), Insn(7, 0, 0, 0), *indirect[1:]]  # X is not known before
                with bench(PAGE, indirect) as known, bench(PAGE, from_packet) as unknown:
                    for length in (0, 4, 39, 40):
                        known.verdict(octets[:length], 40)
                        unknown.verdict((x.to_bytes(4, "big") + octets[4:])[:length], 40)


def test_one_program_in_many_threads() -> None:
    """A program is immutable: threads share it and get what one gets."""
    program = zeroed_memory(decoded(random.Random(SEED).randbytes(6 * 50)))
    packet = bytes(range(100))
    with prepared(program, lib.FFPF_BPF_AUTO) as prog:
        octets = ffi.from_buffer("uint8_t[]", packet)
        expected = lib.ffpf_bpf_interpret(prog.insns, octets, 100, 100, ffi.NULL)

        def run(_: int) -> set[Any]:
            return {lib.ffpf_bpf_run(prog, octets, 100, 100, ffi.NULL) for _ in range(3000)}

        with ThreadPoolExecutor(4) as pool:
            assert set().union(*pool.map(run, range(8))) == {expected}


def test_jump_back_that_ends() -> None:
    """A sum over the packet's octets, one jump back for each: as libpcap runs it."""
    program = [
        Insn(LD | LEN, 0, 0, 0), Insn(JMP | JEQ, 6, 0, 0), Insn(ALU | 0x10, 0, 0, 1), Insn(7, 0, 0, 0),
        Insn(LD | IND | B, 0, 0, 0), Insn(JMP | JEQ, 3, 0, 0x77), Insn(7 | 0x80, 0, 0, 0),
        Insn(JMP | JA, 0, 0, 2**32 - 7), Insn(RET, 0, 0, 0), Insn(RET, 0, 0, 5),
    ]  # fmt: skip
    with bench(PAGE, program) as engines:
        assert engines.verdict(bytes(30) + b"\x77" + bytes(30), 61) == 5
        assert engines.verdict(bytes(61), 61) == 0
        assert engines.verdict(b"", 0) == 0


def test_regression_group_without_terms() -> None:
    """A region of tests none of which could be part of a set made the compiler read before its table."""
    program = chain(random.Random(0), 1, 60)
    with bench(PAGE, program) as engines:
        for length in (0, 20, 60):
            engines.verdict(bytes(length), length)
