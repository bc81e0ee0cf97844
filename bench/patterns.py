# SPDX-License-Identifier: BSD-3-Clause
"""(p) Many patterns in payloads: EXTERN's ahocorasick and vectorscan, GB/s of one processor, beside vectorscan's own
loop, hs_scan over the same octets. csrc/externs/bench_patterns.c measures, in turns, medians of seven."""

from __future__ import annotations

import subprocess

import build
from bench import measure


def rows() -> list[list[str]]:
    with build.locked():
        (program,) = build.build_programs("bench_patterns", "normal", extra=["-lhs"])
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    found: dict[tuple[str, str], dict[str, tuple[float, ...]]] = {}
    for line in said.splitlines():
        text, count, who, *figures = line.split()
        found.setdefault((text, count), {})[who] = tuple(map(float, figures))
    return [
        [text, count, *(f"{middle:.2f} [{low:.2f}..{high:.2f}]" for middle, low, high in by.values()),
         f"{by['vectorscan'][0] / by['hs_scan'][0]:.2f}"]
        for (text, count), by in found.items()
    ]  # fmt: skip


def main() -> int:
    print(f"GB/s; {measure.machine()}\n")
    print(
        measure.table(["payloads of", "patterns", "ahocorasick", "vectorscan", "hs_scan", "vectorscan/hs_scan"], rows())
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
