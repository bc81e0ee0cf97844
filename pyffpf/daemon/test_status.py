# SPDX-License-Identifier: BSD-3-Clause
"""The status document: every field arrives, and versions that know more or less understand each other."""

from __future__ import annotations

import fcntl
import json
import os
from typing import Any

import pytest

from pyffpf.daemon import status
from pyffpf.daemon.status import FlowStatus, GroupStatus, ProgramStatus, SourceStatus, Status, Totals

EXAMPLE = Status(
    server="ffpfd 9.9",
    pid=7,
    started_at=1.5,
    uptime_s=3,
    monotonic_ns=10**18,
    adoptions=2,
    holder="process",
    sources=[SourceStatus("eth0", packets=2**63, dropped={"nested": 1}, programs=[ProgramStatus("hook", -1, 900)])],
    groups=[GroupStatus("eth0", 20, "dialout", closed=Totals(5, 1, 3, {"pbuf": 1}))],
    flows=[FlowStatus(17, "eth0", 20, program="tcpdump ü", seen=10, filtered=1, delivered=8, dropped={"ibuf": 1})],
)


def test_round_trip() -> None:
    fd = status.to_fd(EXAMPLE)
    assert status.from_fd(fd) == EXAMPLE
    assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"x", 0)
    os.close(fd)


def test_a_newer_daemon_says_more() -> None:
    document = json.loads(status.dumps(EXAMPLE))
    document["weather"] = {"rain": True}
    document["flows"][0]["colour"] = "blue"
    assert status.loads(json.dumps(document).encode()) == EXAMPLE


def test_an_older_daemon_says_less() -> None:
    document = json.loads(status.dumps(EXAMPLE))
    del document["holder"], document["groups"][0]["closed"]
    found = status.loads(json.dumps(document).encode())
    assert (found.holder, found.groups[0].closed) == ("", Totals())


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"pid": "7"}, "status.pid: expected int, found str"),
        ({"pid": True}, "status.pid: expected int, found bool"),
        ({"uptime_s": None}, "status.uptime_s: expected a number, found NoneType"),
        ({"flows": {}}, "status.flows: expected a list, found dict"),
        ({"flows": [{"id": 1, "gid": 2}]}, r"status.flows\[0\]: .*'source'"),
        ({"flows": [[]]}, r"status.flows\[0\]: expected an object, found list"),
        ({"sources": [{"name": "a", "dropped": {"x": 1.5}}]}, r"status.sources\[0\].dropped.x: expected int"),
    ],
)
def test_what_makes_no_sense_is_named(change: dict[str, Any], where: str) -> None:
    with pytest.raises(ValueError, match=where):
        status.loads(json.dumps(change).encode())


def test_not_a_document() -> None:
    for text in (b"", b"[1]", b"{"):
        with pytest.raises(ValueError):
            status.loads(text)
