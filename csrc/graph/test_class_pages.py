# SPDX-License-Identifier: BSD-3-Clause
"""docs/classes/NAME.md: the layouts are those of C, the levels those of the table, and what examples tell is what the
classes tell. Examples are on public captures, and are run where those are."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from pyffpf._core import ffi, lib

from graph.class_instance import Instance, class_names, find
from pyffpf import mbufs

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = ROOT / "docs" / "classes"
CAPTURES = ROOT.parent / "shared" / "captures"
NAMES = sorted(path.stem for path in PAGES.glob("*.md") if path.stem != "README")
LEVELS = {lib.FFPF_LEVEL_USERSPACE: "userspace", lib.FFPF_LEVEL_KERNEL: "kernel", lib.FFPF_LEVEL_NIC: "nic"}
TYPES = {"u8": "u1", "u32": "u4", "u64": "u8", "f64": "f8"}
NEEDED = {"sampler": "2", "first_n": "1", "file": "path=/dev/null"}

EXAMPLE = re.compile(
    r"```\n\(device,(?P<capture>[\w.-]+)\) -> "
    r"\((?P<name>[\w-]+)(?:,\"(?P<arguments>[^\"]*)\")?(?:,(?P<octets>\d+))?\)\n```\n\n"
    r"lets (?P<kept>\d+) of (?P<all>\d+) packets pass"
    r"(?:,(?: and)? tells:\n\n```\n(?P<told>.*?)```)?(?:(?:\n\n|, )and leaves:\n\n```\n(?P<left>.*?)```)?\.?\n",
    re.DOTALL,
)
LEFT = re.compile(r"octet (\d+) (\w+) (\d+)\n")
ROW = re.compile(r"^\| (\d+) \| (\w+)(?: (?:x \d+|\.\.\.))? \| `(\w+)` \|", re.MULTILINE)
PROGRAMS = ("FPL-1", "FPL-2")  # whose MBuf is as the program has it


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text()


def test_every_page_is_of_a_class_and_in_the_list() -> None:
    assert set(NAMES) <= set(class_names())
    listed = re.findall(r"^\| \[([\w-]+)\]\(\1\.md\) \|", page("README"), re.MULTILINE)
    assert listed == NAMES


@pytest.mark.parametrize("name", [name for name in NAMES if not find(name).source and name not in PROGRAMS])
def test_layout_is_that_of_the_header(name: str) -> None:
    rows = ROW.findall(page(name))
    one = Instance(name, NEEDED.get(name, ""), 8 if name == "sampler" else 0)
    one.close()
    if not one.octets:
        assert rows == [] and "## MBuf\n\nNone." in page(name)
        return
    layout = mbufs.dtype(name, one.octets)
    assert layout is not None and layout.fields is not None and layout.names is not None
    assert [(field, str(layout.fields[field][1])) for field in layout.names] == [(row[2], row[0]) for row in rows]
    for _, kind, field in rows:
        if kind in TYPES:
            assert layout.fields[field][0].base == np.dtype(TYPES[kind]), field
        else:
            assert layout.fields[field][0].base.names, field


def test_what_stands_behind_a_program_of_fpl_1_is_as_in_the_header() -> None:
    fields = dict(ffi.typeof("struct ffpf_fpl1_segment").fields)
    rows = [(int(at), kind, name) for at, kind, name in ROW.findall(page("FPL-1"))]
    assert rows == [(field.offset, f"u{8 * ffi.sizeof(field.type)}", name) for name, field in fields.items()]


@pytest.mark.parametrize("name", NAMES)
def test_no_level_is_promised_that_the_class_does_not_have(name: str) -> None:
    said = re.search(r"^- Levels: (.+)$", page(name), re.MULTILINE)
    assert said
    assert set(said[1].split(", ")) <= {text for level, text in LEVELS.items() if find(name).levels & level}


@pytest.mark.parametrize("name", NAMES)
def test_examples_tell_what_the_page_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, program in (("FFPF_FPL1", "fpl1"), ("FFPF_FPLC", "fplc")):
        monkeypatch.setenv(variable, str(Path(sys.executable).parent / program))
    found = list(EXAMPLE.finditer(page(name)))
    assert found and page(name).count("\n(device,") == len(found)
    assert page(name).count(" leaves:\n") == sum(bool(LEFT.findall(example["left"] or "")) for example in found)
    for example in found:
        assert example["name"] == name or find(name).source  # which is shown by what comes out of it
        with Instance(example["name"], example["arguments"] or "", int(example["octets"] or 0)) as one:
            capture = CAPTURES / example["capture"]
            if not capture.exists():
                continue
            results = one.read(capture)
            one.flush()
            assert len(results) == int(example["all"])
            assert sum(result != 0 for result in results) == int(example["kept"])
            assert one.report() == (example["told"] or "")
            for at, kind, number in LEFT.findall(example["left"] or ""):
                left = one.mbuf[int(at) :].view(TYPES[kind])
                assert int(left[0]) == int(number), at
