# SPDX-License-Identifier: BSD-3-Clause
"""What is published of the language, made from where it is defined: the grammar and the names as documents, and syntax
files for editors. `python -m fpl.fpl2.published` writes them anew; a test holds those that are there against this.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from fpl.fpl2 import pretty
from fpl.fpl2.found import FOUND
from fpl.fpl2.parse import grammar
from fpl.fpl2.scope import FACTS, FIELDS, UNITS, standard

DOCS = Path(__file__).parent.parent.parent / "docs"
MARK = "made by python -m fpl.fpl2.published"
_EXCLUDED = re.compile(r"\(\?!\(([a-z|]+)\)")
KIND = r"[US](?:1|2|4|8|16|32|64|128)"
NUMBER = r"(?:0[xX][0-9a-fA-F]+|0[bB][01]+|[0-9]+)"
ADDRESS = r"[0-9]+(?:\.[0-9]+){3}(?:/[0-9]+)?"
ADDRESS6 = r"[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}(?:/[0-9]+)?"
OPERATOR = r"\+\+|--|&&|\|\||<<=|>>=|<<|>>|[-+*/%&^|=!<>]=|\.\.|[-+*/%&^|=!<>~]"


def grammar_text() -> str:
    return (Path(__file__).parent / "grammar.lark").read_text()


def keywords() -> list[str]:
    """Those of the grammar, in order; all that NAME leaves out."""
    (name,) = (each.pattern.value for each in grammar().terminals if each.name == "NAME")
    found = _EXCLUDED.search(name)
    assert found is not None
    return sorted(found[1].upper().split("|"))


def fields() -> list[str]:
    return [*FACTS, *FOUND, *standard().names(), "INTERFACE"]


def _grammar_page() -> str:
    return f"""# The grammar of FPL-2

`fpl/fpl2/grammar.lark`, which the compiler reads ({MARK}): rules as in
[lark](https://lark-parser.readthedocs.io/en/stable/grammar.html), `i` behind a word for any case, numbers behind
terminals for which is tried first. What it means: [fpl-2.md](fpl-2.md); what names mean:
[fpl-2-names.md](fpl-2-names.md).

```lark
{grammar_text()}```
"""


def _names_page() -> str:
    lines = [f"""# The names of FPL-2

What a program may call by a name ({MARK}). `PKT.` may stand before it, and `INNER.` for the packet
that this one carries. A field of a header that the packet has not reads 0. Names of your own: [fpl-2.md](fpl-2.md).
"""]  # fmt: skip
    for heading, known in (("What the hook knows", FACTS), ("What is found in the packet", FOUND)):
        lines += [f"## {heading}", "", "| name | is |", "|---|---|"]
        lines += [*(f"| `{name}` | {words} |" for name, words in known.items()), ""]
    for heading, names in _sections():
        lines += [f"## {heading}", "", "| name | stands for | where |", "|---|---|---|"]
        for name in names:
            macro = standard().lookup(name)[0]
            assert macro is not None
            value, test = _code(pretty.expression(macro.value)), macro.test
            lines.append(f"| `{name}` | {value} | {_code(pretty.expression(test)) if test else ''} |")
        lines.append("")
    return "\n".join(lines)


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _sections() -> list[tuple[str, list[str]]]:
    """Of fields.fpl: comments before macros, and the macros' names."""
    found: list[tuple[str, list[str]]] = []
    comment: list[str] = []
    blocks = (Path(__file__).parent / FIELDS).read_text().split("\n\n")[1:]  # the first is the file's own
    for block in blocks:
        comment = []
        for line in block.splitlines():
            if line.startswith("//"):
                comment.append(line[2:].strip())
            elif line.startswith("MACRO"):
                if comment or not found:
                    found.append((" ".join(comment) or "Truth", []))
                    comment = []
                found[-1][1].append(line.split()[1])
    return found


def _vim() -> str:
    def words(group: str, names: list[str]) -> list[str]:
        return [f"syntax keyword {group} {' '.join(names[at : at + 8])}" for at in range(0, len(names), 8)]

    return "\n".join([
        '" SPDX-License-Identifier: BSD-3-Clause',
        f'" Vim syntax of FPL-2, {MARK}. To ~/.vim/syntax/fpl2.vim; and in your vimrc:',
        '"   autocmd BufRead,BufNewFile *.fpl setfiletype fpl2',
        'if exists("b:current_syntax")', "  finish", "endif", "syntax case ignore",
        *words("fplKeyword", keywords()),
        *words("fplField", fields()),
        "syntax keyword fplPlace PKT MEM M R INNER " + " ".join(UNITS),
        r"syntax match fplPlace /\v<M(EM)?\@\h\w*>/",
        r"syntax match fplPlace /\v<[US](1|2|4|8|16|32|64|128)>/",
        r"syntax match fplNumber /\v<(0x\x+|0b[01]+|\d+(\.\d+\.\d+\.\d+(\/\d+)?)?)>/",
        r"syntax match fplNumber /\v<\x{0,4}(:\x{0,4}){2,7}(\/\d+)?/",
        r'syntax region fplString start=/"/ skip=/\\./ end=/"i\?/ oneline',
        r"syntax match fplComment /\/\/.*$/", r"syntax region fplComment start=/\/\*/ end=/\*\//",
        "highlight default link fplKeyword Keyword", "highlight default link fplField Identifier",
        "highlight default link fplPlace Type", "highlight default link fplNumber Number",
        "highlight default link fplString String", "highlight default link fplComment Comment",
        'let b:current_syntax = "fpl2"', "",
    ])  # fmt: skip


def _any_of(words: list[str]) -> str:
    return "|".join(sorted(words, key=lambda word: (-len(word), word)))


# name of TextMate's scope, of Pygments' token, what it matches; the first that does is it
TOKENS: list[tuple[str, str, Callable[[], str]]] = [
    ("comment.line.double-slash", "Comment.Single", lambda: r"//[^\n]*"),
    ("comment.block", "Comment.Multiline", lambda: r"/\*[\s\S]*?\*/"),
    ("string.quoted.double", "String", lambda: r'"(?:[^"\\\n]|\\.)*"(?:i\b)?'),
    ("constant.numeric.address", "Number", lambda: ADDRESS6),
    ("constant.numeric.address", "Number", lambda: ADDRESS),
    ("constant.numeric", "Number", lambda: NUMBER + r"\b"),
    ("keyword.control", "Keyword", lambda: rf"\b(?:{_any_of(keywords())})\b"),
    ("support.variable", "Name.Builtin", lambda: rf"\b(?:{_any_of(fields())})\b"),
    (
        "storage.type",
        "Keyword.Type",
        lambda: rf"\b(?:PKT|M(?:EM)?(?:@[A-Za-z_][A-Za-z0-9_]*)?|R|INNER|{_any_of([*UNITS])}|{KIND})\b",
    ),
    ("variable.other", "Name", lambda: r"[A-Za-z_][A-Za-z0-9_]*"),
    ("keyword.operator", "Operator", lambda: OPERATOR),
    ("punctuation", "Punctuation", lambda: r"[][(){};,.]"),
]


def _textmate() -> str:
    patterns = [{"name": f"{scope}.fpl2", "match": f"(?i){match()}"} for scope, _, match in TOKENS
                if scope != "comment.block"]  # fmt: skip
    block = {"name": "comment.block.fpl2", "begin": "/\\*", "end": "\\*/"}
    page = {
        "$comment": MARK,
        "name": "FPL-2",
        "scopeName": "source.fpl2",
        "fileTypes": ["fpl"],
        "patterns": [block, *patterns],
    }
    return json.dumps({**page, "patterns": [block, *patterns]}, indent=2) + "\n"


def _pygments() -> str:
    rows = "\n".join(f"            ({_quoted(match())}, {token})," for _, token, match in TOKENS)
    return f'''# SPDX-License-Identifier: BSD-3-Clause
"""FPL-2 for Pygments, {MARK}: pygmentize -x -l fpl2_lexer.py:Fpl2Lexer program.fpl"""

from __future__ import annotations

import re
from typing import ClassVar

from pygments.lexer import RegexLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Whitespace


class Fpl2Lexer(RegexLexer):  # type: ignore[misc]
    name = "FPL-2"
    aliases: ClassVar = ["fpl2"]
    filenames: ClassVar = ["*.fpl"]
    flags = re.IGNORECASE
    tokens: ClassVar = {{
        "root": [
            (r"\\s+", Whitespace),
{rows}
        ]
    }}  # fmt: skip
'''


def _quoted(text: str) -> str:
    """Literals of Python, a line each."""
    quote = "'" if '"' in text else '"'
    pieces = textwrap.wrap(text.replace("|", "| "), 90) if len(text) > 90 and text[0] == "\\" else [text]
    return "\n             ".join(f"r{quote}{piece.replace('| ', '|')}{quote}" for piece in pieces)


PAGES: dict[str, Callable[[], str]] = {
    "fpl-2-grammar.md": _grammar_page,
    "fpl-2-names.md": _names_page,
    "editors/fpl2.vim": _vim,
    "editors/fpl2.tmLanguage.json": _textmate,
    "editors/fpl2_lexer.py": _pygments,
}


def main() -> None:
    for name, made in PAGES.items():
        path = DOCS / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(made())
        print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
