# SPDX-License-Identifier: BSD-3-Clause
"""Filter calls (the paper's section 2.2, Figure 2b): EXTERN runs another filter with the caller's packet and MBuf."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest
from pyffpf._core import ffi, lib

from graph.hooked_engine import FRAMES, PORTS, Hooked, memory_of


class Case(NamedTuple):
    """What of FRAMES passes, and the first double words of the caller's MBuf afterwards."""

    text: str
    results: tuple[int, ...]  # of the packets that pass
    memory: tuple[int, ...]
    dropped: int = 0


CASES = {
    "result is the value": Case(
        'web=(FPL-2,"RETURN 7 * (TCP_DPORT == 80);"); (device,hook:h) -> (FPL-2,"RETURN EXTERN(web,0,0);",8)',
        (7, 7, 7), (0, 0)),
    "same memory": Case(
        'count=(FPL-2,"MEM[1] += MEM[0];"); '
        '(device,hook:h) -> (FPL-2,"MEM[0] = TCP_DPORT; EXTERN(count,0,0); RETURN MEM[1];",8)',
        (80, 161, 241, 684, 764), (80, 764)),
    "as much of it as it asks for": Case(
        'first=(FPL-2,"MEM[4]++;",8); (device,hook:h) -> (FPL-2,"EXTERN(first,0,0); RETURN 1;",64)',
        (1,) * 5, (5, 0, 0)),
    "no memory at all": Case(
        'web=(FPL-2,"RETURN TCP_DPORT == 80;"); (device,hook:h) -> (FPL-2,"RETURN EXTERN(\\"web\\",0,0);")',
        (1, 1, 1), ()),
    "callees of callees, in any case": Case(
        'one=(FPL-2,"MEM[0]++; RETURN 2;"); two=(FPL-2,"RETURN EXTERN(ONE,0,0) + EXTERN(one,0,0);"); '
        '(device,hook:h) -> (FPL-2,"RETURN EXTERN(Two,0,0);",8)',
        (4,) * 5, (10, 0)),
    "BPF": Case(
        'web=(BPF,"tcp port 80"); (device,hook:h) -> (FPL-2,"IF (EXTERN(web,0,0)) THEN MEM[0]++; RETURN 1; FI",8)',
        (1, 1, 1), (3, 0)),
    "classes in C share their MBuf": Case(
        'each=(packetcount); third=(sampler,3); (device,hook:h) -> '
        '(FPL-2,"EXTERN(each,0,0); IF (EXTERN(third,0,0)) THEN RETURN 1; FI",64)',
        (1,), (10, 0)),  # both count packets in the first word
    "state of a class": Case(
        'odd=(sampler,2); (device,hook:h) -> (FPL-2,"RETURN EXTERN(odd,0,0) != 0;",8)', (1, 1), (5, 0)),
    "one instance for two calls": Case(
        'each=(packetcount); (device,hook:h) -> (FPL-2,"EXTERN(each,0,0); RETURN EXTERN(each,0,0) != 0;",8)',
        (1,) * 5, (10, 0)),
    "what it drops": Case(
        'mine=(FPL-2,"IF (TCP_DPORT == 80) THEN EXTERN(drop,0,0); FI RETURN 1;"); '
        '(device,hook:h) -> (FPL-2,"EXTERN(mine,0,0); RETURN 1;",8)',
        (1, 1), (0, 0), 3),
    "FPL-1 is called": Case(
        'old=(FPL-1,".memory 8; pkt.u16 36; push 80; eq; jz no; ret 9; no: ret 0"); '
        '(device,hook:h) -> (FPL-2,"RETURN EXTERN(old,0,0);",64)',
        (9, 9, 9), (0, 0)),
    "FPL-1 calls": Case(
        'new=(FPL-2,"MEM[1]++; RETURN TCP_DPORT;"); (device,hook:h) -> '
        '(FPL-1,"push 0; push 0; call new; ret",64)',
        PORTS, (0, 5)),
    "names in macros": Case(
        'web=(FPL-2,"RETURN TCP_DPORT == 80;"); '
        '(device,hook:h) -> (FPL-2,"MACRO WEB = EXTERN(web, 0, 0); RETURN WEB;",8)',
        (1, 1, 1), (0, 0)),
    "what is not called costs nothing": Case(
        'unused=(FPL-2,"this is no program"); (device,hook:h) -> (FPL-2,"RETURN 1;",8)', (1,) * 5, (0, 0)),
    "comments call nobody": Case(
        'unused=(FPL-2,"this is no program"); (device,hook:h) -> '
        '(FPL-2,"/* unused, because */ RETURN 1 /* unused */; // unused",8)', (1,) * 5, (0, 0)),
    "a string is no comment": Case(
        'web=(FPL-2,"RETURN TCP_DPORT == 80;"); (device,hook:h) -> '
        '(FPL-2,"RETURN 0 CONTAINS \\"\\\\\\"//\\" || EXTERN(web,0,0);",8)', (1, 1, 1), (0, 0)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_calls(case: Case, engine: Hooked) -> None:
    flow = engine.flow(case.text)
    engine.read_begin(flow)
    engine.hand_over_frames()
    results = tuple(result for _, _, result in engine.read(flow, 99, wait_ms=0))
    assert results == case.results
    assert memory_of(engine, flow, 1, len(case.memory)) == case.memory
    assert sum(engine.counters(flow, 1).dropped) == case.dropped


class Refusal(NamedTuple):
    text: str
    column: int  # of the first line
    words: str


LOOP = "FOR (R[1] = 0; R[1] < 1000; R[1] += 1) R[2] += 1; ROF RETURN R[2];"
REFUSALS = {
    "itself": Refusal(
        'a=(FPL-2,"RETURN EXTERN(a,0,0);"); (device,hook:h) -> (FPL-2,"EXTERN(a,0,0);")',
        18, "FPL-2, 1:8: no external function a may be called here"),
    "in a circle": Refusal(
        'a=(FPL-2,"EXTERN(b,0,0);"); b=(FPL-2,"EXTERN(a,0,0);"); (device,hook:h) -> (FPL-2,"EXTERN(a,0,0);")',
        11, "FPL-2, 1:1: no external function b may be called here"),
    "none of that name": Refusal(
        'a=(BPF,tcp); (device,hook:h) -> (FPL-2,"EXTERN(b,0,0);")', 41, "no external function b may be called here"),
    "a class that is not there": Refusal('a=(XYZ); (device,hook:h) -> (FPL-2,"RETURN 1;")', 4, 'no class "XYZ"'),
    "a device": Refusal('a=(device,lo); (device,hook:h) -> (BPF,tcp)', 4, "a device is nothing to call"),
    "a function's name": Refusal('CheckSum=(BPF,tcp); (device,hook:h) -> (BPF,tcp)', 11, 'a function "CheckSum"'),
    "arguments of the class": Refusal(
        'a=(sampler,x); (device,hook:h) -> (FPL-2,"EXTERN(a,0,0);",8)', 12, "x"),
    "a program that is none": Refusal(
        'a=(FPL-2,"RETURN LENS;"); (device,hook:h) -> (FPL-2,"EXTERN(a,0,0);")', 18, "FPL-2, 1:8: LENS is not known"),
    "arguments of the call": Refusal(
        'a=(BPF,tcp); (device,hook:h) -> (FPL-2,"EXTERN(\\"a x\\",0,0);")',
        41, "no external function a x may be called here"),
    "more memory than there is": Refusal(
        'a=(FPL-2,"MEM[0]++;",64); (device,hook:h) -> (FPL-2,"EXTERN(a,0,0);",8)',
        11, "it takes 64 octets of its caller's MBuf, which has 8"),
    "a class that needs memory": Refusal(
        'a=(packetcount); (device,hook:h) -> (FPL-2,"EXTERN(a,0,0);")', 15, "it takes 8 octets of its caller's MBuf"),
    "what it costs": Refusal(
        f'a=(FPL-2,"{LOOP}"); (device,hook:h) -> (FPL-2,"FOR (R[1] = 0; R[1] < 1000; R[1] += 1)'
        ' EXTERN(a,0,0); ROF")', 108, "steps, more than 1000000"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS.values(), ids=list(REFUSALS))
def test_refusals(case: Refusal, engine: Hooked) -> None:
    flow, place = ffi.new("struct ffpf_graph_flow **"), ffi.new("struct ffpf_graph_error *")
    assert lib.ffpf_graph_flow_create(flow, engine.engine, ffi.NULL, lib.FFPF_GRAPH_SHARE_ALL, engine.err) == 0
    assert lib.ffpf_graph_flow_populate(flow[0], case.text.encode(), place) == 0
    assert lib.ffpf_graph_flow_instantiate(flow[0], place) < 0
    words = bytes(ffi.string(place.error.text)).decode()
    assert case.words in words
    assert (place.line, place.column) == (1, case.column), words
    assert lib.ffpf_engine_instance_count(engine.engine) == 0


def test_what_is_called_is_part_of_what_is_shared(engine: Hooked) -> None:
    """Random texts of a few parts: instances are one exactly when what they are made of is the same."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chosen = random.Random(seed)
    bodies = ('(BPF,"tcp")', '(BPF,"udp")', "(sampler,2)", "(sampler,3)")
    meant: dict[tuple[str, ...], set[int]] = {}
    for _ in range(8):
        first, second, calls = chosen.choice(bodies), chosen.choice(bodies), chosen.choice("ab")
        spare = chosen.choice(("", "c=(packetcount); "))
        text = f'{spare}a={first}; b={second}; (device,hook:h) -> (FPL-2,"RETURN EXTERN({calls},0,0);",64)'
        flow = engine.flow(text)
        node = ffi.new("struct ffpf_graph_flow_node *")
        assert lib.ffpf_graph_flow_node(flow, 1, node, engine.err) == 0
        meant.setdefault((calls, first if calls == "a" else second), set()).add(int(node.instance))
    assert all(len(found) == 1 for found in meant.values()), meant
    assert len(set.union(*meant.values())) == len(meant)


def test_an_instance_outlives_the_text_that_made_it(engine: Hooked) -> None:
    text = 'count=(FPL-2,"MEM[0]++; RETURN 1;"); (device,hook:h) -> (FPL-2,"RETURN EXTERN(count,0,0);",8)'
    first, second = engine.flow(text), engine.flow(text)
    engine.hand_over_frames()
    lib.ffpf_graph_flow_destroy(first)
    engine.hand_over_frames()
    assert memory_of(engine, second, 1, 1) == (2 * len(FRAMES),)


def test_names_that_mean_harm(engine: Hooked) -> None:
    """Whatever stands before the flow: an error with its place, or a flow that runs; never another end."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chosen = random.Random(seed)
    pieces = ("a", "A", "=", "(", ")", ";", "(BPF,tcp)", "(BPF,\"", "(packetcount)", "drop", "x" * 70, "_", "-", "->",
              ".", '"', "\\", "\n", " ", "é", "(device,hook:h)", "[", "|")  # fmt: skip
    for _ in range(400):
        text = "".join(chosen.choices(pieces, k=chosen.randrange(1, 9))) + "; (device,hook:h) -> (packetcount)"
        flow, place = ffi.new("struct ffpf_graph_flow **"), ffi.new("struct ffpf_graph_error *")
        assert lib.ffpf_graph_flow_create(flow, engine.engine, ffi.NULL, lib.FFPF_GRAPH_SHARE_ALL, engine.err) == 0
        if lib.ffpf_graph_flow_populate(flow[0], text.encode(), place) < 0 or (
            lib.ffpf_graph_flow_instantiate(flow[0], place) < 0
        ):
            assert place.line >= 1, text
            assert place.offset <= len(text.encode()), text
        lib.ffpf_graph_flow_destroy(flow[0])
    assert lib.ffpf_engine_instance_count(engine.engine) == 0
