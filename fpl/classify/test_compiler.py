# SPDX-License-Identifier: BSD-3-Clause
"""The compiler process may die, hang or run out of memory: its owner gets a refusal, and the next compilation works."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from fpl.classify import Classifier, ClassifyRefused, bpf, ir
from fpl.classify.compiler import Compiler
from fpl.classify.testing import Packet, TestSource, octets_of

GOOD = ir.HEAD + 'define i32 @f(ptr %ctx) section "program" {\n  ret i32 5\n}\n!0 = !{}\n'
DEEP = GOOD.replace("ret i32 5", "%a = alloca [600 x i8]\n  call i32 inttoptr (i64 8 to ptr)(ptr %a)\n  ret i32 5")
# A division that LLVM's back end for BPF cannot lower before cpu v4.
SIGNED = GOOD.replace("ret i32 5", "%a = load i32, ptr %ctx\n  %b = sdiv i32 7, %a\n  ret i32 %b")
RELOCATED = GOOD.replace("ret i32 5", "%a = call i32 @g()\n  ret i32 %a") + "declare i32 @g()\n"


@pytest.fixture
def compiler() -> Iterator[Compiler]:
    made = Compiler()
    yield made
    made.close()


def works(compiler: Compiler) -> bool:
    fd = bpf.prog_load(compiler.compile(GOOD), "t_good")
    returned, _ = bpf.prog_test_run(fd, bytes(64))
    os.close(fd)
    return returned == 5


@pytest.mark.parametrize("text", [DEEP, SIGNED], ids=["stack", "signed division"])
def test_death_is_a_refusal_with_llvms_words(compiler: Compiler, text: str) -> None:
    assert works(compiler)
    with pytest.raises(ClassifyRefused, match="compiler") as refusal:
        compiler.compile(text)
    assert "rror" in str(refusal.value)
    assert works(compiler)


@pytest.mark.parametrize("text", ["nonsense", RELOCATED], ids=["text", "relocations"])
def test_what_llvm_refuses(compiler: Compiler, text: str) -> None:
    with pytest.raises(ClassifyRefused, match="refused"):
        compiler.compile(text)
    assert works(compiler)


def test_a_compilation_that_does_not_end() -> None:
    """One second of processor time, for blocks that each may lead to all."""
    many = 6000
    blocks = "".join(
        f"b{i}:\n  %x{i} = load volatile i32, ptr %ctx\n  switch i32 %x{i}, label %end ["
        + " ".join(f"i32 {j}, label %b{(i * 31 + j * 17) % many}" for j in range(12)) + "]\n"
        for i in range(many)
    )  # fmt: skip
    text = GOOD.replace("ret i32 5", f"br label %b0\n{blocks}end:\n  ret i32 0")
    compiler = Compiler(seconds=1)
    try:
        with pytest.raises(ClassifyRefused, match="compiler"):
            compiler.compile(text)
        assert works(compiler)
    finally:
        compiler.close()


def test_too_little_memory() -> None:
    compiler = Compiler(memory_bytes=1 << 20)
    try:
        with pytest.raises(ClassifyRefused, match="compiler"):
            compiler.compile(GOOD)
    finally:
        compiler.close()


def test_a_killed_compiler_leaves_columns_as_they_were(source: TestSource, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = Compiler()
    classifier = Classifier(source.maps, compiler=compiler)
    accept_one = octets_of([(0x30, 0, 0, 0), (0x15, 0, 1, 1), (0x06, 0, 0, 9), (0x06, 0, 0, 0)])
    classifier.set(0, accept_one)
    before = classifier.prog_ids
    monkeypatch.setattr(ir, "module", lambda *_, **__: DEEP)
    accept_other = octets_of([(0x30, 0, 0, 50), (0x15, 0, 1, 1), (0x06, 0, 0, 9), (0x06, 0, 0, 0)])
    for column in (0, 1):
        with pytest.raises(ClassifyRefused, match="compiler died"):
            classifier.set(column, accept_other)
    monkeypatch.undo()
    assert classifier.prog_ids == before
    assert source.judge(Packet(b"\1" * 60))[0] == 1
    classifier.set(1, accept_other)
    assert source.judge(Packet(b"\1" * 60))[0] == 3
    classifier.close()
    compiler.close()
