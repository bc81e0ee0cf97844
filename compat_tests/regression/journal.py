# SPDX-License-Identifier: BSD-3-Clause
"""Verdicts as they come, each a line of JSON, so that a run that was stopped can go on where it was."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from compat_tests.regression.cell import Cell, Verdict
from compat_tests.regression.measure import Measured

WORDS = ("tool", "verdict", "detail", "decoded", "repeat")
SIZES = ("stock", "ffpf")


def line(verdict: Verdict, seconds: float) -> str:
    fields: dict[str, object] = {"cell": str(verdict.cell), "sent_pps": verdict.sent_pps, "seconds": seconds}
    fields |= {name: getattr(verdict, name) for name in WORDS}
    fields |= {name: dataclasses.astuple(getattr(verdict, name)) for name in SIZES}
    return json.dumps(fields) + "\n"


class Journal:
    """A file of verdicts; a context manager. seconds: that runs which it goes on with have taken."""

    def __init__(self, path: Path, resume: bool) -> None:
        """The folder is made. resume: goes on with what is there; else it begins anew."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._read: list[dict[str, object]] = []
        if resume and path.exists():
            whole = [text for text in path.read_text().splitlines(keepends=True) if text.endswith("\n")]
            self._read = [json.loads(text) for text in whole]
            path.write_text("".join(whole))  # without half a line that a run was stopped in
        self._known = {(fields["cell"], fields["tool"]) for fields in self._read}
        self.seconds = max((float(str(fields["seconds"])) for fields in self._read), default=0.0)
        self._file = path.open("a" if resume else "w")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, verdicts: Sequence[Verdict], seconds: float) -> None:
        """Those that were not there when it was opened. seconds: what the run has taken until now, and those before."""
        new = [verdict for verdict in verdicts if (str(verdict.cell), verdict.tool) not in self._known]
        self._file.writelines(line(verdict, seconds) for verdict in new)
        self._file.flush()

    def of(self, cells: Sequence[Cell]) -> dict[Cell, list[Verdict]]:
        """What was there, by cell, of those cells."""
        by_name = {str(cell): cell for cell in cells}
        found: dict[Cell, list[Verdict]] = {}
        for fields in self._read:
            cell = by_name.get(str(fields["cell"]))
            if cell is not None:
                words = {name: str(fields[name]) for name in WORDS}
                sizes = {name: Measured(*fields[name]) for name in SIZES}  # type: ignore[misc]
                found.setdefault(cell, []).append(Verdict(cell, **words, **sizes, sent_pps=fields["sent_pps"]))  # type: ignore[arg-type]
        return found
