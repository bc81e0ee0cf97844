# SPDX-License-Identifier: BSD-3-Clause
"""What is published says what the compiler knows: documents and editors' syntax files are as they would be made anew,
and those files see programs as the compiler does."""

from __future__ import annotations

import json
import re
import runpy
from typing import Any

import pytest
from pygments.token import Comment, Error, Keyword, Name, Number, String

from fpl.fpl2.parse import grammar
from fpl.fpl2.published import DOCS, PAGES, fields, keywords
from fpl.fpl2.random_programs import Programs

EXAMPLES = sorted((DOCS / "examples").glob("*.fpl"))
KINDS = [
    ("return", Keyword), ("Starts", Keyword), ("TCP_DPORT", Name.Builtin), ("interface", Name.Builtin),
    ("MEM", Keyword.Type),
    ("U128", Keyword.Type), ("s4", Keyword.Type), ("mine", Name), ("IFS", Name), ("42", Number), ("0x1F", Number),
    ("10.0.0.0/8", Number), ("2001:db8::/32", Number), ("::", Number), ("00:11:22:33:44:55", Number),
    ('"a\\"b"i', String),
    ("// x", Comment.Single), ("/* x\n */", Comment.Multiline),
]  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_as_they_would_be_made(name: str) -> None:
    """If not: python -m fpl.fpl2.published."""
    assert (DOCS / name).read_text() == PAGES[name]()


def test_keywords_are_those_of_the_grammar() -> None:
    """All words that stand in its rules, and no other, can be no name."""
    words = {each.pattern.value.upper() for each in grammar().terminals if each.pattern.value.isalpha()}
    assert words | {"NOT"} == set(keywords())
    assert {"EXTERN", "IF", "IN", "STARTS", "USE"} <= words


def lexer() -> Any:
    return runpy.run_path(str(DOCS / "editors" / "fpl2_lexer.py"))["Fpl2Lexer"]()


@pytest.mark.parametrize(("text", "kind"), KINDS, ids=[text for text, _ in KINDS])
def test_pygments_and_textmate_know_what_words_are(text: str, kind: Any) -> None:
    assert [found for found in lexer().get_tokens(text) if found[1].strip()] == [(kind, text)]
    page = json.loads((DOCS / "editors" / "fpl2.tmLanguage.json").read_text())
    names = [each["name"] for each in page["patterns"] if re.fullmatch(each.get("match", each["name"]), text)]
    if kind is Comment.Multiline:
        block = page["patterns"][0]
        assert re.match(block["begin"], text)
        assert re.search(block["end"], text)
    else:
        assert names[0].split(".")[0] == {
            Keyword: "keyword", Name.Builtin: "support", Keyword.Type: "storage", Name: "variable", Number: "constant",
            String: "string", Comment.Single: "comment",
        }[kind]  # fmt: skip


def test_pygments_reads_every_program() -> None:
    texts = [path.read_text() for path in EXAMPLES] + [Programs(seed).program() for seed in range(50)]
    for text in texts:
        tokens = list(lexer().get_tokens(text))
        assert not [word for kind, word in tokens if kind is Error], text
        assert "".join(word for _, word in tokens).strip() == text.strip()


def test_vim_knows_all_words() -> None:
    text = (DOCS / "editors" / "fpl2.vim").read_text()
    groups: dict[str, set[str]] = {}
    for group, words in re.findall(r"^syntax keyword (\w+) (.*)$", text, re.MULTILINE):
        groups.setdefault(group, set()).update(words.split())
    assert groups["fplKeyword"] == set(keywords())
    assert groups["fplField"] == set(fields())
    linked = set(re.findall(r"^highlight default link (\w+)", text, re.MULTILINE))
    assert linked == set(re.findall(r"^syntax \w+ (fpl\w+)", text, re.MULTILINE))
