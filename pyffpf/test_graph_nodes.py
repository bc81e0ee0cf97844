# SPDX-License-Identifier: BSD-3-Clause
"""Errors in the text of a flow of ffpfd: they are found, and shown in their place, as in the embedded engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyffpf import Flow
from pyffpf.errors import BadGraph
from pyffpf.graph_nodes import nodes_of

EMPTY = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")


@pytest.mark.parametrize(
    "last",
    [
        "(sampler,zero)", "(sampler)", '(sampler,"2 3")', '(packetcount,"x")', "(packetcount,,4)", '(topk,"k=0")',
        '(topk,"k=2\\" of=ip.src")', '(histogram,"of=nothing")', '(BPF,"tcp",8)', '(first_n,"2 idle=5x")',
        '(distinct,"of=")', '(rate,"1parsec")', "(flow_hash,9)", '(bytecount) -> é=(sampler,"1/2 odd")',
    ],
)  # fmt: skip
def test_wrong_arguments_have_the_place_that_the_embedded_engine_shows(tmp_path: Path, last: str) -> None:
    capture = tmp_path / "a.pcap"
    capture.write_bytes(EMPTY)
    text = f"(device,{capture})\n -> {last}"
    with pytest.raises(BadGraph) as remote:
        nodes_of(text, arguments=True)
    with pytest.raises(BadGraph) as embedded, Flow(text):
        pass
    assert str(remote.value) == str(embedded.value)
    assert remote.value.offset == embedded.value.offset is not None
    assert str(remote.value).splitlines()[-1].strip() == "^"


def test_what_is_right_or_unknown_here_is_let_through() -> None:
    text = '(device,eth0) -> (BPF,"tcp") -> s=(sampler,"2 by=hash") | (mine,"whatever") -> (topk,"k=3 of=ip.src")'
    kinds = ["device", "BPF", "mine", "topk"]
    found = [node.kind for node in nodes_of(text.replace('s=(sampler,"2 by=hash") | ', ""), arguments=True)]
    assert found == kinds
    assert len(nodes_of("(device,eth0) -> (sampler,zero)")) == 2  # arguments are looked at when that is asked for


@pytest.mark.parametrize(
    ("program", "called"),
    [
        ('(FPL-2,"RETURN EXTERN(web,0,0);")', ["web"]),
        ('(FPL-2,"RETURN 1; // as web, because\n/* EXTERN(web,0,0) */",8)', []),
        ('(FPL-2,"RETURN 0 CONTAINS \\"//\\" || EXTERN(web,0,0);")', ["web"]),
        ('(FPL-2,"USE \\"calls.fpl\\"; RETURN 1;")', ["web"]),
        ('(FPL-1,"ret 1 # as web")', []),
        ('(FPL-1,"push 0; push 0; call web; ret // as it")', ["web"]),
    ],
)
def test_comments_of_programs_call_nobody(program: str, called: list[str]) -> None:
    found = nodes_of(f'web=(BPF,"tcp port 80"); (device,eth0) -> {program}')
    assert [callee.name for callee in found[1].calls] == called
