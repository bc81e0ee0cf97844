# SPDX-License-Identifier: BSD-3-Clause
"""What a soak found, as text, as JSON and as a picture; and whether memory grew."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from compat_tests.soak.scenario import Result, Sample

WARM_UP = 3  # rests of a process: what is made at the first use is there then
RESTS = 6  # behind these, least, for a judgement
# A Python heap goes up and down by some MiB with what was last done in it, since whole arenas alone go back to the
# kernel. What is kept of every tool adds up: so a growth counts that is more than that, over all of a process's life.
GROWTH_KIB = 8 << 10


@dataclass(frozen=True)
class Growth:
    """Of one process's memory between rests, behind the warm-up."""

    process: str
    rests: int
    joined: int  # tools, from the first of them to the last
    first_kib: float  # medians of the first and the last third
    last_kib: float
    per_tool_kib: float  # of a straight line through all

    @property
    def too_much(self) -> bool:
        return self.last_kib - self.first_kib > GROWTH_KIB


def growths(samples: Sequence[Sample]) -> Iterator[Growth]:
    """Of each ffpfd that lived long enough, and of the holder, which lives through all."""
    rests = [sample for sample in samples if sample.rest]
    lives = sorted({sample.life for sample in rests})
    series = [(f"ffpfd {life + 1}", [(s.joined, s.memory_kib) for s in rests if s.life == life]) for life in lives]
    series.append(("holder", [(s.joined, s.holder_memory_kib) for s in rests]))
    for process, points in series:
        points = points[WARM_UP:]
        if len(points) >= RESTS:
            joined, kib = np.array(points, dtype=float).T
            third = len(points) // 3
            slope = float(np.polyfit(joined, kib, 1)[0])
            first, last = float(np.median(kib[:third])), float(np.median(kib[-third:]))
            yield Growth(process, len(points), int(joined[-1] - joined[0]), first, last, slope)


def memory_findings(samples: Sequence[Sample]) -> list[str]:
    return [
        f"memory of {growth.process} grew from {growth.first_kib:.0f} to {growth.last_kib:.0f} KiB while "
        f"{growth.joined} tools came and went"
        for growth in growths(samples)
        if growth.too_much
    ]


def text(result: Result) -> str:
    """The report for people."""
    killed = sum(tally.killed for tally in result.tallies.values())
    joined = sum(tally.joined for tally in result.tallies.values())
    lines = [
        f"soak of {result.seconds / 60:.1f} minutes, seed {result.seed}: {len(result.findings)} findings",
        f"{result.rounds} rounds; {result.sent:,} packets sent; {joined} tools joined, {killed} of them killed; tools "
        f"stood still {result.stops} times; {result.restarts} ffpfd killed or relieved",
        "load of the machine, {} processors: {:.0f} in the mean, {:.0f} at most".format(os.cpu_count(), *result.load),
        "",
        f"{'tool':28} {'joined':>7} {'left':>6} {'killed':>7} {'excused':>8} {'packets':>12} {'dropped':>12}  causes",
    ]
    for name, tally in sorted(result.tallies.items()):
        causes = " ".join(f"{cause}={packets}" for cause, packets in sorted(tally.causes.items()))
        lines.append(
            f"{name:28} {tally.joined:7} {tally.left:6} {tally.killed:7} {tally.excused:8} {tally.packets:12,} "
            f"{tally.dropped:12,}  {causes}".rstrip()
        )
    lines += ["", *(f"excused {count} times: {reason}" for reason, count in result.excuses.items())]
    for left in ("pillars", "nobody"):
        facts = [found for _, with_what, found in result.facts if with_what == left]
        if facts:
            lines += ["", f"with {left} left, {len(facts)} times: first, least, most, last"]
            for name in facts[0]:
                row = [found[name] for found in facts]
                lines.append(f"  {name:28} {row[0]:8} {min(row):8} {max(row):8} {row[-1]:8}")
    lines += ["", "memory between rounds, KiB: first and last third, and by a straight line for each tool that joined"]
    for growth in growths(result.samples):
        lines.append(
            f"  {growth.process:10} {growth.rests:4} rests, {growth.joined:5} tools: {growth.first_kib:8.0f} "
            f"{growth.last_kib:8.0f}   {growth.per_tool_kib:+.2f}"
        )
    return "\n".join([*lines, "", *result.findings, ""])


def draw(samples: Sequence[Sample], path: Path) -> None:
    """Descriptors and memory over time, and what there was to do meanwhile."""
    from bench import svg

    minutes = [sample.at_s / 60 for sample in samples]
    curves = (
        ("descriptors", ("ffpfd", [s.descriptors for s in samples]),
         ("holder", [s.holder_descriptors for s in samples])),
        ("memory, MiB", ("ffpfd", [s.memory_kib / 1024 for s in samples]),
         ("holder", [s.holder_memory_kib / 1024 for s in samples])),
        ("tools, load", ("tools that come and go", [s.tools for s in samples]), ("load", [s.load for s in samples])),
    )  # fmt: skip
    with svg.drawn(path, rows=len(curves), figsize=(9, 7), sharex=True) as (_, axes):
        for axis, (label, *lines) in zip(axes, curves, strict=True):
            for name, values in lines:
                axis.plot(minutes, values, linewidth=0.8, label=name)
            axis.set_ylabel(label, fontsize=8)
            axis.set_ylim(bottom=0)
            axis.legend(fontsize=7, loc="lower right")
            axis.tick_params(labelsize=7)
        axes[-1].set_xlabel("minutes", fontsize=8)


def write(result: Result, folder: Path) -> None:
    """report.txt, report.json, soak.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.txt").write_text(text(result))
    (folder / "report.json").write_text(json.dumps(asdict(result), indent=1))
    draw(result.samples, folder / "soak.svg")
