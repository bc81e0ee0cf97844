# SPDX-License-Identifier: BSD-3-Clause
"""What `fplc explain` says of a program in the kernel is what the kernel's verifier finds when it is loaded."""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Callable

import pytest

from fpl.classify import Compiler, bpf
from fpl.classify.measure import FRAME_STEP, measure, parts_of
from fpl.fpl2 import check, ebpf
from fpl.fpl2.check import Policy
from fpl.fpl2.test_back_ends import CASES, FIELDS
from fpl.graph.alone import program_of
from fpl.graph.node import Level, Node
from fpl.graph.testing import DEVICE, TestStage
from pyffpf.daemon.kernel_sources import nodes_library
from pyffpf.externs import CoreLibrary

MBUF, POLICY = 64, Policy(library=CoreLibrary())
STATISTICS = 4  # BPF_LOG_STATS
LOG_AT = 24  # of union bpf_attr: log_level, log_size, log_buf
LOOPS = "".join(f"FOR (R[{n}] = 0; R[{n}] < LEN; R[{n}]++) MAX {n + 2} " for n in range(5))
PROGRAMS = [
    *(text for text, *_ in CASES[::5]),
    *(text for text, _ in FIELDS[::4]),
    f'{LOOPS} MEM.B[1] *= 3; {"ROF " * 5} RETURN 0 CONTAINS "abc";',
    "RETURN " + "".join(f"(R[{n}] * PKT.B[R[{n}]] + " for n in range(12)) + "1" + ")" * 12 + ";",
    "PERCPU MEM MERGE sum; MEM[IP_PROTO]++; RETURN INNER.TCP_DPORT == 80;",
    'MEM[0] = EXTERN("GetDynTCPDPortFromRTSP", 0, 0);',
]

Loaded = tuple[bytes, list[int]]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Loaded]:
    """The last program that was loaded, and the frames that the verifier found, by function."""
    log, kept, real = ctypes.create_string_buffer(1 << 16), list[bytes](), bpf._bpf

    def with_statistics(command: int, attr: ctypes.Array[ctypes.c_char]) -> int:
        if command == bpf.PROG_LOAD:
            count, insns = struct.unpack_from("=4xIQ", attr)
            struct.pack_into("=IIQ", attr, LOG_AT, STATISTICS, len(log), ctypes.addressof(log))
            kept.append(ctypes.string_at(insns, bpf.INSN_BYTES * count))
        return real(command, attr)

    def last() -> Loaded:
        said = re.search(rb"stack depth ([\d+]+)", log.value)
        assert said, log.value
        return kept[-1], [int(octets) for octets in said[1].split(b"+")]

    monkeypatch.setattr(bpf, "_bpf", with_statistics)
    return last


@pytest.mark.parametrize("text", PROGRAMS, ids=range(len(PROGRAMS)))
def test_it_is_the_verifiers(text: str, made: TestStage, compiler: Compiler, loaded: Callable[[], Loaded]) -> None:
    """The verifier counts in words, and gives a function that calls bpf_loop three more, where it puts it in line.
    Memory makes a program a node: without it, it would be a filter among others."""
    text = f"MEM.Q[7] = 1; {text}"
    placed = made.open(1, [DEVICE, Node("FPL-2", text, (0,), MBUF, deliver=False)]).placed[1]
    assert placed.level is Level.KERNEL, placed.reason
    alone = program_of(check(text, mbuf_bytes=MBUF, policy=POLICY), compiler, nodes_library())
    insns, frames = loaded()
    found = measure(alone)
    calls_loop = struct.pack("<BBhi", bpf.CALL, 0, 0, ebpf.LOOP)
    looping = [any(part[at : at + 8] == calls_loop for at in range(0, len(part), 8)) for part in parts_of(alone)]
    assert frames == [-(-frame // 8) * 8 + 24 * loops for frame, loops in zip(found.frames, looping, strict=True)]
    assert len(alone) == len(insns) == bpf.INSN_BYTES * found.insns
    assert found.stack % FRAME_STEP == 0
    assert max(found.frames) < found.stack <= 512
