# SPDX-License-Identifier: BSD-3-Clause
"""Who is at the other end of a connection, as the kernel tells it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from compat_tests.netns import Netns
from pyffpf.daemon.credentials import Peer, own_netns_cookie, peer_of
from pyffpf.daemon.testing import NOBODY, open_to_all

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")


def peer_when(path: Path, uid: int, groups: list[int]) -> Peer:
    """What is known of a child that connected as this user, has become nobody since, and has ended."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(path))
        path.chmod(0o666)
        listening.listen()
        pid = os.fork()
        if pid == 0:
            try:
                os.setgroups(groups)
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, 0)
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
                    client.connect(str(path))
                    os.seteuid(0)
                    os.setgroups([])
                    os.setresuid(NOBODY, NOBODY, NOBODY)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        listening.setblocking(False)  # it has connected by now, or never will
        accepted, _ = listening.accept()
        with accepted:
            peer = peer_of(accepted)
    path.unlink()
    assert peer.pid == pid
    return peer


@needs_root
@pytest.mark.parametrize("count", [0, 1, 64, 65, 5000])
def test_user_and_groups_are_those_of_the_moment_of_connecting(tmp_path: Path, count: int) -> None:
    open_to_all(tmp_path)
    groups = list(range(2000, 2000 + count))
    peer = peer_when(tmp_path / "sock", 4242, groups)
    assert (peer.uid, peer.gid, peer.groups) == (4242, 4242, frozenset([4242, *groups]))
    assert peer.netns_cookie == own_netns_cookie()


@needs_root
@pytest.mark.live
def test_namespaces_have_cookies_of_their_own() -> None:
    with Netns() as ns, Netns() as other:
        with ns.entered():
            one = own_netns_cookie()
        with other.entered():
            two = own_netns_cookie()
        assert len({one, two, own_netns_cookie()}) == 3
