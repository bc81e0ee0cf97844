# SPDX-License-Identifier: BSD-3-Clause
"""The compiler process may die, hang or run out of memory: its owner gets a refusal, and the next compilation works."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from fpl.classify import Classifier, ClassifyRefused, bpf, ir
from fpl.classify import compiler as compiler_module
from fpl.classify.compiler import Compiler, Module
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


def test_a_process_does_not_grow_until_it_dies(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """The 8,000th of random programs was refused for want of memory, which those before had taken and not returned."""
    monkeypatch.setattr(compiler_module, "RENEWED", 2)
    seen = []
    for _ in range(5):
        assert works(compiler)
        seen.append(compiler.pid)
    assert seen[0] == seen[1] != seen[2] == seen[3] != seen[4]


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


def calling(*names: str) -> str:
    """A program that returns the sum of what functions say of 3."""
    lines = "".join(f"  %{name}.said = call i64 @{name}(i64 3)\n" for name in names)
    total = "".join(f"  %{name}.sum = add i64 %{name}.said, {before}\n"
                    for name, before in zip(names, ["0", *(f"%{n}.sum" for n in names)], strict=False))  # fmt: skip
    ret = f"{lines}{total}  %low = trunc i64 %{names[-1]}.sum to i32\n  ret i32 %low"
    return GOOD.replace("ret i32 5", ret) + "".join(f"declare i64 @{name}(i64)\n" for name in names)


def times(factor: int) -> Module:
    """With a function of its own."""
    return Module(ir.of_functions([], f"""
        define i64 @classify(i64 %n) noinline section "program" {{
          %more = call i64 @inner(i64 %n)
          ret i64 %more
        }}
        define internal i64 @inner(i64 %n) noinline section "program" {{
          %more = mul i64 %n, {factor}
          ret i64 %more
        }}"""))  # fmt: skip


def returned(insns: bytes) -> int:
    fd = bpf.prog_load(insns, "t_linked")
    said, _ = bpf.prog_test_run(fd, bytes(64))
    os.close(fd)
    return said


def test_functions_are_compiled_once_whatever_programs_have_them(compiler: Compiler) -> None:
    assert returned(compiler.compile(calling("a", "b"), functions={"a": times(5), "b": times(7)})) == 36
    assert compiler.count == 3
    assert returned(compiler.compile(calling("b", "c", "a"), functions={"a": times(5), "b": times(7), "c": times(7)})) \
        == 57  # fmt: skip
    assert compiler.count == 4


def test_a_function_that_is_nowhere_is_a_refusal(compiler: Compiler) -> None:
    with pytest.raises(ClassifyRefused, match="relocations: b is nowhere"):
        compiler.compile(calling("a", "b"), functions={"a": times(5)})
    with pytest.raises(ClassifyRefused, match="relocations: a is nowhere"):
        compiler.compile(calling("b"), functions={"b": Module(calling("a").replace("@f", "@classify"))})
