# SPDX-License-Identifier: BSD-3-Clause
"""Graph text: checked, written in its one form, and the errors in it. csrc/graph/parse.h has the grammar."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pyffpf._core import ffi, lib
from pyffpf.errors import BadGraph, FfpfError, SystemFailure, exception_of

if TYPE_CHECKING:
    from fpl.graph.node import Callee
    from pyffpf.compose import Part


def filter_text(kind: str, argument: str, mbuf: int | None, name: str = "") -> str:
    """(class,"expression",octets) as graph text has it, with the name before it."""
    quoted = argument.replace("\\", "\\\\").replace('"', '\\"')
    return (f"{name}=" if name else "") + f'({kind},"{quoted}"' + (f",{mbuf})" if mbuf is not None else ")")


def before_flow(calls: Iterable[Callee], reads: Iterable[tuple[str, str]]) -> str:
    """What stands before the flow, for the programs in it: to call, and to read, names and the nodes' own."""
    said = [f"{word}={node}" for word, node in reads]
    said += [filter_text(one.kind, one.argument, one.mbuf, one.name) for one in calls]
    return "".join(f"{one}; " for one in said)


def text_at(pointer: Any) -> str:
    """A C string; "" for NULL."""
    return "" if pointer == ffi.NULL else bytes(ffi.string(pointer)).decode("utf-8", "replace")


def text_error(error: Any, text: bytes) -> FfpfError:
    """What to raise for a `struct ffpf_graph_error *` about that text: BadGraph, or what opening a device raises; both
    show the place, where there is one."""
    of_text = error.error.code in (lib.FFPF_E_INVALID, lib.FFPF_E_BAD_FILTER)
    placed = error.offset != lib.FFPF_GRAPH_NOWHERE
    story = _shown(error, text) if placed else text_at(error.error.text)
    if of_text:
        return BadGraph(story, error.offset, error.line, error.column) if placed else BadGraph(story, None, None, None)
    failure = exception_of(ffi.addressof(error.error))
    return type(failure)(failure.errno, story) if isinstance(failure, SystemFailure) else type(failure)(story)


def _shown(error: Any, text: bytes) -> str:
    shown = ffi.new("struct ffpf_text *")
    try:
        lib.ffpf_graph_error_show(error, text, len(text), shown)
        return text_at(lib.ffpf_text_get(shown)).rstrip("\n")
    finally:
        lib.ffpf_text_free(shown)


def check_text(text: str | Part) -> str:
    """The text in its one form: single blanks, quotation marks where needed. BadGraph when it is none."""
    octets = str(text).encode()
    out, error = ffi.new("struct ffpf_graph_text **"), ffi.new("struct ffpf_graph_error *")
    if lib.ffpf_graph_text_parse(out, octets, len(octets), error) < 0:
        raise text_error(error, octets)
    shown = ffi.new("struct ffpf_text *")
    try:
        lib.ffpf_graph_text_format(out[0], shown)
        return text_at(lib.ffpf_text_get(shown))
    finally:
        lib.ffpf_text_free(shown)
        lib.ffpf_graph_text_free(out[0])
