# SPDX-License-Identifier: BSD-3-Clause
"""ffpfd's counters for Prometheus: OpenMetrics over a UNIX socket, and over loopback where that is configured.

    server = MetricsServer(snapshot)                    # awaited for a Status
    await server.listen_unix(path, 0o660)
    await server.listen_tcp(*loopback_address("127.0.0.1:9750"))   # of listener.py

Labels are few: source, group, reason, level, and class of nodes. Flows and nodes have no series of their own;
`ffpf status` shows them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from pyffpf.daemon.status import FlowStatus, GroupStatus, Status

REQUEST_MAX_BYTES = 8192
REQUEST_TIMEOUT_S = 5.0
ENCODING_DEFAULT = "application/openmetrics-text; version=1.0.0"


class StatusCollector(Collector):
    """The status document as metric families."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def describe(self) -> Iterator[Metric]:
        """Nothing: names need not be checked against other collectors, and no snapshot is taken for it."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        status = self._status
        yield InfoMetricFamily("ffpf", "The daemon.", value={"server": status.server, "holder": status.holder})
        yield GaugeMetricFamily(
            "process_start_time_seconds", "Start of this daemon process, since 1970.", value=status.started_at
        )
        yield GaugeMetricFamily(
            "ffpf_adoptions", "Daemons before this one whose captures were taken over.", value=status.adoptions
        )
        yield from _sources(status)
        yield from _groups(status)
        yield from _flows(status)
        yield from _nodes(status)


def _sources(status: Status) -> Iterator[Metric]:
    up = GaugeMetricFamily("ffpf_source_up", "1 while the source is up.", labels=["source"])
    packets = CounterMetricFamily("ffpf_source_packets", "Packets that the source's hook was given.", labels=["source"])
    drops = CounterMetricFamily(
        "ffpf_source_dropped", "Packets lost before any flow saw them.", labels=["source", "reason"]
    )
    programs = GaugeMetricFamily("ffpf_source_instructions", "Size of the source's programs.", labels=["source"])
    for source in status.sources:
        up.add_metric([source.name], float(source.state == "up"))
        packets.add_metric([source.name], source.packets)
        programs.add_metric([source.name], sum(program.instructions for program in source.programs))
        for reason, count in sorted(source.dropped.items()):
            drops.add_metric([source.name, reason], count)
    yield from (up, packets, drops, programs)


def _nodes(status: Status) -> Iterator[Metric]:
    """By class, and not by node: there are as many series as there are classes in the kernel. A node that several flows
    share is one."""
    labels = ["source", "class"]
    came = CounterMetricFamily("ffpf_node_packets_in", "Packets that came to nodes in the kernel.", labels=labels)
    out = CounterMetricFamily("ffpf_node_packets_out", "Packets that these let out.", labels=labels)
    for source in status.sources:
        for kind, counted in source.nodes.items():
            came.add_metric([source.name, kind], counted[0])
            out.add_metric([source.name, kind], counted[1])
    running = GaugeMetricFamily("ffpf_nodes", "Nodes of graphs, by where they run.", labels=["source", "level"])
    seen: dict[tuple[str, str], set[object]] = {}
    for graph in status.graphs:
        for position, node in enumerate(graph.nodes):
            if node.inputs:
                which = (graph.gid, node.number) if node.worker else node.number
                where = seen.setdefault((graph.source, node.level), set())
                where.add((graph.id, position) if which is None else which)
    for key, nodes in sorted(seen.items()):
        running.add_metric(key, len(nodes))
    yield from (came, out, running)


def _groups(status: Status) -> Iterator[Metric]:
    labels = ["source", "group"]
    size = GaugeMetricFamily("ffpf_buffer_bytes", "Packet buffers of the group, all lanes.", labels=labels)
    records = CounterMetricFamily("ffpf_records", "Packets stored for the group.", labels=labels)
    moves = CounterMetricFamily("ffpf_group_moves", "Times the group went to fresh buffers.", labels=labels)
    for group in status.groups:
        key = [group.source, group_label(group)]
        size.add_metric(key, group.buffer_bytes)
        records.add_metric(key, group.records)
        moves.add_metric(key, group.moves)
    yield from (size, records, moves)


def _flows(status: Status) -> Iterator[Metric]:
    """Sums over a group's flows, closed ones included: they do not go back while the group is there. Law:
    seen = filtered + delivered + dropped + unread + waiting."""
    names = ("seen", "filtered", "delivered", "unread")
    counts: dict[str, Counter[tuple[str, str]]] = {name: Counter() for name in names}
    dropped: Counter[tuple[str, str, str]] = Counter()
    levels: Counter[tuple[str, str, str]] = Counter()
    waiting: Counter[tuple[str, str]] = Counter()
    for group in status.groups:
        key = (group.source, group_label(group))
        for name, totals in counts.items():
            totals[key] += getattr(group.closed, name)
        for reason, count in group.closed.dropped.items():
            dropped[(*key, reason)] += count
        for level in ("kernel", "userspace"):
            levels[(*key, level)] += 0
    for flow in status.flows:
        key = (flow.source, group_label(flow))
        for name in ("seen", "filtered", "delivered"):
            counts[name][key] += getattr(flow, name)
        for reason, count in flow.dropped.items():
            dropped[(*key, reason)] += count
        levels[(*key, flow.level)] += 1
        waiting[key] += flow.waiting
    texts = {
        "seen": "Packets that reached the flows.",
        "filtered": "Packets that the flows' filters turned away.",
        "delivered": "Packets that were given to the applications.",
        "unread": "Packets that waited for their application when its flow was closed.",
    }
    labels = ["source", "group"]
    for name, totals in counts.items():
        family = CounterMetricFamily(f"ffpf_packets_{name}", texts[name], labels=labels)
        for key, count in sorted(totals.items()):
            family.add_metric(key, count)
        yield family
    drops = CounterMetricFamily("ffpf_packets_dropped", "Packets that the flows lost.", labels=[*labels, "reason"])
    for drop_key, count in sorted(dropped.items()):
        drops.add_metric(drop_key, count)
    open_flows = GaugeMetricFamily("ffpf_flows", "Open flows, by where their filter runs.", labels=[*labels, "level"])
    for level_key, count in sorted(levels.items()):
        open_flows.add_metric(level_key, count)
    not_yet = GaugeMetricFamily("ffpf_packets_waiting", "Packets stored and not yet read.", labels=labels)
    for key, count in sorted(waiting.items()):
        not_yet.add_metric(key, count)
    yield from (drops, open_flows, not_yet)


def group_label(item: GroupStatus | FlowStatus) -> str:
    """The group's name, or its gid as text."""
    name = item.name if isinstance(item, GroupStatus) else item.group
    return name or str(item.gid)


class MetricsServer:
    """A web server with one page, /metrics. Lives in the daemon's event loop; a scrape takes one snapshot."""

    def __init__(self, snapshot: Callable[[], Coroutine[None, None, Status]]) -> None:
        self._snapshot = snapshot
        self._servers: list[asyncio.Server] = []
        self._paths: list[Path] = []

    async def listen_unix(self, path: Path, mode: int) -> None:
        """At a path, which must be a stale socket or nothing. OSError when that cannot be done."""
        with contextlib.suppress(FileNotFoundError):
            if path.is_socket():
                path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        before = os.umask(0o777 & ~mode)
        try:
            listener.bind(str(path))
        except BaseException:
            listener.close()
            raise
        finally:
            os.umask(before)
        self._servers.append(await asyncio.start_unix_server(self._serve, sock=listener, limit=REQUEST_MAX_BYTES))
        self._paths.append(path)

    async def listen_tcp(self, host: str, port: int) -> None:
        """On loopback. OSError when that cannot be done."""
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"{host} is not loopback")
        self._servers.append(await asyncio.start_server(self._serve, host, port, limit=REQUEST_MAX_BYTES))

    async def close(self) -> None:
        for server in self._servers:
            server.close()
            await server.wait_closed()
        for path in self._paths:
            path.unlink(missing_ok=True)
        self._servers, self._paths = [], []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._response(head.decode("latin-1")))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # who does not ask properly, or does not read, gets no answer
        finally:
            writer.close()

    async def _response(self, head: str) -> bytes:
        request, *lines = head.split("\r\n")
        words = request.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _http("400 Bad Request", "text/plain", b"", True)
        method, target, _ = words
        if method not in ("GET", "HEAD"):
            return _http("405 Method Not Allowed", "text/plain", b"only GET\n", True)
        if target.split("?", 1)[0] != "/metrics":
            return _http("404 Not Found", "text/plain", b"the page is /metrics\n", method == "GET")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        accept = headers.get("accept", "*/*")
        encode, content_type = choose_encoder(ENCODING_DEFAULT if accept == "*/*" else accept)
        registry = CollectorRegistry(auto_describe=False)
        # It holds locks of sources while threads ask their engines: who hangs up must not end it in the middle.
        registry.register(StatusCollector(await asyncio.shield(self._snapshot())))
        return _http("200 OK", content_type, encode(registry), method == "GET")


def _http(status: str, content_type: str, body: bytes, with_body: bool) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    return head.encode() + b"\r\n" + (body if with_body else b"")
