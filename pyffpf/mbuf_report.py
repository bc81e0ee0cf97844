# SPDX-License-Identifier: BSD-3-Clause
"""What a filter that runs in the kernel has found out, read from its MBuf: what the class itself tells in userspace.

A class that is not among FACTS tells the numbers of its layout, by their names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt

from pyffpf import tuples
from pyffpf._core import ffi, lib
from pyffpf.custom import tell
from pyffpf.graph_text import text_at

MBuf = npt.NDArray[Any]
LOG = 1  # struct ffpf_mbuf_histogram.scale


def _words(expression: str) -> dict[str, str]:
    """The named arguments of an expression."""
    return dict(word.split("=", 1) for word in expression.split() if "=" in word)


def _histogram(mbuf: MBuf, expression: str) -> dict[str, Any]:
    start, end, bins = int(mbuf["from"]), int(mbuf["to"]), int(mbuf["bins"])
    log = int(mbuf["scale"]) == LOG

    def begin(number: int) -> int:
        if log:
            return 1 << (number - 1) if number else 0
        return start + -(-(end - start) * number // bins)  # the first whole number in it

    def last(number: int) -> int:
        return 2**64 - 1 if log and number + 1 == bins else begin(number + 1) - 1

    counts = mbuf["counts"][:bins].tolist()
    shown = [
        {"from": begin(number), "to": last(number), "count": count} for number, count in enumerate(counts) if count
    ]
    return {name: int(mbuf[name]) for name in ("below", "above", "none")} | {"bins": shown}


def _topk(mbuf: MBuf, expression: str) -> dict[str, Any]:
    entries = mbuf["entries"][mbuf["entries"]["count"] > 0]
    best = entries[entries["count"].argsort(kind="stable")[::-1]][: int(mbuf["k"])]
    counted = "bytes" if _words(expression).get("by") == "bytes" else "packets"
    top = [{"key": tuples.text(one["key"]), "count": int(one["count"]), "error": int(one["error"])} for one in best]
    return {counted: int(mbuf["total"]), "none": int(mbuf["none"]), "missed": int(mbuf["missed"]), "top": top}


FACTS: Mapping[str, Callable[[MBuf, str], dict[str, Any]]] = {"histogram": _histogram, "topk": _topk}


def facts(class_name: str, expression: str, mbuf: MBuf) -> dict[str, Any]:
    """Numbers, texts, and lists of such mappings, as the class's report has them."""
    if class_name in FACTS:
        return FACTS[class_name](mbuf, expression)
    names = [name for name in mbuf.dtype.names or () if not name.startswith("zero")]
    return {name: int(mbuf[name]) for name in names if mbuf.dtype[name].kind in "iu" and not mbuf.dtype[name].shape}


def text(found: Mapping[str, Any]) -> str:
    """Lines for people, in the form that the core's classes have."""
    report = ffi.new("struct ffpf_report *")
    lib.ffpf_report_begin(report, lib.FFPF_REPORT_TEXT)
    tell(report, found)
    lib.ffpf_report_finish(report)
    try:
        return text_at(lib.ffpf_text_get(ffi.addressof(report[0], "out")))
    finally:
        lib.ffpf_text_free(ffi.addressof(report[0], "out"))
