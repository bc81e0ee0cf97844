# SPDX-License-Identifier: BSD-3-Clause
"""Nodes that are filters, in columns of classify."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from fpl.classify import Classifier, ClassifyRefused, Filter, NotReady
from fpl.graph.merge import DEVICE_NUMBER, Running


class Columns:
    def __init__(self, classifier: Classifier, link: int, library: bytes) -> None:
        """link, library: as the Stage's."""
        self._classifier, self._link, self._library = classifier, link, library

    def give(self, running: Running, free: list[int], prepared: Mapping[bytes, Any]) -> str:
        """Why there is none for the node, which is a filter; "": it has one of the free, which is free no more.
        prepared: as for Stage.prepare()."""
        if not free:
            return "the source has no column left for its filter"
        assert running.lowered.filter is not None
        filter = running.lowered.filter(self._link, self._library)
        known = prepared.get(filter if isinstance(filter, bytes) else filter.key)
        reason = self._why_better_behind(running, filter, known) or self._set(free[-1], filter, known)
        if not reason:
            running.column = free.pop()
            info = self._classifier.info(running.column)
            assert info is not None
            code = f"as code of {info.insns} instructions: {info.why_code}"
            running.how = "in tables" if info.kind == "table" else code
        return reason

    def _why_better_behind(self, running: Running, filter: bytes | Filter, known: Any) -> str:
        """Code of the chain is run for each packet: what may run as a node, where fewer may come, does."""
        if not running.lowered.alone or DEVICE_NUMBER in running.key.inputs:
            return ""
        with contextlib.ExitStack() as closing:
            made = known.ready if known else closing.enter_context(contextlib.closing(self._classifier.prepare(filter)))
            return f"{made.why_code}, and it comes behind other nodes" if made.table is None else ""

    def _set(self, column: int, filter: bytes | Filter, known: Any) -> str:
        if known is not None and known.reason:
            return str(known.reason)
        try:
            if known is not None and known.ready is not None:
                with contextlib.suppress(NotReady):  # the tables are full, and it must be code now
                    self._classifier.set(column, known.ready)
                    return ""
            self._classifier.set(column, filter)
        except ClassifyRefused as refused:
            return str(refused)
        return ""
