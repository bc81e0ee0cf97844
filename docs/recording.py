# SPDX-License-Identifier: BSD-3-Clause
"""The recording in README.md: a user without rights, and what FFPF does for her.

    python -m docs.recording      # as root: writes docs/recording.svg, recording.txt, graph.svg, and README's text

Everything runs: in a network namespace of its own ffpfd captures eth0, on which tcpreplay sends a generated capture,
and a bash of a user without a capability has COMMANDS typed into it. What is not shown: the namespace, ffpfd's start,
and how the project's commands came into PATH.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compat_tests import captures, shared
from compat_tests.harness import ROOT
from compat_tests.netns import Netns
from compat_tests.shared import ANNA, Ffpfd
from docs.terminal import Shell, svg

README = ROOT / "README.md"
PICTURE, TEXT, GRAPH = (ROOT / "docs" / name for name in ("recording.svg", "recording.txt", "graph.svg"))
TITLE = "A terminal: tools of a user without rights share one capture, and a filter graph runs in the kernel"
BLOCK = re.compile(r"(<!-- docs/recording.txt -->\n\n```text\n).*?(```\n)", re.DOTALL)
INTERFACE, FAR_END = "eth0", "far0"
PACKETS = 20_000  # of the capture, which is sent again and again
RATE = 2_000  # packets a second
KEY_S = 0.012

# Each with the seconds that its reader is given.
COMMANDS = (
    ("grep CapEff /proc/self/status     # no rights at all", 1.0),
    ("ffpf-run tcpdump -qnti eth0 -c 3 tcp port 443", 1.4),
    ("ffpf-run tcpdump -i eth0 -w web.pcap tcp port 80 2>web.log &", 0.2),
    ("ffpf-run tcpdump -i eth0 -w udp.pcap udp 2>udp.log &", 0.2),
    ("ffpf status | tail -n 4", 1.4),
    (
        "ffpf-flow --seconds 2 --graph graph.svg '(device,eth0) -> (BPF,udp) -> (topk,k=3 of=dport)'"
        " '(device,eth0) -> (BPF,udp) -> (FPL-2,\"RETURN DPORT IN {53, 443};\") -> (bytecount)'",
        1.5,
    ),
    ("kill %1 %2; wait; tail -n 3 web.log", 0.2),
)
PROGRAMS = {"ffpf": "ffpf", "ffpf-run": "run", "ffpf-flow": "flow"}  # commands, and the modules of pyffpf.cli


def put_commands(folder: Path) -> None:
    """Commands of the project that every user may start: this Python may lie in somebody's home."""
    modules = ":".join(part for part in sys.path if part.endswith("site-packages"))
    for name, module in PROGRAMS.items():
        start = f'exec {shared.interpreter()} -m pyffpf.cli.{module} "$@"'
        (folder / name).write_text(f"#!/bin/sh\nPYTHONPATH={ROOT}:{modules} {start}\n")
        (folder / name).chmod(0o755)


@contextmanager
def scene() -> Iterator[tuple[Netns, Ffpfd, Path]]:
    """The namespace with traffic on its interface, ffpfd in it, and a folder for the user."""
    folder = Path(tempfile.mkdtemp(prefix="ffpf-recording-"))
    try:
        (folder / "bin").mkdir()
        folder.chmod(0o755)
        put_commands(folder / "bin")
        (folder / "anna").mkdir()
        os.chown(folder / "anna", ANNA.uid, ANNA.gid)
        captures.write_imix(folder / "sent.pcap", PACKETS)
        with Netns() as ns:
            ns.add_veth(INTERFACE, FAR_END)
            with Ffpfd(ns) as ffpfd:
                send = ["tcpreplay", "--quiet", "-i", FAR_END, f"--pps={RATE}", "--loop=0", str(folder / "sent.pcap")]
                sender = ns.popen(send, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                try:
                    yield ns, ffpfd, folder
                finally:
                    sender.terminate()
                    sender.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def record(hasty: bool = False) -> tuple[Shell, str]:
    """The session, which has ended, and the picture of its graph as SVG. hasty: nobody watches."""
    with scene() as (ns, ffpfd, folder):
        path = f"{folder / 'bin'}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        environ = {"PATH": path, "FFPF_SOCKET": str(ffpfd.socket), "HOME": "/", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        bash = ns.command(ANNA.command(["bash", "--norc", "--noprofile", "-i"]))
        with Shell(bash, environ, str(folder / "anna"), 0.0 if hasty else KEY_S) as shell:
            for text, pause_s in COMMANDS:
                if text.startswith("ffpf status"):
                    ffpfd.wait_flows(2, filtered=2)
                shell.run(text, 0.0 if hasty else pause_s)
        return shell, (folder / "anna" / "graph.svg").read_text()


def main() -> int:
    shell, graph = record()
    failed = [command for command in shell.commands if command.code != 0]
    if failed:
        print(f"failed: {failed}\n{shell.text()}", file=sys.stderr)
        return 1
    PICTURE.write_text(svg(shell.frames, TITLE))
    TEXT.write_text(shell.text())
    GRAPH.write_text(graph)
    README.write_text(BLOCK.sub(lambda found: found[1] + shell.text() + found[2], README.read_text()))
    print(f"{len(shell.frames)} screens in {shell.frames[-1].at_s:.1f} s, {PICTURE.stat().st_size >> 10} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
