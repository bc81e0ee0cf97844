# SPDX-License-Identifier: BSD-3-Clause
"""A filter on its way to a column of a source in the kernel: fpl.classify does the work; refusals become reasons."""

from __future__ import annotations

from fpl import classify
from fpl.classify import Classifier, ClassifyRefused, ColumnInfo
from pyffpf.daemon.engine import NotReady, Placement, Prepared


class KernelFilter:
    """See engine.Prepared."""

    def __init__(self, classifier: Classifier, insns: bytes | None) -> None:
        self.insns = insns
        self.reason = ""  # why it cannot run in the kernel
        self.ready: classify.Prepared | None = None
        try:
            self.ready = classifier.prepare(insns)
        except ClassifyRefused as refused:
            self.reason = str(refused)

    @property
    def is_slow(self) -> bool:
        return not self.reason and self.ready is not None and self.ready.is_slow

    def compile(self) -> None:
        try:
            if self.ready is not None:
                self.ready.compile()
        except ClassifyRefused as refused:
            self.reason = str(refused)

    def cancel(self) -> None:
        if self.ready is not None:
            self.ready.cancel()

    def close(self) -> None:
        if self.ready is not None:
            self.ready.close()


def place(classifier: Classifier, column: int, prepared: Prepared) -> tuple[ColumnInfo, Placement]:
    """See EngineSource.place."""
    assert prepared.insns is None or isinstance(prepared, KernelFilter)
    ready, reason = (prepared.ready, prepared.reason) if isinstance(prepared, KernelFilter) else (None, "")
    info = None
    try:
        info = None if reason else classifier.set(column, ready)
    except ClassifyRefused as refused:
        reason = str(refused)
    except classify.NotReady as outcome:
        raise NotReady from outcome
    if info is None:
        return classifier.set(column, None), Placement("userspace", "everything", reason)
    return info, Placement("kernel", "everything" if prepared.insns is None else info.kind, "")
