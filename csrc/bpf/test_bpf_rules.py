# SPDX-License-Identifier: BSD-3-Clause
"""Both rule sets against those who made them: libpcap's bpf_validate(), and the kernel through SO_ATTACH_FILTER."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyffpf._core import ffi, lib

from bpf.engines import Insn, KernelFilter, Program, accepts, stock_accepts
from bpf.programs import AD_OFF, JA, JMP, KNOWN_CODES, MEMORY, RET, changes, decoded, mutated, programs

GENERATED = settings(
    max_examples=1500, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
RETURN = Insn(RET, 0, 0, 1)
OPERANDS = [0, 1, 15, 16, 31, 32, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF]


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelFilter]:
    sockets = KernelFilter()
    yield sockets
    sockets.close()


def check(program: Program, kernel: KernelFilter) -> tuple[bool, bool]:
    """(libpcap, kernel) accept it, and so do we."""
    theirs = (stock_accepts(program), kernel.attach(program))
    ours = (accepts(program, lib.FFPF_BPF_RULES_LIBPCAP), accepts(program, lib.FFPF_BPF_RULES_KERNEL))
    assert ours == theirs, f"(libpcap, kernel): ours {ours}, theirs {theirs}: {program}"
    return theirs


def test_every_code_of_nine_bits(kernel: KernelFilter) -> None:
    seen = Counter(
        check([Insn(code, 0, 0, k), RETURN], kernel) for code in range(512) for k in (0, 1, 15, 16, 31, 32, AD_OFF)
    )
    assert set(seen) == {(True, True), (True, False), (False, False)}, seen


def test_every_code_at_the_end(kernel: KernelFilter) -> None:
    for code in range(512):
        check([RETURN, Insn(code, 0, 0, 0)], kernel)


def test_every_code_of_sixteen_bits_by_the_rules_of_libpcap() -> None:
    for code in range(65536):
        program = [Insn(code, 0, 0, 0), RETURN]
        assert accepts(program, lib.FFPF_BPF_RULES_LIBPCAP) == stock_accepts(program), code
        assert code < 512 or not accepts(program, lib.FFPF_BPF_RULES_KERNEL)


def test_every_ancillary_offset(kernel: KernelFilter) -> None:
    loads = [0x20, 0x28, 0x30, 0x40, 0x50]
    seen = Counter(check([Insn(load, 0, 0, AD_OFF + at), RETURN], kernel)[1] for load in loads for at in range(-2, 80))
    assert seen[True] >= 16 * 3 and seen[False] >= 16 * 3


def test_every_jump_of_a_short_program(kernel: KernelFilter) -> None:
    for length in range(1, 5):
        for at in range(length):
            program = [RETURN] * length
            for offset in (*range(6), 255):
                program[at] = Insn(JMP | 0x10, offset, 0, 0)
                check(program, kernel)
                program[at] = Insn(JMP | 0x10, 0, offset, 0)
                check(program, kernel)
            for offset in (*range(-6, 6), 0x7FFFFFFF, -0x80000000):
                program[at] = Insn(JMP | JA, 0, 0, offset % 2**32)
                check(program, kernel)


@pytest.mark.parametrize("length", [1, 2, 4095, 4096, 4097, 65535])
def test_lengths(kernel: KernelFilter, length: int) -> None:
    """What the kernel refuses for its length is too long by our rules, and libpcap has no limit."""
    assert check([RETURN] * length, kernel) == (True, length <= lib.FFPF_BPF_KERNEL_MAX_INSNS)


def test_libpcap_takes_more_than_any_16_bit_count() -> None:
    assert accepts([RETURN] * 70000, lib.FFPF_BPF_RULES_LIBPCAP)
    assert stock_accepts([RETURN] * 70000)


def test_empty_program() -> None:
    assert not accepts([], lib.FFPF_BPF_RULES_LIBPCAP)
    assert not stock_accepts([])
    assert not accepts([], lib.FFPF_BPF_RULES_KERNEL)


@GENERATED
@given(program=programs())
def test_generated_programs(kernel: KernelFilter, program: list[Insn]) -> None:
    assert check(program, kernel)[0]


@GENERATED
@given(program=programs(), mutations=changes())
def test_mutated_programs(kernel: KernelFilter, program: list[Insn], mutations: list[tuple[int, int, int]]) -> None:
    check(mutated(program, mutations), kernel)


@GENERATED
@given(steps=st.lists(st.tuples(st.sampled_from(range(8)), st.integers(0, 5), st.integers(0, 5)), max_size=20))
def test_paths_to_the_scratch_memory(kernel: KernelFilter, steps: list[tuple[int, int, int]]) -> None:
    """Only stores, loads and jumps, of three words: whether all paths write what they read."""
    program = []
    for i, (what, a, b) in enumerate(steps):
        after = len(steps) - i
        if what < 5:
            program.append(Insn(MEMORY[what % 4], 0, 0, a % 3))
        elif what < 7:
            program.append(Insn(JMP | 0x10, a % after, b % after, 0))
        else:
            program.append(Insn(JMP | JA, 0, 0, a % after))
    assert check([*program, RETURN], kernel)[0]


def test_generators_make_what_both_accept_and_refuse(kernel: KernelFilter) -> None:
    """The properties above would say nothing if all programs fell to one side."""
    octets = b"".join(bytes([i * 37 % 256]) for i in range(6 * 256))
    seen: Counter[tuple[bool, bool]] = Counter()
    for i in range(250):
        program = decoded(octets[6 * i : 6 * i + 6 * (1 + i % 6)])
        seen[check(program, kernel)] += 1
        seen[check(mutated(program, [(i, i, i * 41)]), kernel)] += 1
        assert all(insn.code in KNOWN_CODES for insn in program)
    assert min(seen[True, True], seen[True, False], seen[False, False]) >= 20, seen


def test_the_text_names_the_instruction() -> None:
    error = ffi.new("struct ffpf_error *")
    insns = ffi.new("struct ffpf_bpf_insn[]", [(0, 0, 0, 0), (0x60, 0, 0, 3), (6, 0, 0, 0)])
    assert lib.ffpf_bpf_validate(insns, 3, lib.FFPF_BPF_RULES_KERNEL, error) == -lib.FFPF_E_BAD_FILTER
    assert ffi.string(error.text) == (
        b"filter instruction 1 (code 0x60, jt 0, jf 0, k 0x3): reads scratch memory that was not written"
    )
