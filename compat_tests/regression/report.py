# SPDX-License-Identifier: BSD-3-Clause
"""What a run of the matrix found, as text and as a page of HTML."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from compat_tests.regression.cell import VERDICTS, Verdict

STYLE = """
body { font: 14px/1.5 sans-serif; margin: 2em auto; max-width: 75em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 }
td, th { border: 1px solid #ccc; padding: .2em .6em; text-align: left }
pre { background: #f6f6f6; padding: .8em; overflow-x: auto }
.same { background: #dff0d8 } .losses { background: #fcf8e3 } .different, .failed { background: #f2dede }
"""


@dataclass(frozen=True)
class Result:
    """All verdicts of a run, tools that are not installed, and how long it took in seconds."""

    verdicts: Sequence[Verdict]
    missing: Sequence[str]
    seconds: float

    @property
    def bad(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if not verdict.good]

    def summary(self) -> str:
        counted = Counter(verdict.verdict for verdict in self.verdicts)
        words = ", ".join(f"{counted[name]} {name}" for name in VERDICTS if counted[name])
        left_out = f"; not installed: {', '.join(self.missing)}" if self.missing else ""
        return f"{len(self.verdicts)} comparisons in {self.seconds:.0f} s: {words or 'none'}{left_out}"


def story(verdict: Verdict) -> str:
    """One verdict that is not good, at length."""
    lines = [f"{verdict.tool}: {verdict.verdict} ({verdict.cell})", verdict.detail]
    if verdict.decoded:
        lines.append(verdict.decoded)
    if verdict.repeat:
        lines += ["again:", verdict.repeat]
    return "\n".join(lines)


def text(result: Result) -> str:
    rows = [
        f"{verdict.verdict:10} {verdict.tool:16} {verdict.cell}: stock {verdict.stock}; ffpf {verdict.ffpf}"
        + (f" ({verdict.detail})" if verdict.good and verdict.detail else "")
        for verdict in result.verdicts
    ]
    return "\n".join([*rows, "", *(story(verdict) + "\n" for verdict in result.bad), result.summary(), ""])


def page(result: Result) -> str:
    """One table, tools across, cells down; what differs is told below it."""
    tools = list(dict.fromkeys(verdict.tool for verdict in result.verdicts))
    cells = list(dict.fromkeys(str(verdict.cell) for verdict in result.verdicts))
    found = {(str(verdict.cell), verdict.tool): verdict for verdict in result.verdicts}
    head = "".join(f"<th>{html.escape(tool)}</th>" for tool in tools)
    body = []
    for cell in cells:
        marks = []
        for tool in tools:
            verdict = found.get((cell, tool))
            if verdict is None:
                marks.append("<td></td>")
                continue
            tip = html.escape(f"stock: {verdict.stock}; ffpf: {verdict.ffpf} {verdict.detail}", quote=True)
            marks.append(f'<td class="{verdict.verdict}" title="{tip}">{verdict.verdict}</td>')
        body.append(f"<tr><th>{html.escape(cell)}</th>{''.join(marks)}</tr>")
    stories = "".join(f"<pre>{html.escape(story(verdict))}</pre>" for verdict in result.bad)
    return (
        '<!doctype html><meta charset="utf-8"><title>FFPF beside stock libpcap</title>'
        f"<style>{STYLE}</style><h1>FFPF beside stock libpcap</h1><p>{html.escape(result.summary())}</p>"
        f"<table><tr><th></th>{head}</tr>{''.join(body)}</table>{stories}\n"
    )
