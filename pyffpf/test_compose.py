# SPDX-License-Identifier: BSD-3-Clause
"""Graphs composed with operators: the text that comes out."""

from __future__ import annotations

from functools import reduce
from operator import or_, rshift

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyffpf import compose
from pyffpf._core import ffi, lib
from pyffpf.compose import Part, bpf, bytecount, device, node, packetcount, ref, sampler


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (device("eth0"), "(device,eth0)"),
        (device("eth0", "eth1") >> sampler(2, mbuf=4), "(device,eth0) | (device,eth1) -> (sampler,2,4)"),
        (device("eth0") >> sampler(2) >> (bpf("tcp") | bpf("udp")) >> packetcount(),
         "(device,eth0) -> (sampler,2) -> (BPF,tcp) | (BPF,udp) -> (packetcount)"),
        (bytecount(mbuf=8), "(bytecount,,8)"),
        (device("a") >> bpf("tcp") | device("b"), "[(device,a) -> (BPF,tcp)] | (device,b)"),
        ((device("a") >> bpf("tcp")) >> (bpf("x") >> bpf("y")), "(device,a) -> (BPF,tcp) -> (BPF,x) -> (BPF,y)"),
        (device("a") >> (bpf("x") | bpf("y") >> bpf("z")), "(device,a) -> (BPF,x) | [(BPF,y) -> (BPF,z)]"),
        ((bpf("x") | bpf("y")) | bpf("z"), "(BPF,x) | (BPF,y) | (BPF,z)"),
        (bpf('host "a" or (b\\c)'), '(BPF,"host \\"a\\" or (b\\\\c)")'),
        (bpf(" tcp"), '(BPF," tcp")'),
        (bpf("tcp[13] & 4 != 0"), '(BPF,"tcp[13] & 4 != 0")'),
        (bpf("tcp port 80", name="web"), "web=(BPF,tcp port 80)"),
        (ref("web") >> packetcount(), "web -> (packetcount)"),
        (ref("other.web") >> packetcount(), "other.web -> (packetcount)"),
        (node("topk", k=10, by="bytes", mbuf=4096), "(topk,k=10 by=bytes,4096)"),
        (node("sampler", "1/100", "random", seed=7), "(sampler,1/100 random seed=7)"),
        (node("file", path="/tmp/my file.pcap"), "(file,\"path='/tmp/my file.pcap'\")"),
        (device("a") >> node("FPL-2", "RETURN EXTERN(web,0,0);", calls=[bpf("tcp", name="web")]),
         'web=(BPF,tcp); (device,a) -> (FPL-2,"RETURN EXTERN(web,0,0);")'),
        (device("netfilter:input"), "(device,netfilter:input)"),
        (device("netfilter:input,inet"), '(device,"netfilter:input,inet")'),
    ],
)  # fmt: skip
def test_text(part: Part, text: str) -> None:
    assert str(part) == text


def test_a_named_node_that_occurs_again_is_the_same() -> None:
    sampled = sampler(2, name="x")
    assert str(device("a") >> sampled >> (bpf("tcp") | sampled)) == "(device,a) -> x=(sampler,2) -> (BPF,tcp) | x"
    assert str(device("a") >> sampled) == "(device,a) -> x=(sampler,2)"  # a part can be used in any number of graphs
    with pytest.raises(ValueError, match="two nodes have the name 'x'"):
        str(device("a") >> sampled >> sampler(3, name="x"))


def test_what_is_called_stands_once_before_the_flow() -> None:
    low = bpf("tcp", name="low")
    high = node("FPL-2", "EXTERN(low,0,0);", name="high", calls=[low])
    caller = [node("FPL-2", f"EXTERN(high,0,0); RETURN {number};", calls=[high, low]) for number in range(2)]
    assert str(device("a") >> (caller[0] | caller[1])) == (
        'low=(BPF,tcp); high=(FPL-2,"EXTERN(low,0,0);"); '
        '(device,a) -> (FPL-2,"EXTERN(high,0,0); RETURN 0;") | (FPL-2,"EXTERN(high,0,0); RETURN 1;")'
    )
    with pytest.raises(ValueError, match="two nodes have the name 'low'"):
        str(device("a") >> caller[0] >> packetcount(name="low"))
    with pytest.raises(ValueError, match="needs a name"):
        node("FPL-2", "RETURN 1;", calls=[bpf("tcp")])


def test_other_classes_by_their_names() -> None:
    assert str(compose.topk(k=3, name="top")) == "top=(topk,k=3)"
    with pytest.raises(AttributeError):
        _ = compose._private


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: device(), "needs a name"),
        (lambda: device("a", "b", name="x"), "one name"),
        (lambda: bpf("tcp", name="9x"), "'9x' cannot be a name"),
        (lambda: node("a b"), "'a b' cannot be a class"),
        (lambda: node("x", path="it's"), "single quote"),
        (lambda: bpf("a\0b"), "NUL"),
        (lambda: packetcount(mbuf=-1), "-1 octets"),
        (lambda: ref("a.b.c"), "'a.b.c'"),
    ],
)
def test_what_cannot_be_written(make: object, text: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=text):
        make()


def test_parts_connect_to_parts_only() -> None:
    with pytest.raises(TypeError):
        device("a") >> "(BPF,tcp)"  # type: ignore[operator]
    with pytest.raises(TypeError):
        device("a") | 3  # type: ignore[operator]


def parts() -> st.SearchStrategy[Part]:
    """Graphs of any shape and with any text in them."""
    texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
    leaves = st.builds(
        compose.Node,
        st.sampled_from(["BPF", "sampler", "FPL-2", "x_1"]),
        texts,
        st.none() | st.integers(0, 2**30),
    )

    def joined(children: st.SearchStrategy[Part]) -> st.SearchStrategy[Part]:
        lists = st.lists(children, min_size=2, max_size=3)
        return lists.map(lambda them: reduce(or_, them)) | lists.map(lambda them: reduce(rshift, them))

    return st.recursive(leaves, joined, max_leaves=6).map(lambda part: device("d") >> part)


def parsed(text: str) -> list[tuple[str, str, int | None]]:
    """What the core reads: of each node its class, expression and octets of MBuf, in the order of the text."""
    octets = text.encode()
    out, error = ffi.new("struct ffpf_graph_text **"), ffi.new("struct ffpf_graph_error *")
    assert lib.ffpf_graph_text_parse(out, octets, len(octets), error) == 0, (text, ffi.string(error.error.text))
    try:
        nodes = [out[0].nodes[number] for number in range(out[0].count)]
        return [
            (
                ffi.string(getattr(one, "class")).decode(),
                ffi.string(one.expression).decode(),
                int(one.mbuf_bytes) if one.has_mbuf else None,
            )
            for one in nodes
        ]
    finally:
        lib.ffpf_graph_text_free(out[0])


@settings(max_examples=200, deadline=None, print_blob=True)
@given(parts())
def test_the_core_reads_what_was_composed(part: Part) -> None:
    assert parsed(str(part)) == [(one.class_name, one.expression, one.mbuf) for one in part.nodes()]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_expression_can_be_written(expression: str) -> None:
    part = device("d") >> bpf(expression)
    assert parsed(str(part))[1] == ("BPF", expression, None)


def test_what_a_prompt_shows() -> None:
    assert repr(device("d") >> bpf("udp")) == "<(device,d) -> (BPF,udp)>"
    twice = bpf("tcp", name="x") | bpf("udp", name="x")
    assert repr(twice) == "<x=(BPF,tcp) | x=(BPF,udp)>"  # what str refuses can still be looked at
