# SPDX-License-Identifier: BSD-3-Clause
"""Every linter is content with every file."""

from __future__ import annotations

import re

import pytest

from compat_tests import lint


@pytest.mark.parametrize("name", lint.LINTERS)
def test_linter_is_content(name: str) -> None:
    content, words = lint.run_linter(lint.LINTERS[name]())
    assert content, words


def test_no_file_is_too_long_to_hold_in_the_head() -> None:
    too_long = {}
    for file in [*lint.c_files(), *lint.python_files()]:
        with (lint.ROOT / file).open() as lines:
            count = sum(1 for _ in lines)
        if count > 500:
            too_long[file] = count
    assert not too_long


def test_no_path_of_a_machine_and_no_unfinished_work() -> None:
    # The words are put together here, else this file would find itself.
    machine = re.compile("(^|[^A-Za-z0-9_.])/(" + "|".join(["home", "root"]) + ")/")
    unfinished = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX"]) + r")\b")
    found = []
    for file in lint.tracked("*.c", "*.h", "*.py", "*.md", "*.sh", "*.toml", "Makefile"):
        for number, line in enumerate((lint.ROOT / file).read_text().splitlines(), 1):
            if machine.search(line) or unfinished.search(line):
                found.append(f"{file}:{number}: {line.strip()}")
    assert not found, "\n".join(found)
