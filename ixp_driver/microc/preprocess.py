# SPDX-License-Identifier: BSD-3-Clause
"""First pass: comments, #include and #define, as far as microengine C has them.

takes    text, and who gives the text of an included file
gives    text for the parser, which lines it came from told by #line

#define NAME words, without arguments, and #undef NAME; #include "file"; a guard of a header, #ifndef NAME, #define
NAME, #endif around all of it. Nothing else begins with #.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ixp_driver.microc.ir import CompileError

Files = Callable[[str], str]  # a name to its text; OSError: there is none
DEPTH_MAX = 8
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_WORD = re.compile(r"\b[A-Za-z_]\w*\b")


class Preprocessor:
    def __init__(self, files: Files) -> None:
        self._files = files
        self._defined: dict[str, str] = {}
        self._guarded: set[str] = set()
        self._out: list[str] = []

    def text(self, text: str, name: str, depth: int = 0) -> str:
        if depth > DEPTH_MAX:
            raise CompileError(f"{name}: more than {DEPTH_MAX} files within each other")
        lines = _COMMENT.sub(lambda found: "\n" * found[0].count("\n") or " ", text).split("\n")
        self._out.append(f'#line 1 "{name}"')
        skipped = False
        for number, line in enumerate(lines, 1):
            words = line.split()
            directive = words[0] if words and words[0].startswith("#") else ""
            if skipped or not directive:
                self._out.append("" if skipped else self._expanded(line))
                continue
            self._out.append("")
            skipped = self._directive(directive, words[1:], f"{name}:{number}", depth)
            if directive == "#include":
                self._out.append(f'#line {number + 1} "{name}"')
        return "\n".join(self._out)

    def _directive(self, directive: str, words: list[str], where: str, depth: int) -> bool:
        """True: the rest of the file was there before."""
        if directive == "#define" and words and words[0].isidentifier():
            self._defined[words[0]] = self._expanded(" ".join(words[1:]))
        elif directive == "#undef" and len(words) == 1:
            self._defined.pop(words[0], None)
        elif directive == "#ifndef" and len(words) == 1:
            if words[0] in self._guarded:
                return True
            self._guarded.add(words[0])
        elif directive == "#include" and len(words) == 1 and words[0][:1] == words[0][-1:] == '"':
            try:
                text = self._files(words[0][1:-1])
            except OSError:
                raise CompileError(f"{where}: there is no {words[0]}") from None
            self.text(text, words[0][1:-1], depth + 1)
        elif directive != "#endif":
            raise CompileError(f"{where}: {directive} {' '.join(words)}: microengine C has no such line")
        return False

    def _expanded(self, line: str) -> str:
        for _ in range(DEPTH_MAX):
            after = _WORD.sub(lambda found: self._defined.get(found[0], found[0]), line)
            if after == line:
                break
            line = after
        return line
