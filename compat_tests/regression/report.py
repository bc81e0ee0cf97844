# SPDX-License-Identifier: BSD-3-Clause
"""What a run of the matrix found, as text and as a page of HTML."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compat_tests.regression.cell import VERDICTS, Cell, Verdict
from compat_tests.regression.traffic import Group

STYLE = """
body { font: 14px/1.5 sans-serif; margin: 2em auto; max-width: 100em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 }
td, th { border: 1px solid #ccc; padding: .2em .5em; text-align: left }
thead th { position: sticky; top: 0; background: #fff; vertical-align: bottom }
td.number { text-align: right }
pre { background: #f6f6f6; padding: .8em; overflow-x: auto }
.same { background: #dff0d8 } .losses, .crashed { background: #fcf8e3 } .different, .failed { background: #f2dede }
"""
WORDS = {
    "same": "the same octets: packets, order, times, statistics; *: alone, not beside the other tools",
    "losses": "packets were lost at that rate; slower, nothing differs",
    "crashed": "the tool does not survive these captures, on stock either",
    "different": "something differs that is not lost packets",
    "failed": "a run did not end, or was not FFPF's",
}
ELSEWHERE = "read as savefiles in the offline comparisons (compat_tests)"


@dataclass(frozen=True)
class Result:
    """All verdicts of a run, tools that are not installed, how long it took in seconds, and captures that were not
    replayed, each with the reason."""

    verdicts: Sequence[Verdict]
    missing: Sequence[str]
    seconds: float
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def bad(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if not verdict.good]

    def summary(self) -> str:
        left_out = f"; not installed: {', '.join(self.missing)}" if self.missing else ""
        return f"{len(self.verdicts)} comparisons in {self.seconds:.0f} s: {counted(self.verdicts)}{left_out}"


def counted(verdicts: Iterable[Verdict]) -> str:
    number = Counter(verdict.verdict for verdict in verdicts)
    return ", ".join(f"{number[name]} {name}" for name in VERDICTS if number[name]) or "none"


def write(result: Result, folder: Path) -> None:
    """As report.txt and report.html, in a folder that is there."""
    (folder / "report.txt").write_text(text(result))
    (folder / "report.html").write_text(page(result))


def story(verdict: Verdict) -> str:
    """One verdict that is not good, at length."""
    lines = [f"{verdict.tool}: {verdict.verdict} ({verdict.cell})", verdict.detail]
    if verdict.decoded:
        lines.append(verdict.decoded)
    if verdict.repeat:
        lines += ["again:", verdict.repeat]
    return "\n".join(lines)


def sizes(verdict: Verdict) -> str:
    """How much was seen; once where both saw the same."""
    if verdict.stock == verdict.ffpf:
        return str(verdict.stock)
    return f"stock {verdict.stock}; ffpf {verdict.ffpf}"


def text(result: Result) -> str:
    """Differences first; then a block for each cell."""
    lines = [result.summary(), ""]
    for verdict in result.bad:
        lines += [story(verdict), ""]
    for cell in cells(result):
        lines.append(f"{cell} (sent: {became(result, cell)}):")
        for verdict in result.verdicts:
            if verdict.cell == cell:
                note = f" ({verdict.detail.splitlines()[0]})" if verdict.good and verdict.detail else ""
                lines.append(f"  {verdict.verdict:10} {verdict.tool:16} {sizes(verdict)}{note}")
    for group in groups(result):
        lines += ["", f"{group.name}:", *(f"  {one.packets:6} {one.name}" for one in group.captures)]
    if result.left_out:
        lines += ["", f"not replayed, {ELSEWHERE}:", *(f"  {name}: {why}" for name, why in result.left_out.items())]
    return "\n".join([*lines, ""])


def cells(result: Result) -> list[Cell]:
    return list(dict.fromkeys(verdict.cell for verdict in result.verdicts))


def became(result: Result, cell: Cell) -> str:
    """The packets/s that the cell's rate became."""
    rates = [verdict.sent_pps for verdict in result.verdicts if verdict.cell == cell and verdict.sent_pps is not None]
    return f"{max(rates):,}" if rates else "-"


def groups(result: Result) -> list[Group]:
    return list(dict.fromkeys(cell.group for cell in cells(result)))


def tools_of(result: Result) -> list[str]:
    return list(dict.fromkeys(verdict.tool for verdict in result.verdicts))


def row(head: Sequence[str], body: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<th>{html.escape(word)}</th>' for word in head)}{''.join(body)}</tr>"


def table(head: Sequence[str], rows: Iterable[str]) -> str:
    return f"<table><thead>{row(head, ())}</thead>{''.join(rows)}</table>"


def pairs(left: str, right: str, words: Mapping[str, str]) -> str:
    return table([left, right], (row([name], [f"<td>{html.escape(text)}</td>"]) for name, text in words.items()))


def place(verdict: Verdict) -> str:
    """Where in the page its story is."""
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{verdict.cell} {verdict.tool}")


def mark(verdict: Verdict | None) -> str:
    if verdict is None:
        return "<td></td>"
    tip = html.escape(f"{sizes(verdict)}\n{verdict.detail}".strip(), quote=True)
    star = "*" if verdict.verdict == "same" and verdict.detail else ""
    shown = verdict.verdict + star if verdict.good else f'<a href="#{place(verdict)}">{verdict.verdict}</a>'
    return f'<td class="{verdict.verdict}" title="{tip}">{shown}</td>'


def overview(result: Result) -> str:
    """Tools down, engines across: the worst of their verdicts, and how many of them there are of how many."""
    engines = list(dict.fromkeys(verdict.cell.engine for verdict in result.verdicts))
    rows = []
    for tool in tools_of(result):
        body = []
        for engine in engines:
            here = [one for one in result.verdicts if one.tool == tool and one.cell.engine == engine]
            worst = max((VERDICTS.index(one.verdict) for one in here), default=0)
            shown = f"{sum(one.verdict == VERDICTS[worst] for one in here)} {VERDICTS[worst]}" if here else ""
            if here and worst:
                shown += f" of {len(here)}"
            body.append(f'<td class="{VERDICTS[worst] if here else ""}">{shown}</td>')
        rows.append(row([tool], body))
    return table(["", *engines], rows)


def matrix(result: Result, engine: str) -> str:
    """Cells of one engine down, tools across."""
    tools = tools_of(result)
    found = {(verdict.cell, verdict.tool): verdict for verdict in result.verdicts}
    rows = [
        row(
            [cell.group.name, f"{cell.group.packets:,}", f"{cell.pps:,}", became(result, cell)],
            (mark(found.get((cell, one))) for one in tools),
        )
        for cell in cells(result)
        if cell.engine == engine
    ]
    return table(["captures", "packets", "packets/s", "sent", *tools], rows)


def page(result: Result) -> str:
    """What differs, an overview, and a table for each engine; captures that were not replayed last."""
    parts = [f"<h1>FFPF beside stock libpcap</h1><p>{html.escape(result.summary())}</p>"]
    legend = (row([name], [f'<td class="{name}">{words}</td>']) for name, words in WORDS.items())
    parts += [f"<table>{''.join(legend)}</table>", overview(result)]
    if result.bad:
        parts.append("<h2>What differs</h2>")
    parts += [f'<pre id="{place(verdict)}">{html.escape(story(verdict))}</pre>' for verdict in result.bad]
    for engine in dict.fromkeys(verdict.cell.engine for verdict in result.verdicts):
        parts += [f"<h2>{html.escape(engine)}</h2>", matrix(result, engine)]
    sent = {group.name: ", ".join(f"{one.name} ({one.packets})" for one in group.captures) for group in groups(result)}
    parts += ["<h2>Captures, and their packets</h2>", pairs("captures", "in the order in which they are sent", sent)]
    if result.left_out:
        parts += [f"<h2>Not replayed, {ELSEWHERE}</h2>", pairs("capture", "why", result.left_out)]
    head = f'<!doctype html><meta charset="utf-8"><title>FFPF beside stock libpcap</title><style>{STYLE}</style>'
    return "\n".join([head, *parts, ""])
