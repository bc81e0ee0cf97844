# SPDX-License-Identifier: BSD-3-Clause
"""Runs test_read.c, which plays scripts to the read loop, plain and under the sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import build

ROOM = Path(__file__).resolve().parent


@pytest.mark.parametrize("variant", ["normal", "asan"])
def test_read_loop(variant: str) -> None:
    with build.locked():
        build.generate()
        objects = build.compile_all(build.room_sources("libffpfpcap"), variant)
        test = build.compile_object(ROOM / "test_read.c", variant)
        program = build.link(build.BUILD / variant / "bin" / "libffpfpcap_test_read", variant,
                             [test, *objects, build.build_core(variant)], ["-lcmocka", "-pthread", "-ldl"])  # fmt: skip
    done = subprocess.run([program], capture_output=True, text=True, timeout=60)
    report = done.stdout + done.stderr
    assert done.returncode == 0, report
    assert "6 test(s) run" in report, report
