# SPDX-License-Identifier: BSD-3-Clause
"""latency.svg: cumulative distributions, a plot for each load; time is logarithmic, and so is what lies beyond."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench import svg

SHARES = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999)
COLOURS = ("#222222", "#777777", "#3a6fb0", "#b3261e", "#e08a1e", "#2a9d8f", "#8e5bb5")
TICKS = {1: "1 µs", 10: "10 µs", 100: "100 µs", 1e3: "1 ms", 1e4: "10 ms", 1e5: "100 ms", 1e6: "1 s"}  # by microseconds
POINTS = 300  # of a curve


def nines(share: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """0.9 is 1, 0.99 is 2."""
    return -np.log10(1 - np.asarray(share, np.float64))


def curve(rounds: Sequence[npt.NDArray[np.int64]]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Microseconds, the median of the rounds', and the share of packets that took less, as far as there is a packet
    beyond in each round. A round is the ns of its packets, at least one."""
    shares = 1 - np.logspace(0, -np.log10(max(2, min(map(len, rounds)))), POINTS)
    return np.median([np.percentile(ns, shares * 100) for ns in rounds], axis=0) / 1000, nines(shares)


def colours(names: Collection[str]) -> dict[str, str]:
    """What differs only in how long packets may wait has one colour."""
    kinds = dict.fromkeys(name.partition(",")[0] for name in names)
    known = dict(zip(kinds, COLOURS, strict=False))
    return {name: known[name.partition(",")[0]] for name in names}


def draw(
    curves: Mapping[str, Mapping[str, Sequence[npt.NDArray[np.int64]]]],
    waiting: Collection[str],
    caption: str,
    path: Path,
) -> None:
    """curves: by load, by reader, of each round that has packets their ns. waiting: readers that are drawn with
    dashes."""
    names = list(dict.fromkeys(name for readers in curves.values() for name in readers))
    colour = colours(names)
    with svg.drawn(path, 2, 2, figsize=(10.5, 8.6), sharex=True, sharey=True) as (figure, axes):
        for axis, (load, readers) in zip(axes.flat, curves.items(), strict=True):
            for name, rounds in readers.items():
                if rounds:
                    axis.plot(*curve(rounds), "--" if name in waiting else "-", color=colour[name], label=name, lw=1.4)
            axis.set_title(load, fontsize=10)
            axis.set_xscale("log")
            axis.set_yticks(nines(SHARES), [f"{share:.2%}".replace(".00%", "%") for share in SHARES])
            axis.set_xticks(list(TICKS), list(TICKS.values()))
            axis.tick_params(labelsize=8, labelbottom=True)
            axis.grid(alpha=0.3)
        for axis in axes[1]:
            axis.set_xlabel("from sending to reading", fontsize=10)
        figure.supylabel("share of packets", fontsize=10)
        figure.suptitle("From wire to reader", fontsize=12)
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize="small", title=caption,
                      title_fontsize="x-small")  # fmt: skip
