# SPDX-License-Identifier: BSD-3-Clause
"""Runs every C test program (test_*.c below csrc/ and ixp_driver/, cmocka) in every variant, and every fuzz target for
a minute; with two processes that run tests, two targets at a time.

Longer fuzzing: `FFPF_FUZZ_SECONDS=3600 python -m pytest csrc/test_programs.py -k fuzz`.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

import pytest

import build

VARIANTS = ("normal", "asan", "tsan", "aarch64")
QEMU = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"]  # emulates the processor, not its weaker order of memory
NOT_EMULATED = {
    "bpf_test_jit": "native code is x86-64's",
    "bpf_test_jit_random": "native code is x86-64's",
    "graph_test_flow": "a libpcap for that processor would be needed",
    "host_test_graph": "a libpcap for that processor would be needed",
    "record_test_load": "a libsodium for that processor would be needed",
    "source_test_live_ring": "packet rings are none of the system calls that qemu passes on",
    "syspcap_test_syspcap": "a libpcap for that processor would be needed",
}
FUZZ_SECONDS = int(os.environ.get("FFPF_FUZZ_SECONDS", "60"))
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "abort_on_error=0:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


def program_name(source: Path) -> str:
    return f"{source.parent.name}_{source.stem}"


def runs() -> list[tuple[Path, str]]:
    """Every program in every variant in which it can run."""
    found = []
    for source in build.side_sources("test_"):
        for variant in VARIANTS:
            left_out = program_name(source) in NOT_EMULATED or source.parent.name == build.VARIANTS[variant].without
            if variant != "aarch64" or not left_out:
                found.append((source, variant))
    return found


def test_only_what_is_there_is_left_out() -> None:
    assert {program_name(source) for source in build.side_sources("test_")} >= set(NOT_EMULATED)


@pytest.mark.parametrize(("source", "variant"), runs(), ids=lambda of: program_name(of) if isinstance(of, Path) else of)
def test_program_passes(source: Path, variant: str) -> None:
    with build.locked():
        (program,) = build.build_tests(variant, str(source))
    # ThreadSanitizer needs its shadow addresses free: no randomised layout.
    before = QEMU if variant == "aarch64" else ["setarch", platform.machine(), "-R"]
    command = [*before, str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **SANITIZER_OPTIONS})
    report = done.stdout + done.stderr
    assert done.returncode == 0, report
    ran = re.search(r"\[=+\] (?:.*: )?(\d+) test\(s\) run", report)
    assert ran, f"no test group reported by {program}:\n{report}"
    assert int(ran[1]) > 0
    assert "[  SKIPPED ]" not in report, report


@pytest.mark.long
@pytest.mark.timeout(FUZZ_SECONDS + 300)  # else the limit of all tests would end a longer run
@pytest.mark.parametrize("source", build.side_sources("fuzz_"), ids=program_name)
def test_fuzz_target_finds_nothing(source: Path, tmp_path: Path) -> None:
    with build.locked():
        (program,) = build.build_fuzz(str(source))
    seeds = source.with_name(source.stem + "_seeds")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    command = [str(program), f"-max_total_time={FUZZ_SECONDS}", "-timeout=10", "-rss_limit_mb=2048",
               "-print_final_stats=1", f"-artifact_prefix={tmp_path}/", str(corpus)]  # fmt: skip
    if seeds.is_dir():
        command.append(str(seeds))
    done = subprocess.run(command, capture_output=True, text=True, timeout=FUZZ_SECONDS + 120)
    print(done.stderr[-2000:])  # the seed is in libFuzzer's own first lines
    assert done.returncode == 0, done.stderr[-6000:]
    runs = re.search(r"stat::number_of_executed_units:\s+(\d+)", done.stderr)
    assert runs, done.stderr[-2000:]
    assert int(runs[1]) > 100
