# SPDX-License-Identifier: BSD-3-Clause
"""Runs the blocks of a document one after the other, as its reader would, and compares what it shows.

```sh               run by bash; an exit code other than 0 fails
```python           run with the names of the Python blocks before it
```python NAME      written to the file NAME instead
```text             what the block before it prints; "..." stands for any text, on a line of its own for any lines
"""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCK = re.compile(r"^```(?P<info>\w+)(?: +(?P<file>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
TIMEOUT_S = 120


@dataclass(frozen=True)
class Block:
    kind: str  # "sh", "python", "text"
    file: str  # "" when it is run
    text: str
    line: int  # of the document, from 1


def blocks(document: str) -> list[Block]:
    """All fenced blocks with a kind."""
    return [
        Block(found["info"], found["file"] or "", found["text"], document.count("\n", 0, found.start()) + 1)
        for found in BLOCK.finditer(document)
    ]


def matches(expected: str, printed: str) -> bool:
    """Whether the shown output is what was printed; blanks at line ends do not count."""
    lines = []
    for line in expected.rstrip("\n").split("\n"):
        if line.strip() == "...":
            lines.append(r"(?:[^\n]*\n)*")
        else:
            lines.append(".*".join(re.escape(part) for part in line.rstrip().split("...")) + r"[ \t]*\n")
    return re.fullmatch("".join(lines), printed.rstrip("\n") + "\n") is not None


def run(document: Path, folder: Path, environ: Mapping[str, str]) -> int:
    """Runs it in a folder, which is also the current one; how many blocks. AssertionError names the line."""
    names: dict[str, Any] = {"__name__": "__main__"}
    printed, where, count = "", "", 0
    for block in blocks(document.read_text()):
        place = f"{document.name}:{block.line}"
        if block.kind == "text":
            assert matches(block.text, printed), f"{place}: {where} printed\n{printed}"
            continue
        where, count = place, count + 1
        if block.file:
            (folder / block.file).write_text(block.text)
        elif block.kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile("\n" * block.line + block.text, str(document), "exec"), names)
            printed = output.getvalue()
        else:
            assert block.kind == "sh", f"{place}: what is a block of {block.kind}?"
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.text], cwd=folder, env=dict(environ), text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT_S,
            )  # fmt: skip
            assert done.returncode == 0, f"{place}: exit code {done.returncode}\n{done.stdout}"
            printed = done.stdout
    return count
