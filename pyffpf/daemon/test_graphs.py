# SPDX-License-Identifier: BSD-3-Clause
"""Flows that are graphs on a source without a stage, and what the control protocol makes of requests about them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyffpf.cli.control import ControlError
from pyffpf.daemon.protocol import BadRequestError, Instantiate, parse
from pyffpf.daemon.testing import FakeRunning, running, wait_until

NODES = [{"class": "device", "argument": "eth0"}, {"class": "packetcount", "inputs": [0], "name": "n"}]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeRunning]:
    with running(tmp_path) as made:
        yield made


def test_without_a_stage_the_application_runs_all_nodes(server: FakeRunning) -> None:
    with server.connect() as tool, tool.do("flow", source="eth0") as flow:
        assert (flow["state"], flow["link_type"]) == ("populated", 1)
        with tool.do("graph", flow=flow["flow"], nodes=NODES) as made:
            assert made["nodes"][1] == {
                "level": "userspace", "reason": "packets of this source are captured in userspace",
            }  # fmt: skip
            assert made["delivered"] == [0]
            assert "ibuf:0" in made.fds
        assert tool.do("activate", flow=flow["flow"])["state"] == "active"
        assert tool.do("pause", flow=flow["flow"])["state"] == "paused"
        assert tool.do("nodes", flow=flow["flow"])["delivered"] == [0]
        tool.do("close", flow=flow["flow"])
        with pytest.raises(ControlError, match="has no flow"):
            tool.do("nodes", flow=flow["flow"])
    wait_until(lambda: not server.fake.live, "the end of all sources")


def test_who_goes_takes_its_graphs_along(server: FakeRunning) -> None:
    with server.connect() as tool:
        for _ in range(2):
            flow = tool.do("flow", source="eth0")["flow"]
            tool.do("graph", flow=flow, nodes=NODES).close()
        tool.do("flow", source="eth1")
        assert len(server.fake.live) == 2
    wait_until(lambda: not server.fake.live, "the end of all sources")


def test_others_flows_are_nobody_elses(server: FakeRunning) -> None:
    with server.connect() as one, server.connect() as other:
        flow = one.do("flow", source="eth0")["flow"]
        with pytest.raises(ControlError, match=f"this connection has no flow {flow} that is a graph"):
            other.do("graph", flow=flow, nodes=NODES)
        other.do("revoke", flow=flow, reason="enough")
        assert one.next_event() == {"event": "revoked", "flow": flow, "reason": "enough"}
        with pytest.raises(ControlError, match="was revoked"):
            one.do("graph", flow=flow, nodes=NODES)


def test_a_flow_has_one_source(server: FakeRunning) -> None:
    with server.connect() as tool:
        flow = tool.do("flow", source="eth0")["flow"]
        with pytest.raises(
            ControlError, match=r"\(device,eth1\): flow \d+ is of eth0, and a flow of ffpfd has one source"
        ):
            tool.do("graph", flow=flow, nodes=[NODES[0], {"class": "device", "argument": "eth1"}])


def graph(**more: Any) -> bytes:
    return json.dumps({"id": 1, "op": "graph", "flow": 1, "nodes": NODES, **more}).encode()


def test_a_graph_is_parsed_into_nodes() -> None:
    request = parse(graph(text="(device,eth0) -> n=(packetcount)"))
    assert isinstance(request, Instantiate)
    assert [(node.kind, node.argument, node.inputs, node.name) for node in request.nodes] == [
        ("device", "eth0", (), ""), ("packetcount", "", (0,), "n"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"nodes": []}, "a list of 1 to 60"),
        ({"nodes": [{"class": "a"}] * 61}, "a list of 1 to 60"),
        ({"nodes": [7]}, r"nodes\[0\] must be an object"),
        ({"nodes": [{"class": ""}]}, "class must have"),
        ({"nodes": [{"class": "a", "inputs": [-1]}]}, "inputs must be a list of positions"),
        ({"nodes": [{"class": "a", "argument": "\r"}]}, "argument must be printable"),
        ({"nodes": [{"class": "a", "insns": "!"}]}, "insns is not base64"),
        ({"nodes": [{"class": "a", "mbuf": 1 << 40}]}, "mbuf must be"),
        ({"nodes": [{"class": "a", "deliver": 1}]}, "deliver must be true or false"),
        ({"text": "x" * 20_000}, "text must be printable text"),
    ],
)
def test_what_is_no_graph_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequestError, match=said):
        parse(graph(**more))
