# SPDX-License-Identifier: BSD-3-Clause
"""Manual pages and completions: well-formed, and they know the options that the commands have."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pyffpf.filter_classes import classes

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
PAGES = sorted((DOCS / "man").iterdir())
COMMANDS = [  # page, module, subcommand
    ("ffpf.1", "ffpf", "status"),
    ("ffpf.1", "ffpf", "top"),
    ("ffpf-extcap.1", "extcap", ""),
    ("ffpf-flow.1", "flow", ""),
    ("ffpf-ixp.1", "ixp", "board"),
    ("ffpf-ixp.1", "ixp", "status"),
    ("ffpf-run.1", "run", ""),
    ("ffpfd.8", "ffpfd", ""),
    ("fpl1.1", "fpl1", ""),
    ("fplc.1", "fplc", ""),
    ("fplc.1", "fplc", "rotate"),
    ("fplc.1", "fplc", "verify"),
    ("fplc.1", "fplc", "trust add"),
]


def options(module: str, *words: str) -> set[str]:
    """What --help knows."""
    command = [sys.executable, "-m", f"pyffpf.cli.{module}", *words, "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"(?<![-\w])--[a-z-]+", shown)) - {"--help"}


def complete(line: str, folder: Path) -> list[str]:
    """What bash offers behind the line."""
    script = f"""
        source {DOCS / "completion" / "ffpf.bash"}
        COMP_WORDS=({line}); [[ '{line}' == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
        set -- $(complete -p "${{COMP_WORDS[0]}}")
        "$3"
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_manual_pages_are_well_formed(page: Path) -> None:
    lint = subprocess.run(["mandoc", "-Tlint", "-Wwarning", page], capture_output=True, text=True)
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, "", "")
    shown = subprocess.run(["mandoc", "-Tutf8", page], capture_output=True, text=True, check=True).stdout
    assert "SYNOPSIS" in re.sub(".\b", "", shown)  # bold is a character struck twice


def test_there_is_a_page_for_each_command() -> None:
    assert [page.name for page in PAGES] == sorted({page for page, _, _ in COMMANDS} | {"ffpf-filter.7"})


@pytest.mark.parametrize(("page", "module", "subcommand"), COMMANDS)
def test_options_are_documented_and_completed(page: str, module: str, subcommand: str, tmp_path: Path) -> None:
    words = subcommand.split()
    known = options(module, *words)
    assert known
    text = (DOCS / "man" / page).read_text()
    assert known <= {f"--{option}" for option in re.findall(r"^\.(?:It|Op) Fl -([a-z-]+)", text, re.MULTILINE)}
    line = " ".join([page.partition(".")[0], *words, "--"])
    assert set(complete(line, tmp_path)) == known | {"--help"}


def test_completions(tmp_path: Path) -> None:
    (tmp_path / "some.sock").touch()
    assert complete("ffpf sta", tmp_path) == ["status"]
    assert complete("ffpf-flow --format p", tmp_path) == ["pcap"]
    assert complete("ffpf status --socket so", tmp_path) == ["some.sock"]
    assert complete("ffpfd --config s", tmp_path) == ["some.sock"]
    assert complete("ffpf-run --engine sh", tmp_path) == ["shared"]
    assert "bash" in complete("ffpf-run bas", tmp_path)
    assert complete("fpl1 dis", tmp_path) == ["disassemble"]
    assert complete("fplc exp", tmp_path) == ["explain"]
    assert complete("fplc check so", tmp_path) == ["some.sock"]
    assert complete("fplc dump --stage op", tmp_path) == ["optimised"]
    assert complete("fplc trust r", tmp_path) == ["remove"]


def test_filter_classes_are_documented() -> None:
    text = (DOCS / "man" / "ffpf-filter.7").read_text()
    items = [line for line in text.splitlines() if line.startswith(".It Cm ")]
    told = {word for line in items for word in line.removeprefix(".It Cm ").replace(",", " ").split()}
    assert {one.name for one in classes() if not one.source} <= told
