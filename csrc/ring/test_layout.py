# SPDX-License-Identifier: BSD-3-Clause
"""The layout header means the same to C, to eBPF C and to cffi."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from cffi import FFI

ROOM = Path(__file__).resolve().parent.parent
LAYOUT = ROOM / "layout.h"
ASSERTED = re.compile(r"^FFPF_AT\((\w+), (\w+), (\d+)\)|^FFPF_SIZE\((\w+), (\d+)\)", re.MULTILINE)


def test_cffi_reads_it_as_c_does() -> None:
    """Every offset and size that the header asserts to the C compiler is what cffi computes from the same text."""
    command = ["gcc", "-E", "-P", "-DFFPF_LAYOUT_PLAIN", "-DFFPF_LAYOUT_TYPES_GIVEN", str(LAYOUT)]
    ffi = FFI()
    ffi.cdef(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    asserted = 0
    for struct, field, offset, sized, size in ASSERTED.findall(LAYOUT.read_text()):
        if struct:
            assert ffi.offsetof(f"struct {struct}", field) == int(offset), (struct, field)
        else:
            assert ffi.sizeof(f"struct {sized}") == int(size), sized
        asserted += 1
    assert asserted > 50


def test_every_field_is_asserted() -> None:
    """A field whose place nobody checks could move. The first of a struct is at 0; reserved ones take what is left."""
    text = re.sub(r"/\*.*?\*/", "", LAYOUT.read_text(), flags=re.DOTALL)
    asserted = {(match[0], match[1]) for match in ASSERTED.findall(text)}
    missing = []
    for struct, body in re.findall(r"struct (\w+) \{(.*?)\n\};", text, flags=re.DOTALL):
        fields = re.findall(r"(\w+)(?:\[\w+\])?;", body)
        missing += [(struct, f) for f in fields[1:] if not f.startswith("reserved") and (struct, f) not in asserted]
    assert not missing


COMPILERS = {
    "c11": ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror"],
    "clang": ["clang", "-std=gnu11", "-Wall", "-Wextra", "-Werror"],
    "ebpf": ["clang", "-target", "bpf", "-g", "-O2", "-Wall", "-Wextra", "-Werror"],
    "ebpf-own-types": ["clang", "-target", "bpf", "-g", "-O2", "-Wall", "-Werror", "-DFFPF_LAYOUT_TYPES_GIVEN"],
}
OWN_TYPES = """typedef unsigned char uint8_t; typedef unsigned short uint16_t; typedef unsigned int uint32_t;
typedef unsigned long long uint64_t; typedef int int32_t; typedef long long int64_t;
"""
USE = """#include "layout.h"
uint64_t position(struct ffpf_lane_page *lane, struct ffpf_record *record, struct ffpf_index *entry);
uint64_t position(struct ffpf_lane_page *lane, struct ffpf_record *record, struct ffpf_index *entry)
{
	return lane->w + record->stamp + entry->index + FFPF_PACKET_MAX_BYTES + (uint64_t)FFPF_FLOOR_IDLE;
}
"""


@pytest.mark.parametrize("name", COMPILERS)
def test_compiles_for(name: str, tmp_path: Path) -> None:
    """With its assertions, and with a use of it."""
    source = tmp_path / "use.c"
    source.write_text((OWN_TYPES if name == "ebpf-own-types" else "") + USE)
    machine = subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True, check=True).stdout.strip()
    command = [*COMPILERS[name], f"-I{ROOM}", f"-I/usr/include/{machine}", "-c", str(source), "-o", f"{tmp_path}/use.o"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_field_that_moves_does_not_compile(tmp_path: Path) -> None:
    """Else the assertions above would prove nothing."""
    text = LAYOUT.read_text()
    moved = text.replace("	uint32_t cap_len; ", "	uint64_t cap_len; ", 1)
    assert moved != text
    (tmp_path / "layout.h").write_text(moved)
    done = subprocess.run(
        ["gcc", "-std=c11", "-x", "c", "-c", f"{tmp_path}/layout.h", "-o", "/dev/null"], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "ffpf_record.wire_len" in done.stderr
