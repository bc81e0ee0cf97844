# SPDX-License-Identifier: BSD-3-Clause
"""The metrics, scraped and parsed back by Prometheus' own parsers."""

from __future__ import annotations

import asyncio
import http.client
import socket
import stat
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from pyffpf.daemon.listener import loopback_address
from pyffpf.daemon.metrics import MetricsServer, StatusCollector
from pyffpf.daemon.status import FlowStatus, GroupStatus, ProgramStatus, SourceStatus, Status, Totals

STATUS = Status(
    server="ffpfd 9.9",
    holder="systemd",
    started_at=1234.5,
    adoptions=3,
    sources=[
        SourceStatus("eth0", packets=1000, dropped={"nested": 2}, programs=[ProgramStatus("hook", -1, 900, 0)]),
        SourceStatus('we"ird\\0\n', state="down"),
    ],
    groups=[
        GroupStatus("eth0", 20, "dialout", buffer_bytes=1 << 26, records=77, moves=1, flows=2,
                    closed=Totals(100, 10, 80, {"pbuf": 8}, unread=2)),
        GroupStatus("eth0", 5000, flows=0),
    ],
    flows=[
        FlowStatus(1, "eth0", 20, "dialout", seen=10, filtered=1, delivered=5, waiting=2,
                   dropped={"pbuf": 1, "ibuf": 1}),
        FlowStatus(2, "eth0", 20, "dialout", level="userspace", seen=20, delivered=20),
    ],
)  # fmt: skip
GROUP = {"source": "eth0", "group": "dialout"}


class OverUnix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


def get(connection: http.client.HTTPConnection, target: str = "/metrics", **headers: str) -> tuple[int, str, str]:
    connection.request("GET", target, headers=headers)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, response.headers["Content-Type"], body


def served(path: Path, ask: Callable[[], object], status: Callable[[], Status] = lambda: STATUS) -> None:
    """Runs ask() in a thread while a server is there."""

    async def snapshot() -> Status:
        return status()

    async def run() -> None:
        server = MetricsServer(snapshot)
        await server.listen_unix(path, 0o660)
        try:
            await asyncio.to_thread(ask)
        finally:
            await server.close()

    asyncio.run(run())
    assert not path.exists()


def parse_openmetrics(body: str) -> list[Metric]:
    return list(openmetrics.text_string_to_metric_families(body))  # type: ignore[no-untyped-call]


def values(families: Iterable[Metric]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def test_openmetrics(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    got: list[tuple[int, str, str]] = []
    served(path, lambda: got.append(get(OverUnix(path))))
    (code, kind, body) = got[0]
    assert (code, kind.partition(";")[0]) == (200, "application/openmetrics-text")
    assert body.endswith("# EOF\n")
    families = {family.name: family for family in parse_openmetrics(body)}
    assert families["ffpf_packets_dropped"].type == "counter"
    assert families["ffpf_flows"].type == "gauge"
    found = values(families.values())

    def value(name: str, **labels: str) -> float:
        return found[name, frozenset(labels.items())]

    assert value("process_start_time_seconds") == 1234.5
    assert value("ffpf_info", server="ffpfd 9.9", holder="systemd") == 1
    assert value("ffpf_adoptions") == 3
    assert value("ffpf_source_packets_total", source="eth0") == 1000
    assert value("ffpf_source_dropped_total", source="eth0", reason="nested") == 2
    assert value("ffpf_source_up", source='we"ird\\0\n') == 0
    assert value("ffpf_source_instructions", source="eth0") == 900
    assert value("ffpf_buffer_bytes", **GROUP) == 1 << 26
    assert value("ffpf_records_total", **GROUP) == 77
    assert value("ffpf_group_moves_total", **GROUP) == 1
    assert value("ffpf_packets_seen_total", **GROUP) == 130
    assert value("ffpf_packets_filtered_total", **GROUP) == 11
    assert value("ffpf_packets_delivered_total", **GROUP) == 105
    assert value("ffpf_packets_waiting", **GROUP) == 2
    assert value("ffpf_packets_unread_total", **GROUP) == 2
    assert value("ffpf_packets_dropped_total", **GROUP, reason="pbuf") == 9
    assert value("ffpf_packets_dropped_total", **GROUP, reason="ibuf") == 1
    assert value("ffpf_flows", **GROUP, level="kernel") == 1
    assert value("ffpf_flows", **GROUP, level="userspace") == 1
    assert value("ffpf_flows", source="eth0", group="5000", level="kernel") == 0


def test_counters_do_not_go_back_when_a_flow_is_closed(tmp_path: Path) -> None:
    gone = STATUS.flows[0]
    (dialout, other) = STATUS.groups
    closed = Totals(110, 11, 85, {"pbuf": 9, "ibuf": 1}, unread=4)
    later = replace(STATUS, flows=STATUS.flows[1:], groups=[replace(dialout, closed=closed), other])
    path = tmp_path / "metrics.sock"
    bodies: list[str] = []
    states = iter([STATUS, later])

    def twice() -> None:
        bodies.extend(get(OverUnix(path))[2] for _ in range(2))

    served(path, twice, lambda: next(states))
    before, after = (values(parse_openmetrics(body)) for body in bodies)
    counters = {key for key in before if key[0].endswith("_total")}
    assert gone.seen and counters
    assert {key: (before[key], after[key]) for key in counters if after[key] < before[key]} == {}


def test_plain_text_for_who_asks_for_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    got: list[tuple[int, str, str]] = []
    served(path, lambda: got.append(get(OverUnix(path), Accept="text/plain")))
    assert got[0][1].startswith("text/plain")
    found = values(parse_plain(got[0][2]))
    assert found["ffpf_source_packets_total", frozenset({("source", "eth0")})] == 1000


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 404 "),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"HTTP/1.1 405 "),
        (b"HEAD /metrics?x=1 HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 "),
        (b"\x00\xff\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET /metrics HTTP/1.1\r\n" + b"x" * 20000, b""),
        (b"GET /metrics HTT", b""),
    ],
)
def test_what_is_no_request(tmp_path: Path, sent: bytes, answer: bytes) -> None:
    path = tmp_path / "metrics.sock"
    got: list[bytes] = []

    def ask() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(10)
            asking.connect(str(path))
            asking.sendall(sent)
            asking.shutdown(socket.SHUT_WR)
            try:
                while piece := asking.recv(65536):
                    got.append(piece)
            except ConnectionResetError:
                pass  # it was not read to its end
        assert get(OverUnix(path))[0] == 200  # the next one is served

    served(path, ask)
    reply = b"".join(got)
    assert reply.startswith(answer) if answer else not reply
    assert not sent.startswith(b"HEAD") or reply.endswith(b"\r\n\r\n")


def test_over_loopback_and_nowhere_else(tmp_path: Path) -> None:
    async def snapshot() -> Status:
        return STATUS

    async def run() -> tuple[int, str, str]:
        server = MetricsServer(snapshot)
        with socket.socket() as probing:
            probing.bind(("127.0.0.1", 0))
            port = probing.getsockname()[1]
        await server.listen_tcp("127.0.0.1", port)
        try:
            with pytest.raises(ValueError, match="not loopback"):
                await server.listen_tcp("0.0.0.0", port)
            return await asyncio.to_thread(get, http.client.HTTPConnection("127.0.0.1", port, timeout=10))
        finally:
            await server.close()

    code, _, body = asyncio.run(run())
    assert code == 200 and "ffpf_packets_seen_total" in body


def test_the_socket_belongs_to_its_group_and_replaces_a_stale_one(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(str(path))
    modes: list[int] = []
    served(path, lambda: modes.append(stat.S_IMODE(path.stat().st_mode)))
    assert modes == [0o660]
    path.write_text("somebody's file")
    with pytest.raises(OSError, match="in use"):
        served(path, lambda: None)
    assert path.read_text() == "somebody's file"


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:9750", ("127.0.0.1", 9750)), ("[::1]:1", ("::1", 1)), ("localhost:65535", ("127.0.0.1", 65535)),
     ("127.9.9.9:80", ("127.9.9.9", 80))],
)  # fmt: skip
def test_loopback_addresses(text: str, address: tuple[str, int]) -> None:
    assert loopback_address(text) == address


@pytest.mark.parametrize(
    ("text", "why"),
    [("0.0.0.0:9750", "loopback only"), ("[::]:9750", "loopback only"), ("192.0.2.1:1", "loopback only"),
     ("example.org:80", "not an address of this machine's"), ("127.0.0.1", "expected HOST:PORT"),
     ("127.0.0.1:0", "expected HOST:PORT"), ("127.0.0.1:65536", "expected HOST:PORT"), (":80", "not an address"),
     ("127.0.0.1:٣", "expected HOST:PORT")],
)  # fmt: skip
def test_other_addresses_are_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        loopback_address(text)


def test_sums_obey_the_law_also_when_flows_were_closed_unread() -> None:
    """What closed flows had not read was in no counter."""
    samples = values(StatusCollector(STATUS).collect())

    def total(name: str) -> float:
        group = set(GROUP.items())
        return sum(found for (sample, labels), found in samples.items() if sample == name and group <= labels)

    counted = ("filtered", "delivered", "dropped", "unread")
    accounted = sum(total(f"ffpf_packets_{name}_total") for name in counted) + total("ffpf_packets_waiting")
    assert total("ffpf_packets_seen_total") == accounted > 0
