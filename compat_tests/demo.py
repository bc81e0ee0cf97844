# SPDX-License-Identifier: BSD-3-Clause
"""`make demo`: unmodified tcpdump on FFPF beside the same tcpdump on stock libpcap, on the same replayed packets.

It makes a network namespace with a veth pair, starts one tcpdump on each library, replays a generated capture with
tcpreplay, and prints what each captured and what it cost; lets tcpdump read the capture on each; and starts several
tcpdumps at once, on stock libpcap, where each captures for itself, and sharing the one capture of an ffpfd. The
namespace goes when the demonstration ends.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import build
from bench import live, measure, shared
from compat_tests import captures, pcapfile

SIDES = ("ffpf-out", "ffpf-in")
PACKETS = 400_000  # of which three quarters for the tools at once
RATE = 100_000
FILTER = "tcp port 80"
ROUNDS = 5
NAMES = {"stock": "libpcap", "ffpf": "FFPF"}
CROWD = 8
CROWD_OCTETS = 576


@dataclass
class Tool:
    """One running tcpdump and where its words and packets go."""

    peer: str
    process: subprocess.Popen[bytes]
    started: float
    report: Path
    output: Path
    stats: Path

    def number(self, what: str) -> int:
        found = re.search(rf"^(\d+) packets? {what}", self.report.read_text(), re.MULTILINE)
        if not found:
            raise RuntimeError(f"tcpdump on {self.peer} printed no statistics: {self.report.read_text()}")
        return int(found[1])


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


def start(peer: str, folder: Path, options: list[str]) -> Tool:
    """Starts a tcpdump and waits until it listens."""
    report, output, stats = (folder / f"{peer}.{kind}" for kind in ("report", "pcap", "stats"))
    command = ["tcpdump", "-Z", "root", "-i", SIDES[1], "-w", str(output), *options]
    with report.open("w") as said:
        process = subprocess.Popen(command, env=measure.environment(peer, {"FFPF_STATS": str(stats)}), stderr=said)
    tool = Tool(peer, process, time.monotonic(), report, output, stats)
    try:
        measure.wait_until_listening(report)
    except RuntimeError:
        process.terminate()
        raise
    return tool


def same_packets(one: Path, other: Path) -> bool:
    """Whether two savefiles hold the same lengths and octets. Times differ: the kernel stamps for each socket anew."""
    pairs = zip(pcapfile.records(one.read_bytes()), pcapfile.records(other.read_bytes()), strict=True)
    try:
        return all((a.wire, a.data) == (b.wire, b.data) for a, b in pairs)
    except ValueError:  # one has more packets
        return False


def capture_side_by_side(capture: Path, packets: int, folder: Path, options: list[str]) -> bool:
    """Runs both tools over one replay and prints the table; True when they captured the same."""
    (folder / "ffpf.stats").unlink(missing_ok=True)
    tools = [start(peer, folder, options) for peer in measure.PEERS]
    replay = ["tcpreplay", "--quiet", "-i", SIDES[0], f"--pps={RATE}", str(capture)]
    subprocess.run(replay, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1.5)  # the last block reaches a tool with its read timeout
    rows = []
    for tool in tools:
        tool.process.send_signal(signal.SIGINT)
        use = measure.finish(tool.process, tool.started)
        captured, dropped = tool.number("captured"), tool.number("dropped by kernel")
        rows.append([NAMES[tool.peer], f"{captured:,}", f"{dropped:,}", f"{use.cpu:.2f} s",
                     f"{use.cpu * 1e9 / packets:.0f} ns", f"{tool.output.stat().st_size / 1e6:.0f} MB"])  # fmt: skip
    print(measure.table(["tcpdump on", "captured", "dropped", "CPU of the tool", "per packet sent", "savefile"], rows))
    served = tools[1].stats.read_text().strip() if tools[1].stats.exists() else ""
    print(f"    {served or 'FFPF did not serve the second one'}")
    same = same_packets(tools[0].output, tools[1].output)
    print(f"    the two savefiles {'hold the same packets, octet for octet' if same else 'DIFFER'}\n")
    return same and served.startswith("ffpf:")


def read_in_turns(capture: Path, packets: int) -> None:
    """Reads the capture with tcpdump on each library, in turns, and prints what it cost."""
    for what, options in (("everything", []), (f"'{FILTER}'", [FILTER])):
        used = measure.both(["tcpdump", "-r", str(capture), "-w", "/dev/null", *options], ROUNDS)
        cpu = {peer: measure.Spread.of([use.cpu for use in runs]) for peer, runs in used.items()}
        rows = [
            [NAMES[peer], f"{spread.median * 1e3:.0f} ms", f"{spread.median * 1e9 / packets:.0f} ns"]
            for peer, spread in cpu.items()
        ]
        print(measure.table([f"tcpdump -r, {what}", "CPU", "per packet"], rows) + "\n")


def crowd(folder: Path, packets: int) -> bool:
    """Several tcpdumps at once, on stock libpcap and on one ffpfd; prints the table. True when ffpfd lost nothing that
    the counters do not name."""
    rows, lawful = [], True
    with shared.running(folder) as daemon:
        load = live.Load(packets, CROWD_OCTETS)
        idle = shared.send(load)
        for peer in shared.PEERS:
            one = shared.capture(peer, CROWD, shared.TCPDUMP, load, folder, daemon)
            rows.append([{"stock": "libpcap, each for itself", "shared": "FFPF, one capture"}[peer],
                         f"{one.captured:,}", f"{one.dropped:,}", f"{one.sender - idle:.0f} ns", f"{one.tools:.0f} ns",
                         f"{one.sender - idle + one.tools:.0f} ns"])  # fmt: skip
            lawful &= peer == "stock" or one.captured + one.dropped == CROWD * packets
    header = ["on", "captured", "dropped", "CPU of the kernel", "of the tools", "together, per packet sent"]
    print(measure.table([f"{CROWD} tcpdumps {header[0]}", *header[1:]], rows), "\n")
    return lawful


def inside(packets: int) -> int:
    """What runs in the namespace."""
    measure.make_veth_pair(*SIDES)
    with tempfile.TemporaryDirectory(prefix="ffpf-demo-", dir="/dev/shm") as name:
        folder = Path(name)
        capture = folder / "imix.pcap"
        say(f"making a capture of {packets:,} packets of 60, 576 and 1500 octets")
        captures.write_imix(capture, packets)
        alike = True
        for what, options in (("everything", []), (f"'{FILTER}'", [FILTER])):
            say(
                f"tcpreplay at {RATE:,} packets/s; two tcpdumps capture {what} from the same interface at the same time"
            )
            alike &= capture_side_by_side(capture, packets, folder, ["-B", "16384", *options])
        say(f"tcpdump -r reads that capture, {ROUNDS} times on each library")
        read_in_turns(capture, packets)
        say(f"{CROWD} tcpdumps at once, {live.RATE:,} packets/s: on stock libpcap, and on one ffpfd")
        alike &= crowd(folder, packets * 3 // 4)
    if alike:
        say("done. Try it: .venv/bin/ffpf-run tcpdump -i lo -c 10; or .venv/bin/ffpfd, and .venv/bin/ffpf status")
    return 0 if alike else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--packets", type=int, default=PACKETS, help=f"in the first capture; {PACKETS} without")
    options = parser.parse_args()
    if options.inside:
        return inside(options.packets)
    if os.geteuid() != 0:
        print("the demonstration makes a network namespace: run it as root", file=sys.stderr)
        return 1
    say("making a network namespace with a veth pair (it goes when this ends)")
    command = ["unshare", "--net", sys.executable, "-m", "compat_tests.demo", "--inside"]
    command += ["--packets", str(options.packets)]
    with build.locked():
        build.build_bench_program(measure.ROOT / "bench" / "send.c")
    return subprocess.run(command, cwd=measure.ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
