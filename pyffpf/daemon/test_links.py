# SPDX-License-Identifier: BSD-3-Clause
"""rtnetlink's messages about interfaces; what is made of those that were missed."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compat_tests.netns import Netns
from pyffpf.daemon import links
from pyffpf.daemon.links import Link, LinkWatch
from pyffpf.daemon.testing import FakeRunning, running

AF_BRIDGE = 7


def message(kind: int, ifindex: int, name: bytes, flags: int = 0, family: int = 0) -> bytes:
    """As the kernel sends it: another attribute first, and the name padded to four octets."""
    attributes = struct.pack("=HHI", 8, 13, 1500)
    attributes += struct.pack("=HH", 4 + len(name) + 1, links.IFLA_IFNAME) + name + b"\0"
    body = struct.pack("=BxHiII", family, 1, ifindex, flags, 0) + attributes
    whole = struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body
    return whole + bytes(-len(whole) % 4)


def test_messages_are_read() -> None:
    data = message(links.RTM_NEWLINK, 3, b"eth0", links.IFF_UP) + message(links.RTM_DELLINK, 4, b"wlan-12")
    assert links.parse(data) == ([Link(3, "eth0", True), Link(4, "wlan-12", False, gone=True)], False)
    done = struct.pack("=IHHII", 16, links.NLMSG_DONE, 0, 0, 0)
    assert links.parse(message(links.RTM_NEWLINK, 3, b"a") + done) == ([Link(3, "a", False)], True)


def test_a_port_that_leaves_a_bridge_is_not_gone() -> None:
    assert links.parse(message(links.RTM_DELLINK, 3, b"eth0", family=AF_BRIDGE)) == ([], False)


@settings(max_examples=200, deadline=None, print_blob=True)
@given(st.binary(max_size=200), st.integers(0, 80))
def test_no_octets_bring_it_down(garbage: bytes, cut: int) -> None:
    whole = message(links.RTM_NEWLINK, 3, b"eth0")
    for data in (garbage, whole[:cut], whole[:cut] + garbage, whole + garbage):
        found, _ = links.parse(data)
        assert len(found) <= len(data) // 32


@pytest.mark.live
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a namespace")
def test_changes_are_told_as_they_come_and_all_links_on_request() -> None:
    async def scenario(ns: Netns) -> list[Link]:
        told: list[Link] = []
        with ns.entered():
            watch = LinkWatch(told.append, lambda _: None)
            there = links.all_links()
            assert {(link.ifindex, link.name) for link in there} == set(socket.if_nameindex())
        await asyncio.to_thread(ns.ip, "link", "add", "vx0", "type", "veth", "peer", "name", "vx1")
        await asyncio.to_thread(ns.ip, "link", "set", "vx0", "up")
        await asyncio.to_thread(ns.ip, "link", "set", "vx1", "up")
        await asyncio.to_thread(ns.ip, "link", "del", "vx0")
        while not {"vx0", "vx1"} <= {link.name for link in told if link.gone}:
            await asyncio.sleep(0.01)
        watch.close()
        return told

    with Netns() as ns:
        told = asyncio.run(asyncio.wait_for(scenario(ns), 20))
    seen = [(link.up, link.gone) for link in told if link.name == "vx0"]
    assert seen[0] == (False, False)
    assert (True, False) in seen
    assert seen[-1][1]


def test_what_was_missed_is_made_up_for(tmp_path: Path) -> None:
    def missed(server: FakeRunning, there: list[Link]) -> None:
        server.run(lambda daemon: daemon.service.links_missed(there))

    with running(tmp_path) as server, server.connect() as tool, tool.open("eth0"), tool.open("eth1"):
        missed(server, [Link(1, "eth0", up=False), Link(2, "lan1", up=True)])
        assert {(one.name, one.state) for one in tool.status().sources} == {("eth0", "down"), ("lan1", "up")}
        assert tool.next_event()["state"] == "down"
        missed(server, [Link(1, "eth0", up=True)])
        assert {(one.name, one.state) for one in tool.status().sources} == {("eth0", "up"), ("lan1", "gone")}
        assert {source.state for source in server.fake.live} == {"up", "gone"}
