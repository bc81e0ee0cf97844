# SPDX-License-Identifier: BSD-3-Clause
"""Intrusion detection systems, with rules and configurations of our own: their alerts are compared.

Debian 12 has none of them: their rows are used where somebody has installed one.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from compat_tests.harness import Outcome
from compat_tests.live import LiveCase

RULES = """\
alert ip any any -> any any (msg:"an IP packet"; sid:1000001; rev:1;)
alert tcp any any -> any any (msg:"SYN"; flags:S; sid:1000002; rev:1;)
alert udp any any -> any 53 (msg:"to port 53"; content:"|00 01|"; sid:1000003; rev:1;)
alert icmp any any -> any any (msg:"echo request"; itype:8; sid:1000004; rev:1;)
"""
SURICATA = """\
%YAML 1.1
---
outputs:
  - fast:
      enabled: yes
      filename: alerts
pcap:
  - interface: default
    buffer-size: 33554432
    checksum-checks: no
unix-command:
  enabled: no
logging:
  outputs:
    - console:
        enabled: yes
"""
SNORT_2 = """\
config checksum_mode: none
preprocessor frag3_global
preprocessor frag3_engine
output alert_fast: alerts
output log_tcpdump: logged
include rules
"""
SNORT_3 = """\
ips = { rules = [[ include rules ]] }
alert_fast = { file = true }
network = { checksum_eval = "none" }
"""

# A snort that is told to stop ends when the next packet comes, on stock: an idle interface wakes nobody there (libpcap
# 1.10). So a frame of no protocol follows the signal.
NUDGE = """
import socket, sys, time
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
    raw.bind((sys.argv[1], 0))
    for _ in range(3):
        time.sleep(1)
        raw.send(bytes.fromhex("ffffffffffff 02ffff000002 88b5") + bytes(46))
"""
STOPPED = """
"$@" & program=$!
trap 'kill -TERM $program; "$PYTHON" -c "$NUDGE" {left}' INT
wait; wait
"""


def put(folder: Path) -> None:
    """Writes the rules and every system's configuration."""
    for name, content in (
        ("rules", RULES),
        ("suricata.yaml", SURICATA),
        ("snort2.conf", SNORT_2),
        ("snort3.lua", SNORT_3),
    ):
        (folder / name).write_text(content)


def suricata() -> LiveCase:
    words = ("--pcap={left}", "--runmode", "workers", "-c", "{cwd}/suricata.yaml", "-S", "{cwd}/rules", "-l", "{cwd}")
    return LiveCase(("suricata", *words), ready=b"ngine started", prepare=put)


def snort(ready: bytes, *words: str) -> LiveCase:
    environment = ("env", f"PYTHON={sys.executable}", f"NUDGE={NUDGE}")
    argv = (*environment, "sh", "-c", STOPPED, "sh", "snort", "-i", "{left}", "-k", "none", "-l", "{cwd}", *words)
    return LiveCase(argv, ready=ready, prepare=put)


def snort_2() -> LiveCase:
    return snort(b"Commencing packet processing", "-c", "{cwd}/snort2.conf")


def snort_3() -> LiveCase:
    """It says that it begins when its buffer of standard output is full: its socket is waited for."""
    return snort(b"", "-c", "{cwd}/snort3.lua")


def version(program: str) -> str:
    """What it says with -V; empty when it is not installed."""
    if shutil.which(program) is None:
        return ""
    done = subprocess.run([program, "-V"], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def alerts(outcome: Outcome) -> None:
    """Alerts and logged packets, and how many packets were lost. Times of the run and process ids are in the rest; and
    snort counts the frames that ended it."""
    said = outcome.stdout + outcome.stderr
    lost = re.findall(rb"drops: \d+|Dropped: +\d+|dropped: \d+", said)
    outcome.stdout, outcome.stderr = b"\n".join(lost), b""
    kept = {}
    for name, content in outcome.files.items():
        if re.fullmatch(r"alerts|alert_fast\.txt", name):
            kept["alerts"] = content
        elif name.startswith("logged"):  # and when the run began
            kept["logged"] = content
    outcome.files = kept
