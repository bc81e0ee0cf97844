# SPDX-License-Identifier: BSD-3-Clause
"""The numbers of layout.py are those of csrc/kernel/kernel_layout.h, whose own assertions hold its text to be true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fpl.classify import layout
from fpl.classify.chain import PARTS_MAX
from fpl.classify.classifier import BANKS, MARKS

DEFINES = {
    "FFPF_KERNEL_COLUMNS": layout.COLUMNS, "FFPF_KERNEL_WORDS": layout.WORDS, "FFPF_KERNEL_PROGS": layout.PROGS,
    "FFPF_KERNEL_PROG_CLASSIFY": layout.SLOT_CLASSIFY, "FFPF_KERNEL_PROG_STORE": layout.SLOT_STORE,
    "FFPF_KERNEL_PROG_CHAIN": layout.SLOT_CHAIN, "FFPF_KERNEL_PROG_GRAPH": layout.SLOT_GRAPH,
    "FFPF_SCRATCH_DATA_BYTES": layout.SCRATCH_DATA_BYTES,
}  # fmt: skip
FIELDS = {
    "inside": layout.SCRATCH_INSIDE, "data_len": layout.SCRATCH_DATA_LEN, "wire_len": layout.SCRATCH_WIRE_LEN,
    "ifindex": layout.SCRATCH_IFINDEX, "pkt_type": layout.SCRATCH_PKT_TYPE, "protocol": layout.SCRATCH_PROTOCOL,
    "hatype": layout.SCRATCH_HATYPE, "vlan_present": layout.SCRATCH_VLAN_PRESENT, "vlan_tci": layout.SCRATCH_VLAN_TCI,
    "vlan_tpid": layout.SCRATCH_VLAN_TPID, "mark": layout.SCRATCH_MARK, "queue": layout.SCRATCH_QUEUE,
    "rxhash": layout.SCRATCH_RXHASH, "cpu": layout.SCRATCH_CPU, "lost": layout.SCRATCH_LOST,
    "results": layout.SCRATCH_RESULTS, "data": layout.SCRATCH_DATA, "owner": layout.SCRATCH_OWNER,
    "left": layout.SCRATCH_LEFT,
}  # fmt: skip
CONTROL = {"fetch_len": layout.CONTROL_FETCH_LEN, "words": layout.CONTROL_WORDS}


@pytest.fixture(scope="module")
def header(root: Path) -> str:
    return (root / "csrc" / "kernel" / "kernel_layout.h").read_text()


def offsets(header: str, struct_name: str) -> dict[str, int]:
    found = re.findall(rf"FFPF_AT\({struct_name}, (\w+), (\d+)\)", header)
    return {name: int(offset) for name, offset in found}


def test_defines(header: str) -> None:
    found = {name: int(value) for name, value in re.findall(r"#define (FFPF_\w+)\s+(\d+)", header)}
    assert {name: found[name] for name in DEFINES} == DEFINES


def test_scratch(header: str) -> None:
    assert offsets(header, "ffpf_scratch") == FIELDS
    assert f"FFPF_SIZE(ffpf_scratch, {layout.SCRATCH_BYTES})" in header
    assert re.search(r"struct ffpf_scratch \{\s*uint64_t verdict", header)


def test_control_and_columns(header: str) -> None:
    at = offsets(header, "ffpf_kernel_control")
    assert {name: at[name] for name in CONTROL} == CONTROL
    assert re.search(r"struct ffpf_kernel_column \{\s*uint32_t result;", header)


def test_banks_do_not_touch() -> None:
    for bank, after in ((0, BANKS[1]), (1, layout.PROGS)):
        assert BANKS[bank] + PARTS_MAX <= MARKS[bank] < after
