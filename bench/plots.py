# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of a run: an SVG for each table, with a bar and its quartiles for each figure, columns side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from bench import svg
from bench.figures import Figure

ROWS_MOST = 60  # of one picture: more cannot be read


def draw(found: Sequence[Figure], folder: Path) -> list[Path]:
    """Writes the pictures into the folder, which is made; the paths."""
    paths = []
    for (bench, number), members in groupby(found, lambda one: (one.name.bench, one.name.table)):
        shown = list(members)
        columns = list(dict.fromkeys(one.name.column for one in shown))
        rows = list(dict.fromkeys(one.name.row for one in shown))[:ROWS_MOST]
        size = (3.2 * len(columns) + 2.5, 0.28 * len(rows) + 1.2)
        path = folder / f"{re.sub(r'[^a-z0-9_]', '-', bench)}-{number}.svg"
        with svg.drawn(path, columns=len(columns), figsize=size, sharey=True, squeeze=False) as (canvas, axes):
            for axis, column in zip(axes[0], columns, strict=True):
                picked = {one.name.row: one for one in shown if one.name.column == column}
                known = [(at, picked[row]) for at, row in enumerate(rows) if row in picked]
                places = [at for at, _ in known]
                low = [max(0.0, one.median - one.low) for _, one in known]
                high = [max(0.0, one.high - one.median) for _, one in known]
                axis.barh(places, [one.median for _, one in known], xerr=[low, high], color="#4a7fb5", capsize=2)
                axis.set_title(column, fontsize=9)
                axis.set_yticks(range(len(rows)), [row or "-" for row in rows], fontsize=7)
                axis.tick_params(axis="x", labelsize=7)
            axes[0][0].invert_yaxis()
            canvas.suptitle(f"{bench}, table {number}", fontsize=10)
        paths.append(path)
    return paths
