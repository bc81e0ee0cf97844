# SPDX-License-Identifier: BSD-3-Clause
"""The text of graphs: whatever graph is written, with whatever blanks and brackets, is read as it was meant, and the
formatter's text is read as the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyffpf._core import ffi, lib


@dataclass(frozen=True)
class Node:
    class_name: str | None
    name: str | None
    flow: str | None
    expression: str
    mbuf: int | None
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    nodes: tuple[Node, ...]
    ends: tuple[int, ...]


@dataclass(frozen=True)
class Tuple:
    class_name: str
    expression: str
    mbuf: int | None
    named: bool
    spelling: tuple[bool, str]  # in quotation marks; what blanks are


@dataclass(frozen=True)
class Name:
    """An earlier node of the text, by a number that is taken modulo how many there are, or one of another flow."""

    local: int | None
    text: str = ""


@dataclass(frozen=True)
class Flow:
    """Stages of alternatives; as an alternative itself it stands in brackets."""

    stages: tuple[tuple[Any, ...], ...]


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,3}(-[a-z])?", fullmatch=True)
EXPRESSIONS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
MBUFS = st.none() | st.integers(0, 2**30)
SPELLINGS = st.tuples(st.booleans(), st.sampled_from(["", " ", "\n\t", " \\\n "]))
TUPLES = st.builds(Tuple, NAMES, EXPRESSIONS, MBUFS, st.booleans(), SPELLINGS)
NAME_ALTS = st.builds(Name, st.none() | st.integers(0, 99), NAMES)


def flows(alternatives: st.SearchStrategy[Any]) -> st.SearchStrategy[Flow]:
    stages = st.lists(alternatives, min_size=1, max_size=3).map(tuple)
    return st.lists(stages, min_size=1, max_size=4).map(lambda found: Flow(tuple(found)))


FLOWS = flows(st.recursive(TUPLES | NAME_ALTS, flows, max_leaves=12))


class Writer:
    """Writes a flow, and says what graph it is."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.local: dict[str, int] = {}
        self.foreign: dict[str, int] = {}

    def quoted(self, text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def write_tuple(self, alt: Tuple, inputs: tuple[int, ...]) -> tuple[str, int]:
        bare_is_possible = alt.expression == alt.expression.strip(" \t\n\r") and not set(alt.expression) & set(
            '()[],|"\\\n\r'
        )
        quote, blank = alt.spelling
        expression = self.quoted(alt.expression) if quote or not bare_is_possible else alt.expression
        number = len(self.nodes)
        name = f"local{number}" if alt.named else None
        if name:
            self.local[name] = number
        self.nodes.append(Node(alt.class_name, name, None, alt.expression, alt.mbuf, inputs))
        words = blank.join(["(", alt.class_name, ",", expression, ",", "" if alt.mbuf is None else str(alt.mbuf), ")"])
        return (f"{name}{blank}={blank}{words}" if name else words), number

    def write_name(self, alt: Name) -> tuple[str, int]:
        if alt.local is not None and self.local:
            name = sorted(self.local)[alt.local % len(self.local)]
            return name, self.local[name]
        name = "other." + alt.text
        if name not in self.foreign:
            self.foreign[name] = len(self.nodes)
            self.nodes.append(Node(None, alt.text, "other", "", None, ()))
        return name, self.foreign[name]

    def write_flow(self, flow: Flow, inputs: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        texts = []
        for stage in flow.stages:
            found: list[int] = []
            words = []
            alternatives = list(stage)
            if inputs and all(isinstance(alt, Name) for alt in stage):  # which would take no packets
                alternatives.append(Tuple("x", "", None, False, (False, "")))
            for alt in alternatives:
                ends: tuple[int, ...]
                if isinstance(alt, Flow):
                    text, ends = self.write_flow(alt, inputs)
                    text = f"[{text}]"
                elif isinstance(alt, Tuple):
                    text, number = self.write_tuple(alt, inputs)
                    ends = (number,)
                else:
                    text, number = self.write_name(alt)
                    ends = (number,)
                words.append(text)
                found += [end for end in ends if end not in found]
            texts.append("|".join(words))
            inputs = tuple(found)
        return "->".join(texts), inputs


def parsed(text: bytes) -> Graph:
    out, err = ffi.new("struct ffpf_graph_text **"), ffi.new("struct ffpf_graph_error *")
    status = lib.ffpf_graph_text_parse(out, text, len(text), err)
    assert status == 0, ffi.string(err.error.text)
    graph = ffi.gc(out[0], lib.ffpf_graph_text_free)

    def string(pointer: Any) -> str | None:
        return ffi.string(pointer).decode() if pointer else None

    nodes = []
    for n in (graph.nodes[i] for i in range(graph.count)):
        inputs = tuple(n.inputs[i] for i in range(n.input_count))
        mbuf = n.mbuf_bytes if n.has_mbuf else None
        nodes.append(
            Node(string(getattr(n, "class")), string(n.name), string(n.flow), string(n.expression) or "", mbuf, inputs)
        )
    return Graph(tuple(nodes), tuple(graph.ends[i] for i in range(graph.end_count)))


def formatted(text: bytes) -> bytes:
    out, err = ffi.new("struct ffpf_graph_text **"), ffi.new("struct ffpf_graph_error *")
    assert lib.ffpf_graph_text_parse(out, text, len(text), err) == 0
    graph = ffi.gc(out[0], lib.ffpf_graph_text_free)
    words = ffi.gc(ffi.new("struct ffpf_text *"), lib.ffpf_text_free)
    lib.ffpf_graph_text_format(graph, words)
    return bytes(ffi.buffer(words.data, words.len))


@settings(max_examples=60)
@given(FLOWS)
@example(Flow(((Name(None, "a-b"),), (Tuple("x", "-> [y]", 8, True, (False, " ")), Name(0)))))
def test_what_is_written_is_read(flow: Flow) -> None:
    writer = Writer()
    text, ends = writer.write_flow(flow, ())
    meant = Graph(tuple(writer.nodes), ends)
    assert parsed(text.encode()) == meant
    again = formatted(text.encode())
    assert parsed(again) == meant
    assert formatted(again) == again
