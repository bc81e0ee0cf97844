# SPDX-License-Identifier: BSD-3-Clause
"""What somebody does who has installed the wheel: run by the system's Python, with nothing of this repository.

    python3 wheel_user.py CAPTURE      # as root, in an empty folder and a network namespace of its own

It ends with an AssertionError, or CalledProcessError, where something is not as it should be.
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyffpf

WEB = "IF (TCP_DPORT == 80) THEN RETURN 1; FI\n"
SEARCH = "RETURN EXTERN(\"vectorscan regex='GET|POST|.'\", 0, 0);"
SECONDS = float(os.environ.get("FFPF_TEST_PATIENCE", "60"))
SIOCSIFFLAGS, IFF_UP = 0x8914, 1  # netdevice(7)


def said(*words: str, **environment: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **environment}, timeout=300)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def offline(capture: str, packets: int) -> None:
    """tcpdump on FFPF beside tcpdump; graphs; packets in Python."""
    stock = said("tcpdump", "-nn", "-r", capture)
    assert len(stock.splitlines()) == packets
    stats = Path("stats").resolve()
    stats.touch()
    stats.chmod(0o666)  # tcpdump gives up root's rights
    assert said("ffpf-run", "tcpdump", "-nn", "-r", capture, FFPF_STATS=str(stats)) == stock
    assert "engine=embedded" in stats.read_text()
    with pyffpf.open(capture) as source:
        assert sum(len(batch) for batch in source.batches()) == packets
    with pyffpf.open(capture, "tcp") as source:
        assert 0 < sum(1 for _ in source) < packets
    assert str(packets) in said("ffpf-flow", f"(device,{capture}) -> (packetcount)")
    assert "usage: " in said("ffpf-ixp", "board", "--help")


def languages(capture: str, packets: int) -> None:
    """FPL-2 by fplc, which needs LLVM; signed records, which need libsodium; the extern that needs hyperscan."""
    Path("web.fpl").write_text(WEB)
    said("fplc", "check", "web.fpl")
    quoted = SEARCH.replace("\\", "\\\\").replace('"', '\\"')
    counts = said("ffpf-flow", f'(device,{capture}) -> (FPL-2,"{quoted}",16) -> (packetcount)')
    assert str(packets) in counts, counts
    said("fplc", "keygen", "signing.key")
    trust = {"FFPF_TRUST": str(Path("trust").resolve())}
    said("fplc", "trust", "add", "signing.key.pub", **trust)
    said("fplc", "compile", "--key", "signing.key", "--output", "web.fplo", "web.fpl")
    said("ffpf-flow", f'(device,{capture}) -> (FPL-2,"file:{Path("web.fplo").resolve()}") -> (packetcount)', **trust)


def wait_for(process: "subprocess.Popen[bytes]", what: str, words: Sequence[str]) -> None:
    end = time.monotonic() + SECONDS
    while what not in subprocess.run(words, capture_output=True, text=True).stdout:
        assert time.monotonic() < end and process.poll() is None, f"{what} is not in the answer of {words}"
        time.sleep(0.2)


def live() -> None:
    """ffpfd, and a tcpdump that shares its capture of the loopback interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        fcntl.ioctl(sender, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
        where = str(Path("ffpfd.socket").resolve())
        os.environ["FFPF_SOCKET"] = where
        ffpfd = subprocess.Popen(["ffpfd", "--socket", where])
        try:
            wait_for(ffpfd, "ffpfd", ["ffpf", "status"])
            words = ["ffpf-run", "--engine", "shared", "tcpdump", "-nn", "-i", "lo", "-c", "3", "udp dst port 9"]
            tcpdump = subprocess.Popen(words, stdout=subprocess.PIPE)
            try:
                wait_for(tcpdump, "tcpdump", ["ffpf", "status"])
                end = time.monotonic() + SECONDS
                while tcpdump.poll() is None:
                    assert time.monotonic() < end, "three packets were sent, and tcpdump goes on"
                    sender.sendto(b"x", ("127.0.0.1", 9))
                    time.sleep(0.1)
                assert tcpdump.stdout is not None
                assert len(tcpdump.stdout.read().splitlines()) == 3
            finally:
                tcpdump.kill()
        finally:
            ffpfd.terminate()
            ffpfd.wait(SECONDS)


def main() -> None:
    capture, packets = sys.argv[1], int(sys.argv[2])
    offline(capture, packets)
    languages(capture, packets)
    live()
    print("all as it should be")


if __name__ == "__main__":
    main()
