# SPDX-License-Identifier: BSD-3-Clause
"""Requests are read whole or refused exactly; no octets bring the parser down."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpl.graph.node import Callee, Read
from pyffpf.daemon import protocol
from pyffpf.daemon.protocol import BadRequestError, Close, Filter, Hello, Open, Revoke, Status, Successor

PROGRAM = bytes(range(16))
REQUESTS: list[tuple[dict[str, Any], protocol.Request]] = [
    ({"id": 1, "op": "hello", "version": 1, "program": "tcpdump"}, Hello(1, 1, "tcpdump")),
    ({"id": 1, "op": "hello", "version": 7}, Hello(1, 7, "unknown")),
    (
        {"id": 2, "op": "open", "source": "eth0", "snap_len": 96, "promisc": True, "group": "wheel"},
        Open(2, "eth0", 96, True, "wheel"),
    ),
    ({"id": 2, "op": "open", "source": "any", "group": None}, Open(2, "any", 262144, False, None)),
    ({"id": 0, "op": "filter", "flow": 1, "insns": None}, Filter(0, 1, None)),
    ({"id": 3, "op": "filter", "flow": 1, "insns": base64.b64encode(PROGRAM).decode()}, Filter(3, 1, PROGRAM)),
    ({"id": 4, "op": "successor", "flow": 1, "lane": 3}, Successor(4, 1, 3)),
    ({"id": 5, "op": "close", "flow": 2**53 - 1}, Close(5, 2**53 - 1)),
    ({"id": 6, "op": "status", "from the future": [1, {}]}, Status(6)),
    ({"id": 7, "op": "revoke", "flow": 1, "reason": "enough"}, Revoke(7, 1, "enough")),
]


def graph(**node: Any) -> bytes:
    """A request with one node, a program."""
    nodes = [{"class": "FPL-2", "argument": "RETURN 1;", "inputs": [], **node}]
    return json.dumps({"id": 5, "op": "graph", "flow": 1, "nodes": nodes}).encode()


def test_what_programs_call_is_read() -> None:
    calls = (Callee("a", "BPF", "tcp"), Callee("b", "FPL-2", "EXTERN(a,0,0);", 8))
    reads = (Read("n", 7),)
    request = protocol.parse(graph(calls=[callee.said() for callee in calls], reads=[read.said() for read in reads]))
    assert isinstance(request, protocol.Instantiate)
    assert (request.nodes[0].calls, request.nodes[0].reads) == (calls, reads)


@pytest.mark.parametrize(("message", "request_"), REQUESTS)
def test_requests_are_read(message: dict[str, Any], request_: protocol.Request) -> None:
    assert protocol.parse(json.dumps(message).encode()) == request_


@pytest.mark.parametrize(
    ("message", "request_id", "text"),
    [
        (b"", 0, "not a JSON object"),
        (b"[]", 0, "not a JSON object"),
        (b"\xff\xfe{}", 0, "not a JSON object"),
        (b'{"id":1,"op":"status"} {}', 0, "not a JSON object"),
        (b'{"id":1,"op":"status","id":2}', 0, "twice"),
        (b'{"id":NaN,"op":"status"}', 0, "NaN is not JSON"),
        (b"[" * 60000, 0, "not a JSON object"),
        (b'{"id":' + b"9" * 5000 + b',"op":"status"}', 0, "not a JSON object"),
        (b'{"id":9007199254740992,"op":"status"}', 0, "id must be a whole number from 0 to 9007199254740991"),
        (b'{"id":1.0,"op":"status"}', 0, "id must be"),
        (b'{"id":true,"op":"status"}', 0, "id must be"),
        (b'{"op":"status"}', 0, "id must be"),
        (b'{"id":1}', 1, "op must be text"),
        (b'{"id":1,"op":["status"]}', 1, "op must be text"),
        (b'{"id":1,"op":"reboot"}', 1, "no such op: 'reboot'"),
        (b'{"id":1,"op":"hello","version":"1"}', 1, "hello: version must be a whole number of 0 or more"),
        (
            b'{"id":1,"op":"hello","version":1,"program":"a\\u001b[2J"}',
            1,
            "program has characters that cannot be shown",
        ),
        (b'{"id":1,"op":"hello","version":1,"program":"\\ud800"}', 1, "program has characters that cannot be shown"),
        (b'{"id":2,"op":"open"}', 2, "open: source must be text"),
        (b'{"id":2,"op":"open","source":""}', 2, "source must have 1 to 255 characters"),
        (b'{"id":2,"op":"open","source":"eth0","snap_len":262145}', 2, "snap_len must be 262144 at most"),
        (b'{"id":2,"op":"open","source":"eth0","promisc":1}', 2, "promisc must be true or false"),
        (b'{"id":2,"op":"open","source":"eth0","group":0}', 2, "group must be text"),
        (b'{"id":3,"op":"filter","flow":1}', 3, "insns is missing"),
        (b'{"id":3,"op":"filter","flow":1,"insns":"&"}', 3, "insns is not base64"),
        (b'{"id":3,"op":"filter","flow":1,"insns":"\\u00e9"}', 3, "insns is not base64"),
        (b'{"id":3,"op":"filter","flow":1,"insns":""}', 3, "insns must be a positive multiple of 8 octets"),
        (b'{"id":3,"op":"filter","flow":1,"insns":"AAAA"}', 3, "insns must be a positive multiple of 8 octets"),
        (b'{"id":3,"op":"filter","flow":-1,"insns":null}', 3, "flow must be a whole number of 0 or more"),
        (
            b'{"id":3,"op":"filter","flow":1,"insns":"%s"}' % base64.b64encode(bytes(8 * 4097)),
            3,
            "insns must be 4096 instructions at most",
        ),
        (b'{"id":4,"op":"successor","flow":1}', 4, "lane must be a whole number of 0 or more"),
        (graph(calls=[7]), 5, "graph: nodes[0]: calls must be objects"),
        (graph(calls={}), 5, "nodes[0]: calls must be a list of 64 at most"),
        (graph(calls=[{"class": "BPF"}] * 65), 5, "nodes[0]: calls must be a list of 64 at most"),
        (graph(calls=[{"name": "a=(BPF); b", "class": "BPF"}]), 5, "nodes[0]: calls: name must be a word"),
        (
            graph(calls=[{"name": "a", "class": "BPF", "argument": "\0"}]),
            5,
            "nodes[0]: calls: argument must be printable",
        ),
        (graph(calls=[{"name": "a", "class": "BPF", "mbuf": -1}]), 5, "calls: mbuf must be a whole number"),
        (graph(reads=[{"name": "a"}]), 5, "nodes[0]: reads: node must be a whole number"),
        (graph(reads=[{"name": "a b", "node": 0}]), 5, "nodes[0]: reads: name must be a word"),
        (b" " * 65537, 0, "a message has 65536 octets at most"),
    ],
)
def test_what_is_no_request_is_refused_in_exact_words(message: bytes, request_id: int, text: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        protocol.parse(message)
    assert refused.value.id == request_id
    assert text in refused.value.text
    assert len(protocol.encode(protocol.failure(request_id, refused.value.code, refused.value.text))) < 1000


def _survives(message: bytes) -> None:
    try:
        protocol.parse(message)
    except BadRequestError as refused:
        json.loads(protocol.encode(protocol.failure(refused.id, refused.code, refused.text)))


@settings(max_examples=300, deadline=None, print_blob=True)
@given(st.binary(max_size=400))
def test_any_octets_are_a_request_or_refused(message: bytes) -> None:
    _survives(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["version", "program", "source", "snap_len", "promisc", "group", "flow", "insns", "lane", "reason"]
)


@settings(max_examples=300, deadline=None, print_blob=True)
@given(
    st.integers(-1, 2**60) | JSON,
    st.sampled_from(sorted(protocol.OPERATIONS)) | JSON,
    st.dictionaries(KEYS, JSON, max_size=5),
)
def test_any_values_are_a_request_or_refused(request_id: object, op: object, fields: dict[str, object]) -> None:
    _survives(json.dumps({"id": request_id, "op": op, **fields}).encode())


def test_requests_with_octets_changed_are_a_request_or_refused() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(3000):
        message = bytearray(json.dumps(rng.choice(REQUESTS)[0]).encode())
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(message))
            match rng.randrange(3):
                case 0:
                    message[at] = rng.randrange(256)
                case 1:
                    del message[at:]
                    message += b"}"
                case 2:
                    message[at:at] = rng.choice([b'"', b"{", b"\\u", b"1e999", b"null", b"-"])
        _survives(bytes(message))


def test_a_reply_with_many_descriptors_is_continued() -> None:
    descriptors = [(f"lane:{number}", number) for number in range(250)]
    messages = protocol.with_descriptors({"id": 7, "ok": True, "flow": 1}, descriptors)
    assert [len(fds) for _, fds in messages] == [100, 100, 50]
    assert [message.get("more", False) for message, _ in messages] == [True, True, False]
    assert [message.get("flow") for message, _ in messages] == [1, None, None]
    assert {message["id"] for message, _ in messages} == {7}
    assert [
        (name, fd) for message, fds in messages for name, fd in zip(message["fds"], fds, strict=True)
    ] == descriptors
