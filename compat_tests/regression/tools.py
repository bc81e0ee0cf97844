# SPDX-License-Identifier: BSD-3-Clause
"""The tools: one row each. A new tool is one more row of TOOLS.

Every tool captures all packets of the interface and leaves behind, as a savefile or as text, what it saw of each.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compat_tests import daq, harness, pcapngfile
from compat_tests.harness import Expect, Outcome, Side, without_costs
from compat_tests.live import LiveCase
from compat_tests.regression import ids, traffic

DRIVER = Path(__file__).resolve().parent / "driver.py"
DAQ = "daq_driver"  # in the run's own directory
OWN_LIBPCAP = harness.SYSTEM  # under modules that bring a libpcap of another release
MARKER = traffic.END[: traffic.LEAST + 4].hex()


def as_it_is(outcome: Outcome) -> None:
    """The default of Tool.prepared."""
    del outcome


@dataclass(frozen=True)
class Tool:
    """A program that captures. needs: what must be on PATH, else the tool is left out, and the report says so.

    prepared: changes an outcome before it is compared, where a file has what no two runs share. whole: reads behind a
    packet that is shorter than its headers say, so that what it makes of those is chance, on stock too. asks: of the
    kernel about its interface, beside libpcap, and so captures on nothing else. tells: how many packets it lost.
    version: what the program says with -V, where others have its name. packaged: Debian has it, so that where it lacks
    something was forgotten.
    """

    name: str
    needs: str
    case: LiveCase
    prepared: Callable[[Outcome], None] = as_it_is
    whole: bool = False
    asks: bool = False
    tells: bool = True
    version: str = ""
    packaged: bool = True

    @property
    def missing(self) -> bool:
        if self.version:
            return self.version not in ids.version(self.needs)
        return shutil.which(self.needs) is None


def without_dumpcaps_clock(stream: str, content: bytes) -> bytes:
    return pcapngfile.without_statistics_times(content) if stream.startswith("out") else content


def without_argus_records(outcome: Outcome) -> None:
    """argus writes numbers of its own process into its file: what ra reads of the flows is compared instead."""
    content = outcome.files.pop("out", b"")
    if not content:
        return
    with harness.scratch() as folder:
        path = folder / "out"
        path.write_bytes(content)
        fields = "stime ltime proto saddr sport daddr dport pkts bytes"
        done = subprocess.run(
            ["ra", "-r", str(path), "-n", "-u", "-c", ",", "-s", *fields.split(), "-", "not", "man"],
            capture_output=True,
            check=False,
        )
    outcome.stderr = re.sub(rb"(?m)^ *Argus(Alert|Info|Warning).*\n", b"", outcome.stderr)
    outcome.files["flows"] = b"\n".join(sorted(done.stdout.splitlines()))


# softflowd ends well only when it is told to by softflowctl, which also shows what it counted.
SOFTFLOWD = """
trap 'for word in statistics shutdown; do softflowctl -c {cwd}/ctl $word; done' INT
softflowd -d -i {left} -c {cwd}/ctl -p {cwd}/pid 2>&1 &
wait; wait
"""


def libpcaps_counts(outcome: Outcome) -> None:
    """softflowd asks for a read timeout of 0: it is given packets when a block of the ring is full, so how many of the
    last ones it has seen depends on the engine. What was captured for it does not."""
    outcome.stdout = b"\n".join(re.findall(rb"Packets (?:received|dropped) by \w+: \d+", outcome.stdout))
    outcome.files.pop("pid", None)


def python(module: str, stock: Side = harness.STOCK) -> LiveCase:
    argv = (sys.executable, str(DRIVER), module, "{left}", MARKER)
    return LiveCase(argv, ready=b"ready\n", stop=None, stock=stock)


def dumpcap() -> LiveCase:
    argv = ("dumpcap", "-q", "-i", "{left}", "-B", "32", "-w", "out")
    return LiveCase(argv, ready=b"File:", expect=Expect(normalise=without_dumpcaps_clock))


def ngrep() -> LiveCase:
    return LiveCase(("ngrep", "-d", "{left}", "-q", "-l", "-x", "-t"), ready=b"")


def tcpflow() -> LiveCase:
    return LiveCase(("tcpflow", "-c", "-i", "{left}"), expect=Expect(normalise=without_costs))


def dumped(outcome: Outcome) -> None:
    """tshark's dumpcap writes its own clock into the file, and tshark its process id into what it says."""
    outcome.files = {name: without_dumpcaps_clock(name, content) for name, content in outcome.files.items()}
    outcome.stderr = re.sub(rb"\(tshark:\d+\) [\d:.]+", b"", outcome.stderr)


def put_driver(folder: Path) -> None:
    shutil.copy(daq.driver(), folder / DAQ)


def without_driver(outcome: Outcome) -> None:
    outcome.files.pop(DAQ, None)


def snorts_daq() -> LiveCase:
    """Its acquisition module, driven as it does."""
    words = ("-M", "{modules}", "-i", "{left}", "-s", "262144", "-t", "100", "-V", "buffer_size=33554432", "-e", MARKER)
    argv = tuple(word.replace("{modules}", str(daq.modules())) for word in words)
    return LiveCase((f"./{DAQ}", *argv), ready=b"started", stop=None, prepare=put_driver)


def tcpdump(*words: str) -> LiveCase:
    return LiveCase(("tcpdump", "-i", "{left}", "-B", "32768", *words))


TOOLS = (
    Tool("tcpdump -w", "tcpdump", tcpdump("-w", "out", "--time-stamp-precision=nano")),
    Tool("tcpdump -v", "tcpdump", tcpdump("-nn", "-e", "-vv", "-tttt")),
    Tool("tcpdump FILTER", "tcpdump", tcpdump("-w", "out", "tcp and not port 80 or vlan or ip6")),
    Tool("dumpcap", "dumpcap", dumpcap()),
    Tool(
        "tshark",
        "tshark",
        LiveCase(("tshark", "-q", "-n", "-i", "{left}", "-B", "32", "-w", "out"), ready=b""),  # says so before
        dumped,
    ),
    Tool("ngrep", "ngrep", ngrep(), whole=True, asks=True, tells=False),
    # to the console: a file for each connection takes it so long that stock loses packets, of which it does not speak
    Tool("tcpflow", "tcpflow", tcpflow(), whole=True, tells=False),
    Tool(
        "p0f",
        "p0f",
        LiveCase(("p0f", "-p", "-i", "{left}", "-o", "log"), ready=b"Entered main event loop"),
        tells=False,
    ),
    Tool("softflowd", "softflowd", LiveCase(("sh", "-c", SOFTFLOWD), ready=b"starting data"), libpcaps_counts),
    Tool(
        "argus",
        "argus",
        # -U: without it packets are cut at 96 octets, behind which argus looks for ports that IPv6 headers push there
        LiveCase(("argus", "-F", "/dev/null", "-U", "1500", "-i", "{left}", "-w", "{cwd}/out"), ready=b""),
        without_argus_records,
        whole=True,
        asks=True,
        tells=False,
    ),
    Tool("snort DAQ", "gcc", snorts_daq(), without_driver),
    Tool("snort 2", "snort", ids.snort_2(), ids.alerts, asks=True, version="Version 2.", packaged=False),
    Tool("snort 3", "snort", ids.snort_3(), ids.alerts, asks=True, version="Version 3.", packaged=False),
    Tool("suricata", "suricata", ids.suricata(), ids.alerts, asks=True, packaged=False),
    Tool("pypcap", sys.executable, python("pypcap")),
    Tool("pypcap immediate", sys.executable, python("immediate")),
    Tool("pcapy-ng", sys.executable, python("pcapy", OWN_LIBPCAP)),
    Tool("scapy", sys.executable, python("scapy"), asks=True, tells=False),
    Tool("pyffpf", sys.executable, python("pyffpf")),
)


def named(names: list[str]) -> list[Tool]:
    """ValueError for a name that is none."""
    known = {tool.name: tool for tool in TOOLS}
    for name in names:
        if name not in known:
            raise ValueError(f"no tool is called {name!r}; there are: {', '.join(known)}")
    return [known[name] for name in names]
