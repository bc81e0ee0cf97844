# SPDX-License-Identifier: BSD-3-Clause
"""Graphs composed with operators: the text that comes out."""

from __future__ import annotations

import pytest

from pyffpf import compose
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
