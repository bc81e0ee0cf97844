# SPDX-License-Identifier: BSD-3-Clause
"""docs/examples: each runs as its reader would run it, on a capture made here, and finds what is in that."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pyffpf
from fpl.fpl2 import pretty
from fpl.fpl2.packets import ethernet, ip4, tcp, udp
from fpl.fpl2.report import Source

SHARED = Path(__file__).parent.parent.parent / "shared" / "captures"
EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
WORM = b"GET /default.ida?" + b"N" * 224 + b"%u9090 HTTP/1.0\r\n"


def web(source: int, payload: bytes, *, fragment: int = 0, port: int = 80) -> bytes:
    return ethernet(ip4(6, tcp(40000 + source, port, payload), src=bytes([10, 0, 0, source]), fragment=fragment))


def capture(path: Path, frames: list[bytes]) -> Path:
    """A savefile; a packet a second."""
    records = b"".join(struct.pack("<IIII", at, 0, len(frame), len(frame)) + frame for at, frame in enumerate(frames))
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + records)
    return path


def run(name: str, *arguments: str) -> list[str]:
    done = subprocess.run([sys.executable, EXAMPLES / name, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_figure_2a_two_flows_share_their_first_filter(tmp_path: Path) -> None:
    frames = [
        web(1, b"GET / HTTP/1.0\r\n"), web(2, WORM), web(3, WORM, port=81), web(4, WORM[:40]),
        web(5, b"GET /a", fragment=0x2000), web(6, WORM, fragment=0x2000), web(7, b"x" * 40, fragment=0x2005),
        ethernet(ip4(17, udp(1, 80, WORM))), web(8, b"POST " + WORM),
    ]  # fmt: skip
    picture = tmp_path / "graph.dot"
    assert run("figure_2a.py", str(capture(tmp_path / "a.pcap", frames)), str(picture)) == [
        "3 CodeRed requests",
        "  10.0.0.2 to 10.0.0.2",
        "  10.0.0.4 to 10.0.0.2",
        "  10.0.0.6 to 10.0.0.2",
        "2 fragments of web traffic",  # the one without a TCP header has no port
        "A delivered 1 packet",
        "B delivered 1 packet",
        "8 filters run for the 10 of the text",
    ]
    drawn = picture.read_text()
    assert len(re.findall(r"tcp dst port 80.*packets in", drawn)) == 1, "the picture shows BPF once"


def test_figure_2b_finds_the_busiest_connections(tmp_path: Path) -> None:
    frames = [web(source, b"x") for source in range(1, 13) for _ in range(source)] + [ethernet(ip4(17, udp(1, 2)))] * 40
    lines = run("figure_2b.py", str(capture(tmp_path / "a.pcap", frames)))
    found = [line.replace(" to 10.0.0.2", "") for line in lines]
    assert found == [f"{n} packets, the last from 10.0.0.{n}" for n in range(12, 2, -1)]


def test_figure_6_counts_the_packets_of_each_connection(tmp_path: Path) -> None:
    frames = [web(1, b"")] * 5 + [web(2, b"x")] * 3 + [ethernet(ip4(17, udp(1, 2)))] * 4 + [web(3, b"")]
    lines = run("figure_6.py", str(capture(tmp_path / "a.pcap", frames)))
    assert lines[0].startswith("9 packets of 3 TCP connections")
    assert [line.split()[0] for line in lines[1:]] == ["5", "3", "1"]


CAPTURES = [path for name in ("mptcp-v1.pcap", "tfo-5c1fa7f9ae91.pcap") if (path := SHARED / name).exists()]


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_figure_6_on_captures_of_others(path: Path) -> None:
    """All TCP packets are counted, as BPF finds them."""
    with pyffpf.Flow(f"(device,{path}) -> (BPF,ip proto 6) -> n=(packetcount)", engine="embedded") as flow:
        flow.graph.run()
        expected = int(flow["n"].mbuf["packets"])
    assert expected
    assert run("figure_6.py", str(path))[0].startswith(f"{expected} packets of ")


def test_figure_7_delivers_what_goes_to_negotiated_ports(tmp_path: Path) -> None:
    setup = b"SETUP rtsp://a/b RTSP/1.0\r\nCSeq: 2\r\nTransport: RTP/AVP/TCP;unicast;client_port=%d-%d\r\n\r\n"
    frames = [
        web(1, b"data", port=5004), web(1, setup % (5004, 5005), port=554), web(2, b"data", port=5004),
        web(3, b"data", port=6000), web(4, setup % (6000, 6001), port=554), web(5, b"data", port=6000),
        web(6, b"data", port=5004), web(7, b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", port=554), web(8, b"", port=80),
    ]  # fmt: skip
    lines = run("figure_7.py", str(capture(tmp_path / "a.pcap", frames)))
    assert lines == ["ports that RTSP negotiated: 5004, 6000", "3 packets delivered"]


SESSION = (  # RTSP's control, both ways, with its port at the server; data: an answer's
    b"SETUP rtsp://a/b RTSP/1.0\r\nCSeq: 3\r\nTransport: RTP/AVP;unicast;client_port=5004-5005\r\n\r\n",
    b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nTransport: RTP/AVP;unicast;client_port=5004-5005;server_port=6970-6971\r\n\r\n",
)


def rtsp(to_server: bool, text: bytes) -> bytes:
    return ethernet(ip4(6, tcp(*((40001, 554) if to_server else (554, 40001)), text)))


def media(sport: int, dport: int, **options: Any) -> bytes:
    return ethernet(ip4(17, udp(sport, dport, b"\x80\x60" + bytes(30)), **options))


def mmdump_frames() -> list[tuple[bytes, int]]:
    """And what the program is to say of each."""
    return [
        (media(6970, 5004), 0),  # nobody has negotiated that yet
        (web(1, b"GET / HTTP/1.0\r\n"), 0),
        (rtsp(True, b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"), 1),
        (media(6970, 5004), 0),
        (rtsp(True, SESSION[0]), 1),
        (media(6970, 5004), 2),
        (rtsp(False, SESSION[1]), 1),
        (media(6970, 5004, options=b"\1\1\1\0"), 2),
        (media(6971, 5005), 2),
        (media(5005, 6971), 2),  # what the receiver reports
        (media(6970, 5006), 0),
        (media(6970, 5004, fragment=0x0010), 0),  # a later piece
        (media(6970, 5004)[:36], 0),  # cut before the ports
        (web(2, b"", port=5004), 0),  # TCP
        (rtsp(False, SESSION[1].replace(b"5004-5005", b"53-54")), 1),  # a server that would like to see names
        (media(1234, 53), 0),
    ]


def test_mmdump_extends_itself(tmp_path: Path) -> None:
    frames = [frame for frame, _ in mmdump_frames()]
    lines = run("mmdump.py", str(capture(tmp_path / "a.pcap", frames)))
    assert lines == ["instructions added, for ports: 5004, 5005", "4 packets of RTSP, 4 of its media delivered"]
    lines = run("mmdump.py", str(capture(tmp_path / "b.pcap", frames[:4])))
    assert lines == ["instructions added, for ports: none", "1 packets of RTSP, 0 of its media delivered"]


def test_mmdump_in_graph_text(tmp_path: Path) -> None:
    """What it says of each packet, one node whose packets two others get; and the command line."""
    file = capture(tmp_path / "a.pcap", [frame for frame, _ in mmdump_frames()])
    program = (EXAMPLES / "mmdump.fpl1").read_text()
    text = f'(device,{file}) -> m=(FPL-1,"{program}") -> t=(BPF,tcp) | u=(BPF,udp) -> (packetcount)'
    with pyffpf.Flow(text, engine="embedded") as flow:
        read = [(packet.ts_ns // 10**9, packet.result) for packet in flow["m"]]
        assert read == [(at, result) for at, (_, result) in enumerate(mmdump_frames()) if result]
        assert (flow["t"].counters.packets_out, flow["u"].counters.packets_out) == (4, 4)
        assert flow["m"].report() == {"out_of_steps": 0, "extended": 2, "refused": 0}
    command = [sys.executable, "-m", "pyffpf.cli.flow", "--json", text]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    counted = {node["class"]: node for node in json.loads(done.stdout)["flows"][0]["nodes"]}
    assert (counted["FPL-1"]["in"], counted["FPL-1"]["out"]) == (16, 8)
    assert counted["packetcount"]["out"] == 8


def test_mmdump_with_forged_ports(tmp_path: Path) -> None:
    """A server that answers with ever other ports fills the area, and no more."""
    frames = [
        rtsp(False, SESSION[1].replace(b"5004-5005", b"%d-%d" % (port, port + 1))) for port in range(2000, 4000, 7)
    ]
    frames += [
        rtsp(False, SESSION[1].replace(b"5004", port)) for port in (b"0", b"65535", b"65536", b"99999999", b"-1")
    ]
    file = capture(tmp_path / "a.pcap", [*frames, *(media(1, port) for port in range(1900, 4100))])
    program = (EXAMPLES / "mmdump.fpl1").read_text()
    with pyffpf.Flow(f'(device,{file}) -> (FPL-1,"{program}")', engine="embedded") as flow:
        results = [packet.result for packet in flow]
        assert (results.count(1), results.count(2)) == (len(frames), 64)
        report = flow["FPL-1"].report()
        assert report["extended"] == 64
        assert report["refused"] > 500


@pytest.mark.parametrize("program", sorted(EXAMPLES.glob("*.fpl")), ids=lambda path: path.stem)
def test_programs_are_written_as_the_formatter_would(program: Path) -> None:
    text = program.read_text()
    assert pretty.source(Source(text)) == text
    assert text.startswith("// SPDX-License-Identifier: BSD-3-Clause\n// ")


def test_the_readme_has_all_examples() -> None:
    text = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f"python {path.name}" in text
    for path in EXAMPLES.glob("*.fpl*"):
        assert path.name in text


def test_the_command_of_the_readme(tmp_path: Path) -> None:
    """Its first block of text, run by a shell in the folder of the examples."""
    block = re.search(r"    (ffpf-flow .*)\n", (EXAMPLES / "README.md").read_text())
    assert block is not None
    file = capture(tmp_path / "a.pcap", [web(1, b""), web(2, WORM)])
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(["sh", "-c", block[1].replace("capture.pcap", str(file))], cwd=EXAMPLES, env={"PATH": path},
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"FPL-2.*\b2\b.*\b1\b.*\b1\b", done.stdout), done.stdout
