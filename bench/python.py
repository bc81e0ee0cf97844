# SPDX-License-Identifier: BSD-3-Clause
"""(l) pyffpf against what Python reads packets with today: pypcap, pcapy-ng, dpkt, scapy, on the same million packets.

Each tool does each task in a process of its own, in turns; what is timed is the reading, not the start of the process.
All must find the same: numbers, sums and hosts are compared. scapy, and dpkt's decoding, read a part of the file: what
they cost a packet does not depend on how many there are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bench.measure import ROOT, Spread, machine, ratios, table
from compat_tests.capture_imix import write_imix

PACKETS = 1_000_000
DECODED = 100_000  # that dpkt decodes
SCAPY = 10_000
TASKS = ("count", "filter", "hosts", "loop")
AIMS = {"count": ("pypcap", 6.0), "filter": ("pypcap", 2.5), "hosts": ("dpkt", 100.0), "loop": ("pypcap", 1.0)}

# Each task of each tool: reads `path`, at most `limit` packets, and puts into `found` what it found. Times are taken
# around it.
SCRIPTS: dict[str, dict[str, str]] = {
    "pyffpf": {
        "count": """
with pyffpf.open(path) as capture:
    found = capture.count().packets
""",
        "filter": """
found = 0
with pyffpf.open(path, "tcp port 80") as capture:
    for batch in capture.batches(octets=False):
        found += int(batch["len"].sum())
""",
        "hosts": """
with pyffpf.open(path) as capture:
    top = capture.counts("ip.src", most=10)
found = [(-n, host) for n, host in zip(top["packets"].tolist(), top["ip.src"].tolist())]
""",
        "loop": """
found = 0
with pyffpf.open(path) as capture:
    for packet in capture:
        found += 1
""",
        "loop, len(data)": """
found = 0
with pyffpf.open(path) as capture:
    for packet in capture:
        found += len(packet.data)
""",
    },
    "pypcap": {
        "count": """
found = 0
for ts, octets in pcap.pcap(path):
    found += 1
""",
        "filter": """
capture = pcap.pcap(path)
capture.setfilter("tcp port 80")
found = 0
for ts, octets in capture:
    found += len(octets)
""",
        "loop": """
found = 0
for ts, octets in pcap.pcap(path):
    found += 1
""",
        "loop, len(data)": """
found = 0
for ts, octets in pcap.pcap(path):
    found += len(octets)
""",
    },
    "pcapy-ng": {
        "count": """
capture = pcapy.open_offline(path)
found = 0
while capture.next()[0] is not None:
    found += 1
""",
        "filter": """
capture = pcapy.open_offline(path)
capture.setfilter("tcp port 80")
found = 0
while True:
    header, octets = capture.next()
    if header is None:
        break
    found += header.getlen()
""",
        "loop": """
capture = pcapy.open_offline(path)
found = 0
while capture.next()[0] is not None:
    found += 1
""",
    },
    "dpkt": {
        "count": """
found = 0
with open(path, "rb") as file:
    for ts, octets in dpkt.pcap.Reader(file):
        found += 1
""",
        "filter": """
found = 0
with open(path, "rb") as file:
    for ts, octets in itertools.islice(dpkt.pcap.Reader(file), limit):
        segment = getattr(dpkt.ethernet.Ethernet(octets).data, "data", None)
        if isinstance(segment, dpkt.tcp.TCP) and 80 in (segment.sport, segment.dport):
            found += len(octets)
""",
        "hosts": """
counter = collections.Counter()
with open(path, "rb") as file:
    for ts, octets in itertools.islice(dpkt.pcap.Reader(file), limit):
        ip = dpkt.ethernet.Ethernet(octets).data
        if isinstance(ip, dpkt.ip.IP):
            counter[int.from_bytes(ip.src, "big")] += 1
found = heapq.nsmallest(10, ((-n, host) for host, n in counter.items()))
""",
    },
    "scapy": {
        "count": """
found = sum(1 for _ in itertools.islice(RawPcapReader(path), limit))
""",
        "filter": """
found = 0
for packet in itertools.islice(PcapReader(path), limit):
    if TCP in packet and 80 in (packet[TCP].sport, packet[TCP].dport):
        found += packet.wirelen
""",
        "hosts": """
counter = collections.Counter(packet[IP].src for packet in itertools.islice(PcapReader(path), limit) if IP in packet)
found = sorted((-n, int.from_bytes(map(int, host.split(".")), "big")) for host, n in counter.items())[:10]
""",
    },
}
IMPORTS = {
    "pyffpf": "import numpy as np, pyffpf, pyffpf.capture",
    "pypcap": "import pcap",
    "pcapy-ng": "import pcapy",
    "dpkt": "import collections, heapq, itertools, dpkt",
    "scapy": "import collections, itertools\nfrom scapy.all import IP, TCP, PcapReader, RawPcapReader",
}
LIMITS = {("dpkt", "filter"): DECODED, ("dpkt", "hosts"): DECODED, ("scapy", "count"): DECODED,
          ("scapy", "filter"): SCAPY, ("scapy", "hosts"): SCAPY}  # fmt: skip

# Headers and fields of what lies in memory already: a lane of this process, filled by the hook before the clock starts.
MEMORY = """
from bench.python_memory import filled
with filled(packets) as capture:
    start = time.perf_counter()
    found = 0
    {body}
    seconds = time.perf_counter() - start
"""
MEMORY_TASKS = {
    "headers(64)": "for heads in capture.headers(64):\n        found += len(heads)",
    "fields ip.src": 'for columns in capture.columns("ip.src"):\n        found += len(columns["ip.src"])',
    "fields ip.src, tcp.dport, frame.len": 'for columns in capture.columns("ip.src", "tcp.dport", "frame.len"):\n'
    '        found += len(columns["ip.src"])',
}
MEMORY_PACKETS = 400_000


def timed(script: str) -> tuple[float, object]:
    """Runs a script in a process of its own: the seconds that it says, and what it found."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'csrc'}"}
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True, env=env)
    seconds, found = json.loads(done.stdout.splitlines()[-1])
    return float(seconds), found


def script_of(tool: str, task: str, path: Path, limit: int) -> str:
    body = SCRIPTS[tool][task]
    return (
        f"import json, time\n{IMPORTS[tool]}\npath, limit = {str(path)!r}, {limit}\nstart = time.perf_counter()\n"
        f"{body}\nprint(json.dumps([time.perf_counter() - start, found]))"
    )


def memory_script(task: str) -> str:
    body = MEMORY.format(body=MEMORY_TASKS[task])
    return f"import json, time\npackets = {MEMORY_PACKETS}\n{body}\nprint(json.dumps([seconds, found]))"


def in_turns(rounds: int, scripts: Mapping[str, str]) -> tuple[dict[str, list[float]], dict[str, object]]:
    """Seconds of each script by round, one after the other; and what it found, always the same."""
    seconds: dict[str, list[float]] = {name: [] for name in scripts}
    found: dict[str, object] = {}
    for _ in range(rounds):
        for name, script in scripts.items():
            took, what = timed(script)
            seconds[name].append(took)
            assert found.setdefault(name, what) == what, f"{name} found {what}, and {found[name]} before"
    return seconds, found


def compare(path: Path, task: str, rounds: int) -> list[list[str]]:
    """Rows of the table for one task."""
    tools = [tool for tool in SCRIPTS if task in SCRIPTS[tool]]
    limits = {tool: LIMITS.get((tool, task), PACKETS) for tool in tools}
    scripts = {tool: script_of(tool, task, path, limits[tool]) for tool in tools}
    seconds, found = in_turns(rounds, scripts)
    whole = {tool: found[tool] for tool in tools if limits[tool] == PACKETS}
    assert all(what == whole["pyffpf"] for what in whole.values()), whole
    costs = {tool: [s / limits[tool] * 1e9 for s in seconds[tool]] for tool in tools}
    rows = []
    for tool in tools:
        peer, aim = AIMS.get(task, ("", 0.0))
        shown = f"{aim:g}" if peer == tool else "150" if (task, tool) == ("filter", "dpkt") else ""
        times = ratios(costs[tool], costs["pyffpf"]).text(2)
        rows.append([task, tool, f"{limits[tool]:,}", Spread.of(costs[tool]).text(), times, shown])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="tasks whose name has this text in it")
    args = parser.parse_args()
    print(f"a million packets, {args.rounds} rounds in turns; {machine()}\n")
    rows = []
    with tempfile.TemporaryDirectory(prefix="ffpf-bench-") as folder:
        path = Path(folder) / "imix.pcap"
        write_imix(path, PACKETS)
        for task in [task for task in [*TASKS, "loop, len(data)"] if args.only in task]:
            rows += compare(path, task, args.rounds)
    print(table(["task", "tool", "packets read", "ns a packet", "times pyffpf's", "aim"], rows))
    seconds, found = in_turns(args.rounds, {task: memory_script(task) for task in MEMORY_TASKS})
    assert all(what == MEMORY_PACKETS for what in found.values()), found
    rows = []
    for task, took in seconds.items():
        cost = Spread.of([s / MEMORY_PACKETS * 1e9 for s in took])
        rows.append([task, cost.text(), Spread.of([MEMORY_PACKETS / s / 1e6 for s in took]).text(), "20"])
    print()
    print(table(["from a full PBuf", "ns a packet", "million packets/s", "aim"], rows))


if __name__ == "__main__":
    main()
