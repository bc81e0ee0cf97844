# SPDX-License-Identifier: BSD-3-Clause
"""Filter graphs composed in Python: `>>` is "connects to", `|` is "in parallel with". What comes out is graph text.

    device("eth0") >> sampler(2) >> (bpf("tcp") | bpf("udp")) >> packetcount()
    (device,eth0) -> (sampler,2) -> (BPF,tcp) | (BPF,udp) -> (packetcount)

Python binds `>>` more tightly than `|`, graph text the other way round: alternatives stand in parentheses here, and a
chain that is an alternative comes out in brackets. A node that has a name and occurs again is the same node there.
What programs call by EXTERN are nodes with names, too, which stand before the flow:

    device("eth0") >> node("FPL-2", "RETURN EXTERN(web, 0, 0);", calls=[bpf("tcp port 80", name="web")])
    web=(BPF,tcp port 80); (device,eth0) -> (FPL-2,"RETURN EXTERN(web, 0, 0);")

`device`, `bpf`, `sampler`, `packetcount` and `bytecount` are the classes of the paper; of any other class the function
of its name makes a node: `topk(k=10, by="bytes")` is (topk,"k=10 by=bytes"); `node` takes the class as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

BARE = re.compile(r"[A-Za-z0-9_./:=+*%@-]+(?: [A-Za-z0-9_./:=+*%@-]+)*")
NAME = re.compile(r"[A-Za-z_](?:[A-Za-z0-9_]|-(?!>))*")


class Part:
    """A piece of a filter graph; never changes. `str` of it is graph text."""

    def __rshift__(self, other: Part) -> Chain:
        """self -> other: the packets that self lets through go to other."""
        if not isinstance(other, Part):
            return NotImplemented
        return Chain((*self._stages(), *other._stages()))

    def __or__(self, other: Part) -> Alternatives:
        """self | other: both get the packets, and what either lets through goes on once."""
        if not isinstance(other, Part):
            return NotImplemented
        return Alternatives((*self._alternatives(), *other._alternatives()))

    def _stages(self) -> tuple[Part, ...]:
        return (self,)

    def _alternatives(self) -> tuple[Part, ...]:
        return (self,)

    def _text(self, written: set[int]) -> str:
        """written: nodes with a name that are in the text already."""
        raise NotImplementedError

    def nodes(self) -> Iterator[Node]:
        """All nodes, in the order of the text; one that occurs again comes again."""
        return iter(())

    def __str__(self) -> str:
        callees = _callees(self)
        _check_names((*callees, *self.nodes()))
        return "".join(f"{callee._text(set())}; " for callee in callees) + self._text(set())

    def __repr__(self) -> str:
        """The text in angle brackets, also of a part that `str` refuses."""
        return f"<{self._text(set())}>"


@dataclass(frozen=True, eq=False, repr=False)
class Node(Part):
    """An instance of a filter class. expression: its arguments as one text; mbuf: octets, None for the class's size.
    calls: filters that its program calls, with names."""

    class_name: str
    expression: str = ""
    mbuf: int | None = None
    name: str | None = None
    calls: tuple[Node, ...] = ()

    def __post_init__(self) -> None:
        if not all(callee.name for callee in self.calls):
            raise ValueError("a filter that is called needs a name")
        for what, word in (("class", self.class_name), ("name", self.name)):
            if word is not None and not NAME.fullmatch(word):
                raise ValueError(f"{word!r} cannot be a {what}: letters, digits, '_' and '-', not a digit at first")
        if self.mbuf is not None and self.mbuf < 0:
            raise ValueError(f"an MBuf of {self.mbuf} octets")
        if "\0" in self.expression:
            raise ValueError("an expression cannot have a NUL in it")

    def nodes(self) -> Iterator[Node]:
        yield self

    def _text(self, written: set[int]) -> str:
        if self.name is not None:
            if id(self) in written:
                return self.name
            written.add(id(self))
        words = [self.class_name]
        if self.expression or self.mbuf is not None:
            words.append(quoted(self.expression))
        if self.mbuf is not None:
            words.append(str(self.mbuf))
        return (f"{self.name}=" if self.name else "") + f"({','.join(words)})"


@dataclass(frozen=True, eq=False, repr=False)
class Reference(Part):
    """A node by its name, usually of another flow: "name", or "flow.name"."""

    name: str

    def __post_init__(self) -> None:
        parts = self.name.split(".")
        if len(parts) > 2 or not all(NAME.fullmatch(part) for part in parts):
            raise ValueError(f"{self.name!r} cannot be the name of a node")

    def _text(self, written: set[int]) -> str:
        return self.name


@dataclass(frozen=True, eq=False, repr=False)
class Alternatives(Part):
    """Parts in parallel."""

    parts: tuple[Part, ...]

    def nodes(self) -> Iterator[Node]:
        for part in self.parts:
            yield from part.nodes()

    def _alternatives(self) -> tuple[Part, ...]:
        return self.parts

    def _text(self, written: set[int]) -> str:
        texts = [(part._text(written), isinstance(part, Chain)) for part in self.parts]
        return " | ".join(f"[{text}]" if is_chain else text for text, is_chain in texts)


@dataclass(frozen=True, eq=False, repr=False)
class Chain(Part):
    """Parts one after the other."""

    stages: tuple[Part, ...]

    def nodes(self) -> Iterator[Node]:
        for stage in self.stages:
            yield from stage.nodes()

    def _stages(self) -> tuple[Part, ...]:
        return self.stages

    def _text(self, written: set[int]) -> str:
        return " -> ".join([stage._text(written) for stage in self.stages])


def _callees(part: Part) -> tuple[Node, ...]:
    """What its programs call, each once, behind what it calls itself."""
    found: dict[int, Node] = {}

    def add(callee: Node) -> None:
        for one in callee.calls:
            add(one)
        found.setdefault(id(callee), callee)

    for one in part.nodes():
        for callee in one.calls:
            add(callee)
    return tuple(found.values())


def _check_names(nodes: Iterable[Node]) -> None:
    by_name: dict[str, Node] = {}
    for one in nodes:
        if one.name is not None and by_name.setdefault(one.name, one) is not one:
            raise ValueError(f"two nodes have the name {one.name!r}")


def quoted(text: str) -> str:
    """An expression as graph text has it: bare where that reads back, else in quotation marks."""
    if text == "" or BARE.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def node(
    class_name: str, *words: object, mbuf: int | None = None, name: str | None = None, calls: Iterable[Node] = (),
    **arguments: object,
) -> Node:  # fmt: skip
    """A node of any class. words and arguments become the expression: node("topk", k=10, by="bytes") is
    (topk,"k=10 by=bytes"). A value with a blank in it stands in single quotes there. calls: filters that its program
    calls. ValueError for a value that has a single quote besides."""
    values = [str(word) for word in words]
    values += [f"{key}={_value(value)}" for key, value in arguments.items()]
    return Node(class_name, " ".join(values), mbuf, name, tuple(calls))


def _value(value: object) -> str:
    text = str(value)
    if text and not re.search(r"[\s']", text):
        return text
    if "'" in text:
        raise ValueError(f"the value {text!r} cannot be written: it has a single quote in it")
    return f"'{text}'"


def device(*names: object, name: str | None = None) -> Part:
    """Interfaces, savefiles (their paths), "netfilter:HOOK", "hook:NAME"; several are joined."""
    if not names:
        raise ValueError("a device needs a name")
    if len(names) == 1:
        return Node("device", str(names[0]), name=name)
    if name is not None:
        raise ValueError("several devices cannot have one name")
    return Alternatives(tuple(Node("device", str(one)) for one in names))


def bpf(text: str, *, name: str | None = None) -> Node:
    """Packets that a filter as for tcpdump lets through."""
    return Node("BPF", text, name=name)


def sampler(*words: object, mbuf: int | None = None, name: str | None = None, **arguments: object) -> Node:
    """sampler(n): every n-th packet. What else there is, `ffpf-flow --classes sampler` says."""
    return node("sampler", *words, mbuf=mbuf, name=name, calls=(), **arguments)


def packetcount(*, mbuf: int | None = None, name: str | None = None) -> Node:
    """Counts packets in its MBuf, and lets all pass."""
    return Node("packetcount", mbuf=mbuf, name=name)


def bytecount(*, mbuf: int | None = None, name: str | None = None) -> Node:
    """Counts octets on the wire in its MBuf, and lets all pass."""
    return Node("bytecount", mbuf=mbuf, name=name)


def ref(name: str) -> Reference:
    """The node of that name, of another flow ("name", or "flow.name"): a flow that begins with it continues there."""
    return Reference(name)


def __getattr__(name: str) -> Callable[..., Node]:
    """Any other class by its name."""
    if name.startswith("_") or not NAME.fullmatch(name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return partial(node, name)
