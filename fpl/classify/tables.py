# SPDX-License-Identifier: BSD-3-Clause
"""The program in slot 0: verdict = the columns that accept everything, then the chain."""

from __future__ import annotations

import mmap
import os

import numpy as np

from fpl.classify import bpf, ir, layout
from fpl.classify.bytecode import ClassifyRefused
from fpl.classify.compiler import Compiler


class Tables:
    def __init__(self, compiler: Compiler, scratch_fd: int, progs_fd: int, chain_slot: int) -> None:
        self._compiler, self._scratch, self._progs, self._chain_slot = compiler, scratch_fd, progs_fd, chain_slot
        self._fd = bpf.map_create(bpf.MAP_TYPE_ARRAY, mmap.PAGESIZE, 1, "ffpf_always", flags=bpf.F_MMAPABLE)
        self._memory = mmap.mmap(self._fd, mmap.PAGESIZE)
        self._always = np.frombuffer(self._memory, dtype=np.uint64)
        self.prog_fd = self._compile()

    def _compile(self) -> int:
        body = ir.map_value("always", self._fd)
        for word in range(layout.WORDS):
            body += [f"  %a{word}.p = getelementptr i64, ptr %always, i64 {word}",
                     f"  %a{word} = load i64, ptr %a{word}.p, align 8",
                     f"  %v{word}.p = getelementptr i64, ptr %scratch, i64 {word}",
                     f"  store i64 %a{word}, ptr %v{word}.p, align 8"]  # fmt: skip
        insns = self._compiler.compile(
            ir.module(self._scratch, self._progs, [], [*body, "  br label %done"], [self._chain_slot])
        )
        try:
            return bpf.prog_load(insns, "ffpf_classify")
        except bpf.VerifierError as error:
            raise ClassifyRefused(f"the verifier refused: {error}") from error

    def set_always(self, column: int, accepts: bool) -> None:
        bit = np.uint64(1 << column % 64)
        word = self._always[column // 64]
        self._always[column // 64] = word | bit if accepts else word & ~bit

    def close(self) -> None:
        os.close(self.prog_fd)
        del self._always
        self._memory.close()
        os.close(self._fd)
