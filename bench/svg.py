# SPDX-License-Identifier: BSD-3-Clause
"""One SVG picture, by matplotlib: the same figures give the same file."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

INCHES_A_LETTER = 0.075  # of the small type of captions


@contextmanager
def drawn(path: Path, rows: int = 1, columns: int = 1, **options: Any) -> Iterator[tuple[Any, Any]]:
    """The figure and its axes (rows x columns of them, as pyplot.subplots has them), to be drawn on; written to path
    at the end, whose folder is made. Nothing is written when drawing fails."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    # The names of its parts are hashes with this salt, by default a random one; the date would differ, too.
    with mpl.rc_context({"svg.hashsalt": path.stem}):
        figure, axes = pyplot.subplots(rows, columns, layout="constrained", **options)
        try:
            yield figure, axes
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, metadata={"Date": None})
        finally:
            pyplot.close(figure)


def caption(figure: Any, text: str) -> None:
    """Below all axes, in small type, as wide as the figure."""
    figure.supxlabel(textwrap.fill(text, int(figure.get_figwidth() / INCHES_A_LETTER)), fontsize=7)
