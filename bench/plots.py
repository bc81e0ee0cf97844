# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of a run: an SVG for each table, with a bar and its quartiles for each figure, columns side by side."""

from __future__ import annotations

import math
import re
import textwrap
import time
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from bench import svg
from bench.figures import Figure, Run

ROWS_MOST = 60  # of one picture: more cannot be read


def conditions(run: Run) -> str:
    """One line: when, where, what, and how busy the machine was."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.time))
    load = f", load average {run.load[0]:.1f} to {run.load[1]:.1f}" if run.load else ""
    return f"{run.machine}{load}; {when}, {run.commit}{', a quick run' if run.quick else ''}"


def draw(run: Run, titles: Mapping[tuple[str, int], str], folder: Path) -> list[Path]:
    """Writes the pictures into the folder, which is made; the paths. titles: of tables, by benchmark and number."""
    paths = []
    for (bench, number), members in groupby(run.figures, lambda one: (one.name.bench, one.name.table)):
        shown = list(members)
        columns = list(dict.fromkeys(one.name.column for one in shown))
        rows = list(dict.fromkeys(one.name.row for one in shown))[:ROWS_MOST]
        names = svg.INCHES_A_LETTER * max(map(len, rows))
        size = (max(6.0, 2.6 * len(columns) + names), 0.28 * len(rows) + 1.7)
        path = folder / f"{re.sub(r'[^a-z0-9_]', '-', bench)}-{number}.svg"
        with svg.drawn(path, columns=len(columns), figsize=size, sharey=True, squeeze=False) as (canvas, axes):
            for axis, column in zip(axes[0], columns, strict=True):
                bars(axis, column, rows, {one.name.row: one for one in shown if one.name.column == column})
            axes[0][0].invert_yaxis()
            width = int(size[0] / svg.INCHES_A_LETTER)
            title = f"{bench}, {number}: {titles.get((bench, number), '')}".rstrip(": ")
            canvas.suptitle(textwrap.fill(title, width), fontsize=10)
            svg.caption(canvas, f"medians, quartiles where there are; {conditions(run)}")
        paths.append(path)
    return paths


def bars(axis: Any, column: str, rows: Sequence[str], known: Mapping[str, Figure]) -> None:
    """One column of a table, its medians written beside the bars."""
    places = [at for at, row in enumerate(rows) if row in known]
    found = [known[rows[at]] for at in places]
    spread = [[max(0.0, one.median - one.low) for one in found], [max(0.0, one.high - one.median) for one in found]]
    known_spread = [[width or math.nan for width in side] for side in spread]  # no mark where there is none
    axis.barh(places, [one.median for one in found], xerr=known_spread, color="#8fb3d9", ecolor="#b3261e", capsize=2)
    for at, one in zip(places, found, strict=True):
        axis.annotate(f"{one.median:,g}", (0, at), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7)
    axis.set_title(textwrap.fill(column, 34), fontsize=9)
    axis.set_yticks(range(len(rows)), [row or "-" for row in rows], fontsize=7)
    axis.tick_params(axis="x", labelsize=7)
