# SPDX-License-Identifier: BSD-3-Clause
"""The control protocol, version 1, as docs/protocol.md describes it: one datagram is one JSON object.

    bytes -> parse() -> a request, or BadRequestError (code and text as the client will read them)
    reply(), failure(), event() -> bytes

A request is frozen and complete: whoever handles one has nothing left to check but rights and state.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn, TypeGuard

from fpl.graph.node import CALLS_MAX, MBUF_MAX, NODES_MAX, Callee, Node, Read

VERSION = 1
MESSAGE_MAX = 65536  # octets of one message
DESCRIPTORS_MAX = 100  # of one message; more follow with "more": true
ID_MAX = 2**53 - 1  # what every JSON reader holds exactly
NAME_MAX = 255
TEXT_MAX = 16384  # characters of a graph's text, and of a node's argument
INSNS_MAX = 4096  # BPF_MAXINSNS, include/uapi/linux/bpf_common.h (Linux 6.1)
INSN_BYTES = 8  # struct sock_filter
SNAP_LEN_MAX = 262144  # libpcap's largest
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")  # what EXTERN calls a filter


class Code(StrEnum):
    """Why a request failed: for programs. The text beside it is for people."""

    DENIED = "denied"
    NO_SUCH_DEVICE = "no-such-device"
    DEVICE_DOWN = "device-down"
    NOT_SUPPORTED = "not-supported"
    LIMIT = "limit"
    INVALID = "invalid"
    VERSION = "version"
    BUSY = "busy"
    FAILED = "failed"


class RefusedError(Exception):
    """A request that fails, in the words that its sender gets."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class BadRequestError(RefusedError):
    """A message that is no request. `id` is the sender's when it could be read, else 0."""

    def __init__(self, request_id: int, text: str, code: Code = Code.INVALID) -> None:
        super().__init__(code, text)
        self.id = request_id


@dataclass(frozen=True)
class Hello:
    id: int
    version: int
    program: str


@dataclass(frozen=True)
class Open:
    id: int
    source: str
    snap_len: int
    promisc: bool
    group: str | None


@dataclass(frozen=True)
class Filter:
    """insns: struct sock_filter, little endian, one after the other; None takes the filter away."""

    id: int
    flow: int
    insns: bytes | None


@dataclass(frozen=True)
class Successor:
    id: int
    flow: int
    lane: int


@dataclass(frozen=True)
class Close:
    id: int
    flow: int


@dataclass(frozen=True)
class Status:
    id: int


@dataclass(frozen=True)
class Revoke:
    """For administrators: ends somebody's flow; its reader keeps what it holds and sees no later packet."""

    id: int
    flow: int
    reason: str


@dataclass(frozen=True)
class OpenGraph:
    """A flow that will be a graph: what Open says of it."""

    open: Open

    @property
    def id(self) -> int:
        return self.open.id


@dataclass(frozen=True)
class Instantiate:
    """The flow's graph. text: what somebody wrote it as, for people. worker: what the kernel does not run may be run by
    the worker of the flow's group."""

    id: int
    flow: int
    text: str
    nodes: tuple[Node, ...]
    worker: bool = False


@dataclass(frozen=True)
class Switch:
    """activate, or pause."""

    id: int
    flow: int
    on: bool


@dataclass(frozen=True)
class Nodes:
    """The flow's nodes as they stand; mbufs: with their MBufs' descriptors."""

    id: int
    flow: int
    mbufs: bool


@dataclass(frozen=True)
class Report:
    """What a node that a worker runs tells of its results."""

    id: int
    flow: int
    position: int


@dataclass(frozen=True)
class Graphs:
    id: int


GraphRequest = OpenGraph | Instantiate | Switch | Nodes | Report | Graphs
Request = Hello | Open | Filter | Successor | Close | Status | Revoke | GraphRequest


class _Fields:
    """The keys of one message, each taken with its type checked."""

    def __init__(self, request_id: int, op: str, fields: Mapping[str, Any]) -> None:
        self._id = request_id
        self._op = op
        self._fields = fields

    def fail(self, text: str) -> NoReturn:
        raise BadRequestError(self._id, f"{self._op}: {text}")

    def uint(self, key: str, most: int = ID_MAX, *, default: int | None = None) -> int:
        value = self._fields.get(key, default)
        if not _is_uint(value):
            self.fail(f"{key} must be a whole number of 0 or more")
        if value > most:
            self.fail(f"{key} must be {most} at most")
        return int(value)

    def text(self, key: str, *, default: str | None = None) -> str:
        value = self._fields.get(key, default)
        if not isinstance(value, str):
            self.fail(f"{key} must be text")
        if not value or len(value) > NAME_MAX:
            self.fail(f"{key} must have 1 to {NAME_MAX} characters")
        if not value.isprintable():
            self.fail(f"{key} has characters that cannot be shown")
        return value

    def text_or_null(self, key: str) -> str | None:
        return None if self._fields.get(key) is None else self.text(key)

    def boolean(self, key: str, default: bool) -> bool:
        value = self._fields.get(key, default)
        if not isinstance(value, bool):
            self.fail(f"{key} must be true or false")
        return value

    def insns(self) -> bytes | None:
        if "insns" not in self._fields:
            self.fail("insns is missing; null takes the filter away")
        value = self._fields["insns"]
        if value is None:
            return None
        if not isinstance(value, str):
            self.fail("insns must be text in base64, or null")
        try:
            program = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            self.fail("insns is not base64")
        if not program or len(program) % INSN_BYTES:
            self.fail(f"insns must be a positive multiple of {INSN_BYTES} octets")
        if len(program) > INSNS_MAX * INSN_BYTES:
            self.fail(f"insns must be {INSNS_MAX} instructions at most")
        return program

    def graph_text(self) -> str:
        value = self._fields.get("text", "")
        if not isinstance(value, str) or len(value) > TEXT_MAX or not _is_lines(value):
            self.fail(f"text must be printable text of {TEXT_MAX} characters at most")
        return value

    def argument(self) -> str:
        value = self._fields.get("argument", "")
        if not isinstance(value, str) or len(value) > TEXT_MAX or not _is_lines(value):
            self.fail(f"argument must be printable text of {TEXT_MAX} characters at most")
        return value

    def mbuf(self) -> int | None:
        return None if self._fields.get("mbuf") is None else self.uint("mbuf", MBUF_MAX)

    def listed(self, what: str, most: int) -> list[object]:
        value = self._fields.get(what, [])
        if not isinstance(value, list) or len(value) > most:
            self.fail(f"{what} must be a list of {most} at most")
        return value

    def nodes(self) -> tuple[Node, ...]:
        value = self._fields.get("nodes")
        if not isinstance(value, list) or not 0 < len(value) <= NODES_MAX:
            self.fail(f"nodes must be a list of 1 to {NODES_MAX}")
        return tuple(self._node(number, item) for number, item in enumerate(value))

    def _node(self, number: int, item: object) -> Node:
        if not isinstance(item, dict):
            self.fail(f"nodes[{number}] must be an object")
        fields = _Fields(self._id, f"{self._op}: nodes[{number}]", item)
        inputs = item.get("inputs", [])
        if not isinstance(inputs, list) or len(inputs) > NODES_MAX or not all(map(_is_uint, inputs)):
            fields.fail("inputs must be a list of positions")
        return Node(
            kind=fields.text("class"),
            argument=fields.argument(),
            inputs=tuple(inputs),
            mbuf=fields.mbuf(),
            name=fields.text_or_null("name") or "",
            insns=fields.insns() if "insns" in item else None,
            private=fields.boolean("private", False),
            deliver=None if item.get("deliver") is None else fields.boolean("deliver", False),
            calls=tuple(self._callee(number, callee) for callee in fields.listed("calls", CALLS_MAX)),
            reads=tuple(self._read(number, read) for read in fields.listed("reads", NODES_MAX)),
        )

    def _word(self, number: int, what: str, item: object) -> _Fields:
        """Something of a node's that has a name."""
        if not isinstance(item, dict):
            self.fail(f"nodes[{number}]: {what} must be objects")
        fields = _Fields(self._id, f"{self._op}: nodes[{number}]: {what}", item)
        if not WORD.fullmatch(fields.text("name")):
            fields.fail("name must be a word")
        return fields

    def _read(self, number: int, item: object) -> Read:
        fields = self._word(number, "reads", item)
        return Read(fields.text("name"), fields.uint("node"))

    def _callee(self, number: int, item: object) -> Callee:
        fields = self._word(number, "calls", item)
        return Callee(fields.text("name"), fields.text("class"), fields.argument(), fields.mbuf())


def _is_lines(text: str) -> bool:
    """Printable, but for ends of lines and tabs: programs in FPL-2 have them."""
    return text.translate({ord("\n"): None, ord("\t"): None}).isprintable()


def _is_uint(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _hello(request_id: int, fields: _Fields) -> Request:
    return Hello(request_id, fields.uint("version"), fields.text("program", default="unknown"))


def _open(request_id: int, fields: _Fields) -> Open:
    return Open(
        request_id,
        fields.text("source"),
        fields.uint("snap_len", SNAP_LEN_MAX, default=SNAP_LEN_MAX),
        fields.boolean("promisc", False),
        fields.text_or_null("group"),
    )


def _filter(request_id: int, fields: _Fields) -> Request:
    return Filter(request_id, fields.uint("flow"), fields.insns())


def _successor(request_id: int, fields: _Fields) -> Request:
    return Successor(request_id, fields.uint("flow"), fields.uint("lane", 1023))


def _close(request_id: int, fields: _Fields) -> Request:
    return Close(request_id, fields.uint("flow"))


def _status(request_id: int, fields: _Fields) -> Request:
    return Status(request_id)


def _revoke(request_id: int, fields: _Fields) -> Request:
    return Revoke(request_id, fields.uint("flow"), fields.text("reason", default="revoked by an administrator"))


def _flow(request_id: int, fields: _Fields) -> Request:
    return OpenGraph(_open(request_id, fields))


def _graph(request_id: int, fields: _Fields) -> Request:
    worker = fields.boolean("worker", False)
    return Instantiate(request_id, fields.uint("flow"), fields.graph_text(), fields.nodes(), worker)


def _activate(request_id: int, fields: _Fields) -> Request:
    return Switch(request_id, fields.uint("flow"), on=True)


def _pause(request_id: int, fields: _Fields) -> Request:
    return Switch(request_id, fields.uint("flow"), on=False)


def _nodes(request_id: int, fields: _Fields) -> Request:
    return Nodes(request_id, fields.uint("flow"), fields.boolean("mbufs", False))


def _report(request_id: int, fields: _Fields) -> Request:
    return Report(request_id, fields.uint("flow"), fields.uint("node", NODES_MAX - 1))


def _graphs(request_id: int, fields: _Fields) -> Request:
    return Graphs(request_id)


OPERATIONS: dict[str, Callable[[int, _Fields], Request]] = {
    "hello": _hello,
    "open": _open,
    "filter": _filter,
    "successor": _successor,
    "close": _close,
    "status": _status,
    "revoke": _revoke,
    "flow": _flow,
    "graph": _graph,
    "activate": _activate,
    "pause": _pause,
    "nodes": _nodes,
    "report": _report,
    "graphs": _graphs,
}


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands there twice")
    return made


def parse(data: bytes) -> Request:
    """The request in one message; BadRequestError for everything else, whatever the octets are."""
    if len(data) > MESSAGE_MAX:
        raise BadRequestError(0, f"a message has {MESSAGE_MAX} octets at most")
    try:
        message = json.loads(data.decode(), parse_constant=_no_constant, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise BadRequestError(0, f"not a JSON object: {str(error)[:120]}") from error
    if not isinstance(message, dict):
        raise BadRequestError(0, "not a JSON object")
    request_id = message.get("id")
    if not _is_uint(request_id) or request_id > ID_MAX:
        raise BadRequestError(0, f"id must be a whole number from 0 to {ID_MAX}")
    op = message.get("op")
    if not isinstance(op, str):
        raise BadRequestError(request_id, "op must be text")
    make = OPERATIONS.get(op)
    if make is None:
        raise BadRequestError(request_id, f"no such op: {op[:40]!a}")
    return make(request_id, _Fields(request_id, op, message))


def encode(message: Mapping[str, Any]) -> bytes:
    """One message as octets."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=True).encode()


def failure(request_id: int, code: Code, text: str) -> dict[str, Any]:
    return {"id": request_id, "ok": False, "code": str(code), "error": text}


def event(kind: str, flow_id: int, **more: Any) -> dict[str, Any]:
    return {"event": kind, "flow": flow_id, **more}


def with_descriptors(
    reply: Mapping[str, Any], descriptors: Iterable[tuple[str, int]]
) -> list[tuple[dict[str, Any], list[int]]]:
    """The messages of a reply that carries descriptors: the first has everything else, the last has no "more"."""
    named = list(descriptors)
    parts = [named[at : at + DESCRIPTORS_MAX] for at in range(0, len(named), DESCRIPTORS_MAX)] or [[]]
    messages = []
    for number, part in enumerate(parts):
        message: dict[str, Any] = dict(reply) if number == 0 else {"id": reply["id"], "ok": True}
        message["fds"] = [name for name, _ in part]
        if number < len(parts) - 1:
            message["more"] = True
        messages.append((message, [fd for _, fd in part]))
    return messages
