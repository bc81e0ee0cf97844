# SPDX-License-Identifier: BSD-3-Clause
"""The tutorial and the cookbook do what they say: each block is run, in order, and what it shows is compared."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from compat_tests import documents, harness

DOCS = harness.ROOT / "docs"


def environment() -> dict[str, str]:
    """As in a shell of the project: its commands are found, its modules too."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(harness.ROOT), "TZ": "UTC", "LC_ALL": "C.UTF-8"}


def test_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert documents.run(DOCS / "tutorial.md", tmp_path, environment()) >= 12


def test_cookbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not harness.SHARED_CAPTURES.is_dir():
        pytest.skip(f"the captures are not there: {harness.SHARED_CAPTURES}")
    for capture in harness.SHARED_CAPTURES.glob("*.pcap*"):
        (tmp_path / capture.name).symlink_to(capture)
    monkeypatch.chdir(tmp_path)
    assert documents.run(DOCS / "cookbook.md", tmp_path, environment()) >= 10


def test_output_is_compared() -> None:
    assert documents.matches("a ... b\n...\nend\n", "a 1 b\nx\ny\nend  \n")
    assert documents.matches("...\nend\n", "end\n")
    assert not documents.matches("a\n", "a\nb\n")
    assert not documents.matches("a ... b\n", "a\nb\n")
    assert not documents.matches("a.c\n", "abc\n")


def test_a_document_that_is_wrong_fails(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("x\n\n```sh\necho one\n```\n\n```text\ntwo\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md:7: page\.md:3 printed\none"):
        documents.run(page, tmp_path, environment())
    page.write_text("```sh\nfalse\n```\n")
    with pytest.raises(AssertionError, match="exit code 1"):
        documents.run(page, tmp_path, environment())
    page.write_text("```python\nprint(1)\n```\n```text\n1\n```\n```python\n1 / 0\n```\n")
    with pytest.raises(ZeroDivisionError):
        documents.run(page, tmp_path, environment())
