# SPDX-License-Identifier: BSD-3-Clause
"""Many patterns at once: Aho-Corasick against trying each, vectorscan against Python's `re`."""

from __future__ import annotations

import os
import random
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from externs.extern_use import Use, udp

LETTERS = st.lists(st.sampled_from(b"ab\x00\xff"), min_size=1, max_size=6).map(bytes)
PATTERNS = st.lists(st.one_of(LETTERS, st.binary(min_size=1, max_size=5)), max_size=12)
TEXTS = st.one_of(st.lists(st.sampled_from(b"abc\x00\xff"), max_size=60).map(bytes), st.binary(max_size=200))


def escaped(pattern: bytes) -> str:
    return "".join(f"\\x{octet:02x}" for octet in pattern)


def in_memory(patterns: list[bytes], version: int = 1) -> bytes:
    head = struct.pack("=II", version, len(patterns))
    return head + b"".join(struct.pack("=H", len(each)) + each for each in patterns)


def first_match(patterns: list[bytes], text: bytes) -> tuple[int, int, int] | None:
    """(1 + number, begin, octets): the match that ends first, of those the longest, of equal patterns the first."""
    ends = [(text.find(each) + len(each), -len(each), number) for number, each in enumerate(patterns) if each in text]
    if not ends:
        return None
    end, length, number = min(ends)
    return number + 1, end + length, -length


@settings(max_examples=400, deadline=None)
@given(PATTERNS, TEXTS)
def test_aho_corasick_finds_what_trying_each_finds(patterns: list[bytes], text: bytes) -> None:
    with Use("ahocorasick mbuf=300", 512) as function:
        octets = in_memory(patterns)
        function.memory[2 : 2 + len(octets)] = octets
        expected = first_match(patterns, text)
        assert function(text, 2, 400) == (expected[0] if expected else 0)
        if expected:
            assert struct.unpack_from("=II", function.memory, 400) == expected[1:]


def test_a_set_in_memory_is_read_again_when_its_version_changes() -> None:
    with Use("ahocorasick of=payload", 8192) as function:
        packet = udp(b"xx two xx")
        assert function(packet, 0, 4096) == 0
        for patterns, version, expected in (([b"one", b"two"], 1, 2), ([b"two"], 1, 2), ([b"two"], 2, 1), ([], 3, 0)):
            octets = in_memory(patterns, version)
            function.memory[: len(octets)] = octets
            assert function(packet, 0, 4096) == expected
        assert struct.unpack_from("=II", function.memory, 4096) == (packet.index(b"two"), 3)


@pytest.mark.parametrize("octets", [
    struct.pack("=II", 1, 0xFFFFFFFF), struct.pack("=IIH", 1, 1, 0xFFFF), struct.pack("=IIH", 1, 2, 0),
    struct.pack("=IIH2sH", 1, 2, 2, b"ab", 5),
])  # fmt: skip
def test_sets_in_memory_that_lie(octets: bytes) -> None:
    with Use("ahocorasick mbuf=16", 64) as function:
        function.memory[48 - len(octets) : 48] = octets[:16]
        at = min(48 - len(octets), 48)
        assert function(b"", at, 0) == 0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where programs' files are."""
    monkeypatch.setenv("FFPF_FPL_PATH", f"/none:relative:{tmp_path}")
    return tmp_path


def test_files_of_patterns(folder: Path) -> None:
    path = folder / "patterns"
    path.write_bytes(b"GET /\r\n\n\\x00\\xff\nwith blank\n")
    with Use(f"ahocorasick file={path.name}", 16) as function:
        assert [function(text) for text in (b".with blank", b"..\0\xff", b"GET /", b"GET")] == [3, 2, 1, 0]
    with Use(f"vectorscan file={path.name} literal", 16) as function:
        assert [function(text) for text in (b".with blank", b"..\0\xff", b"GET /", b"GET")] == [3, 2, 1, 0]
    path.write_bytes(b"")
    for name in ("ahocorasick", "vectorscan"):
        with Use(f"{name} file={path.name}", 16) as function:
            assert function(b"anything") == 0
    path.write_bytes(b"good\n\\bad\n")
    with pytest.raises(ValueError, match=r"an escape that is none \(.*, line 2\)"):
        Use(f"ahocorasick file={path.name}", 16)
    with pytest.raises(ValueError, match="No such file"):
        Use(f"ahocorasick file={path.name}.not", 16)


def test_files_are_those_of_the_folders_for_programs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "words").write_text("GET\n")
    (folder / "inner").mkdir()
    (folder / "inner" / "words").write_text("secret\n")
    os.mkfifo(folder / "pipe")
    for name in ("ahocorasick", "vectorscan"):
        for file in (folder / "words", "inner/words", "../words", ".", "..", "./words", "''"):
            with pytest.raises(ValueError, match="a file is named without its folder"):
                Use(f"{name} file={file}", 16)
        for file in ("inner", "pipe"):
            with pytest.raises(ValueError, match=f"{file} is no ordinary file"):
                Use(f"{name} file={file}", 16)
        with Use(f"{name} file=words", 16) as function:
            assert [function(text) for text in (b"GET", b"secret")] == [1, 0]
        monkeypatch.setenv("FFPF_FPL_PATH", "")
        with pytest.raises(ValueError, match="no files may be used here"):
            Use(f"{name} file=words", 16)
        monkeypatch.setenv("FFPF_FPL_PATH", f"{folder}/inner:{folder}")
        with Use(f"{name} file=words", 16) as function:
            assert [function(text) for text in (b"GET", b"secret")] == [0, 1]  # the first that there is
        monkeypatch.setenv("FFPF_FPL_PATH", str(folder))


def test_ten_thousand_patterns_in_both(folder: Path) -> None:
    chance = random.Random(10_000)
    patterns = list(dict.fromkeys(chance.randbytes(chance.randrange(5, 15)) for _ in range(10_000)))
    path = folder / "patterns"
    path.write_text("\n".join(map(escaped, patterns)))
    with (
        Use(f"ahocorasick file={path.name}", 16) as automaton,
        Use(f"vectorscan file={path.name} literal", 16) as vectorscan,
    ):
        for _ in range(300):
            number, text = chance.randrange(len(patterns)), chance.randbytes(1400)
            at = chance.randrange(1300)
            assert automaton(text) == vectorscan(text) == 0
            text = text[:at] + patterns[number] + text[at + len(patterns[number]) :]
            assert automaton(text) == vectorscan(text) == number + 1


def test_a_set_that_is_too_large_is_refused(folder: Path) -> None:
    chance = random.Random(1)
    path = folder / "patterns"
    path.write_text("\n".join(escaped(chance.randbytes(60)) for _ in range(6_000)))
    with pytest.raises(ValueError, match=r"6000 patterns need a table of .* more than 256: take vectorscan"):
        Use(f"ahocorasick file={path.name}", 16)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["ab+c", "a.c", "^GET", "[0-9]{3}", "(foo|ba[rz])+x", "\\\\x00\\\\xff"]), TEXTS)
def test_vectorscan_says_what_re_says(expression: str, text: bytes) -> None:
    text += random.Random(len(text)).choice([b"", b"GET abbc", b"123", b"foobazx", b"\0\xff"])
    expression = expression.replace("\\\\", "\\")
    with Use(f"vectorscan regex='{expression}'", 16) as function:
        found = re.search(expression.encode(), text, re.DOTALL)
        assert function(text, 0, 5) == int(found is not None)
        if found:
            (end,) = struct.unpack_from("=I", function.memory, 5)
            assert re.search(expression.encode(), text[:end], re.DOTALL)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        ("vectorscan", "which expressions"),
        ("vectorscan regex=a file=b", "which expressions"),
        ("vectorscan regex='a('", "expression 1: "),
        ("vectorscan regex='a*'", "expression 1: "),  # would match nothing at all, everywhere
        ("ahocorasick mbuf=4", "no number from 8"),
        ("ahocorasick tea", 'what is "tea"'),
    ],
)
def test_what_is_refused(use: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Use(use, 8192)
