# SPDX-License-Identifier: BSD-3-Clause
"""The command ffpf-flow: what it prints, how it ends, what it says of wrong use; on files and on an interface."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from compat_tests import capture_packets as packets
from compat_tests.capture_files import PcapFormat, stamped
from compat_tests.netns import Netns, receivers, wait_until
from pyffpf.cli.test_top import Terminal
from pyffpf.testing_flows import TCP, UDP, frames

COMMAND = [sys.executable, "-m", "pyffpf.cli.flow"]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "a.pcap"
    path.write_bytes(PcapFormat().file(stamped(frames())))
    return path


def run(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    words = [*COMMAND, *map(str, args)]
    return subprocess.run(words, **{"capture_output": True, "text": True, "timeout": 60, **options})


def document(*args: object) -> dict[str, Any]:
    done = run("--json", *args)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def nodes(found: dict[str, Any], flow: int = 0) -> dict[str, dict[str, Any]]:
    return {node["class"]: node for node in found["flows"][flow]["nodes"]}


# ---- results ----


def test_mbufs_of_programs_are_shown(capture: Path) -> None:
    text = (
        f'(device,{capture}) -> web=(FPL-2,"IF (IS_TCP) THEN MEM[1]++; FI MEM[3] += 2; RETURN 1;",64) -> (packetcount)'
    )
    done = run("--mbuf", "web", "--mbuf", "flow1", text)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"\n    MEM[1] {TCP}\n    MEM[3] {2 * (TCP + UDP)}\n" in done.stdout
    assert f"\n    packets {TCP + UDP}\n    MEM[0] {TCP + UDP}\n" in done.stdout
    found = nodes(document("--mbuf", "web", text))
    assert found["FPL-2"]["mbuf"] == {"1": TCP, "3": 2 * (TCP + UDP)} and "mbuf" not in found["packetcount"]
    assert "MEM is all zeros" in run("--mbuf", "web", f'(device,{capture}) -> web=(FPL-2,"RETURN MEM[0];",8)').stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--mbuf", "none"), "--mbuf: 'none' is no node; there are flow1"),
        (("--mbuf", "flow1.0"), "--mbuf: 'flow1.0': "),
        (("--follow", "flow1", "--follow", "flow1.0"), "--follow may be given once"),
    ],
)
def test_what_names_no_node_is_wrong_use(capture: Path, words: tuple[str, ...], said: str) -> None:
    done = run(*words, f"(device,{capture}) -> (packetcount)")
    assert (done.returncode, done.stdout) == (2, "") and said in done.stderr


def test_the_papers_command_line(capture: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.pcap"
    other.write_bytes(PcapFormat().file(stamped(frames(tcp=10, udp=0))))
    picture = tmp_path / "flows.dot"
    found = document(
        "--graph", picture,
        f"(device,{capture}) | (device,{other}) -> (sampler,2,4) -> (BPF,icmp) | (BPF,\"udp\") -> (bytecount,,8)",
        f"(device, {capture}) | (device,{other}) -> (sampler,2,4) -> (BPF,\"tcp\") -> (packetcount,,8)",
    )  # fmt: skip
    counted = nodes(found, 1)["packetcount"]
    assert counted["report"] == {"packets": counted["in"]}
    assert nodes(found)["sampler"]["in"] == TCP + UDP + 10 == 2 * nodes(found)["sampler"]["out"]
    drawn = picture.read_text()
    circles = re.findall(r"^\s+i\d+ \[fillcolor=.*?<b>([\w-]+)</b>", drawn, re.MULTILINE)
    assert circles.count("sampler") == 1 and circles.count("BPF") == 3


def test_text_for_people(capture: Path) -> None:
    done = run(f"(device,{capture}) -> web=(BPF,tcp port 80) -> (packetcount)")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0][0] == "flow1"
    assert ["1", "web=(BPF,tcp", "port", "80)", str(TCP + UDP), str(TCP), str(UDP), "-"] in lines
    assert ["2", "(packetcount)", str(TCP), str(TCP), "0", "-"] in lines
    assert ["packets", str(TCP)] in lines


def test_the_count_ends_it(capture: Path) -> None:
    found = document("--count", 7, f"(device,{capture}) -> (packetcount)")
    assert nodes(found)["packetcount"]["in"] == 7


def test_quiet(capture: Path) -> None:
    done = run("--quiet", f"(device,{capture}) -> (packetcount)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# ---- following ----


def test_followed_packets_as_lines(capture: Path) -> None:
    done = run("--follow", "flow1", "--quiet", f"(device,{capture}) -> (BPF,udp)", env={"TZ": "UTC"})
    lines = done.stdout.splitlines()
    assert (done.returncode, len(lines)) == (0, UDP)
    length = len(packets.ethernet(packets.udp4(b"")))
    assert re.fullmatch(rf"22:13:20\.\d{{9}}  {length}  udp 10\.0\.0\.1:40000 -> 192\.0\.2\.53:53", lines[0]), lines[0]


def test_followed_packets_as_a_pcap_file(capture: Path) -> None:
    """tcpdump reads the same packets from us, by a pipe, as it reads from the file by its own filter."""
    followed = subprocess.run(
        [*COMMAND, "--quiet", "--follow", "web", "--format", "pcap",
         f"(device,{capture}) -> web=(BPF,tcp port 80) -> (packetcount)"], capture_output=True, check=True,
    )  # fmt: skip
    shown = ["tcpdump", "--nano", "-nr"]
    ours = subprocess.run([*shown, "-"], input=followed.stdout, capture_output=True, check=True).stdout
    theirs = subprocess.run([*shown, capture, "tcp port 80"], capture_output=True, check=True).stdout
    assert ours == theirs and ours.count(b"\n") == TCP


def test_results_go_beside_what_is_followed(capture: Path) -> None:
    done = run("--follow", "flow1.0", "--count", 3, f"(device,{capture}) -> (packetcount)")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 3
    assert done.stderr.startswith("flow1  ")


def test_no_packets_are_a_pcap_file_too(capture: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--quiet", "--follow", "flow1", "--format", "pcap", f"(device,{capture}) -> (BPF,arp)"],
        capture_output=True, check=True,
    )  # fmt: skip
    assert len(done.stdout) == 24


# ---- where, and what there is ----


def test_explain(capture: Path) -> None:
    flows = [f"(device,{capture}) -> (sampler,2) -> (BPF,{what})" for what in ("tcp", "udp")]
    done = run("--explain", *flows)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("shared by 2 flows") == 4 and "userspace" in done.stdout
    found = json.loads(run("--explain", "--json", *flows).stdout)
    assert [node["flows"] for node in found["flows"][1]["nodes"]] == [2, 2, 1]
    assert all(node["level"] and node["reason"] for node in found["flows"][0]["nodes"])


def test_check(capture: Path) -> None:
    done = run("--check", f"( device , {capture} )->(BPF,'tcp[13] & 4 != 0')".replace("'", '"'))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f'(device,"{capture}") -> (BPF,"tcp[13] & 4 != 0")') or done.stdout.startswith(
        f'(device,{capture}) -> (BPF,"tcp[13] & 4 != 0")'
    )


def test_classes() -> None:
    done = run("--classes")
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert done.returncode == 0 and {"BPF", "device", "packetcount", "topk"} <= set(names)
    done = run("--classes", "packetcount")
    assert done.returncode == 0 and "MBuf       8 octets" in done.stdout
    done = run("--classes", "nothing")
    assert done.returncode == 2 and "there is no class 'nothing'; there are " in done.stderr


# ---- wrong use ----


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["(device,FILE) -> (FPL-9,x)"], "flow 1: 1:"),
        (["(device,FILE)", "(device,FILE) ->"], "flow 2: 1:"),
        (["(device,FILE) -> (BPF,no such filter)"], "flow 1: 1:"),
        (["--follow", "nothing", "(device,FILE)"], "'nothing' is no node; there are flow1, flow1.0"),
        (["--follow", "x", "(device,FILE) -> x=(BPF,tcp)", "(device,FILE) -> x=(BPF,udp)"], "is in several flows"),
    ],
)
def test_errors_of_the_text_are_2(capture: Path, args: list[str], words: str) -> None:
    done = run(*(word.replace("FILE", str(capture)) for word in args))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ffpf-flow: ") and words in done.stderr and "Traceback" not in done.stderr
    if "1:" in words:
        assert done.stderr.rstrip().endswith("^")


@pytest.mark.parametrize(
    "args", [[], ["--count", "0", "x"], ["--seconds", "soon", "x"], ["--graph", "a.jpeg", "x"],
             ["--format", "pcap", "x"], ["--classes", "BPF", "(device,x)"], ["--check", "--explain", "x"],
             ["--snaplen", "0", "x"]],
)  # fmt: skip
def test_wrong_use_is_2(args: Sequence[str]) -> None:
    done = run(*args)
    assert done.returncode == 2 and "usage: ffpf-flow" in done.stderr


def test_what_fails_is_1(capture: Path, tmp_path: Path) -> None:
    done = run("(device,no-such-interface) -> (packetcount)")
    assert done.returncode == 1 and "no-such-interface" in done.stderr and "Traceback" not in done.stderr
    broken = tmp_path / "broken.pcap"
    broken.write_bytes(capture.read_bytes()[:-3])
    done = run(f"(device,{broken}) -> (packetcount)")
    assert done.returncode == 1 and "Traceback" not in done.stderr and done.stderr.startswith("ffpf-flow: ")


# ---- time and signals ----


def test_a_reader_that_leaves_is_no_error(capture: Path) -> None:
    line = f"{' '.join(COMMAND)} --quiet --follow flow1 '(device,{capture})' | head -1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)


def test_a_bar_on_a_terminal(tmp_path: Path) -> None:
    big = tmp_path / "big.pcap"
    big.write_bytes(PcapFormat().file(stamped(frames() * 5000)))
    flow = f"(device,{big}) -> (BPF,tcp) -> (topk,k=3)"
    with Terminal([*COMMAND, flow], errors=True) as terminal:
        assert terminal.ended() == 0
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.drawn)
    assert re.search(r"reading .* MiB [\d,]+ packets", drawn), drawn
    assert f"{5000 * TCP:,}" in drawn
    with Terminal([*COMMAND, flow]) as terminal:  # standard error is no terminal
        assert terminal.ended() == 0 and "reading" not in terminal.drawn


@pytest.mark.live
def test_live_until_a_signal() -> None:
    with Netns() as ns:
        flow = f"(device,{ns.left}) -> (BPF,tcp) -> count=(packetcount)"
        child = ns.popen(
            [*COMMAND, "--json", "--immediate", "--snaplen", "2048", flow],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None

        def counted() -> int:
            child.send_signal(signal.SIGUSR1)
            assert child.stdout is not None
            found = json.loads(child.stdout.readline())
            return int(nodes(found)["packetcount"]["report"]["packets"])

        wait_until(lambda: receivers(ns.name) > 0, "the capture", 20)
        assert counted() == 0  # what comes before the flows are active does not count
        ns.send(ns.right, frames())
        wait_until(lambda: counted() == TCP, "all packets", 20)
        child.send_signal(signal.SIGINT)
        out, errors = child.communicate(timeout=20)
        assert (child.returncode, errors) == (0, "")
        assert nodes(json.loads(out))["BPF"]["filtered"] + nodes(json.loads(out))["BPF"]["out"] >= TCP


@pytest.mark.live
def test_live_for_a_time() -> None:
    with Netns() as ns:
        done = ns.run([*COMMAND, "--seconds", "0.5", "--every", "0.2", "--json", f"(device,{ns.left}) -> (rate)"])
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(documents) >= 2 and documents[-1]["seconds"] >= 0.5
