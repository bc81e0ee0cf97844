# SPDX-License-Identifier: BSD-3-Clause
"""fplc as its users call it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from compat_tests import capture_packets as packets
from compat_tests.capture_files import PcapFormat, stamped
from ixp_driver.microengine import objects

ROOT = Path(__file__).resolve().parent.parent.parent

WEB = "if pkt.tcp_dport==80 then\nMEM[0]++; return 1; fi\n"


def fplc(*words: str, text: str = WEB) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pyffpf.cli.fplc", *words]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)


def test_check_says_nothing_or_what_is_wrong(tmp_path: Path) -> None:
    done = fplc("check", "--mbuf", "8")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    program = tmp_path / "web.fpl"
    program.write_text("RETURN PKT.TCP_DPORTS;\n")
    done = fplc("check", str(program))
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"{program}:1:12: TCP_DPORTS is not known\n  RETURN PKT.TCP_DPORTS;\n             ^\n  Is it TCP_DPORT or "
    )
    done = fplc("check", str(tmp_path / "none.fpl"))
    assert (done.returncode, done.stderr) == (1, f"fplc: {tmp_path}/none.fpl: No such file or directory\n")
    program.write_bytes(b"RETURN 1; \xff")
    done = fplc("check", str(program))
    assert (done.returncode, done.stderr) == (1, f"fplc: {program}: octet 10 is none of a text in UTF-8\n")
    assert fplc("mend").returncode == 2


def test_format(tmp_path: Path) -> None:
    assert fplc("format").stdout == "IF pkt.tcp_dport == 80 THEN\n    MEM[0]++;\n    RETURN 1;\nFI\n"
    assert fplc("format", text="return 1 ;// all\n").stdout == "RETURN 1;  // all\n"
    assert fplc("format", text='RETURN 0 CONTAINS "http://";').stdout == 'RETURN 0 CONTAINS "http://";\n'


def test_what_the_kernel_gets_is_shown_and_why_it_cannot_run_a_program() -> None:
    shown = fplc("explain", text="RETURN PKT.B[0];").stdout
    assert "in the kernel                  yes, if its verifier agrees; of a packet it needs 16 octets\n" in shown
    assert "one of a source's filters      as code: " in shown
    assert "one of a source's filters      as tests on fields\n" in fplc("explain", text="RETURN IS_IP;").stdout
    assert re.search(r"^instructions there +[1-9]\d* in 1 function; with what is around them [1-9]\d*$", shown, re.M)
    assert re.search(r"^octets of stack there +(32|64) of 512$", shown, re.M)
    assert re.search(r"^octets of code, x86-64 +[1-9]\d*, [1-9]\d* instructions$", shown, re.M)
    assert "define void @program(" in fplc("dump", "--stage", "kernel", text="RETURN 1;").stdout
    deep = "".join(f"FOR (R[{n}] = 0; R[{n}] < 2; R[{n}]++) " for n in range(6)) + "R[9]++; " + "ROF " * 6
    assert "its loops are 6 deep: the kernel has 5 at most" in fplc("explain", text=deep).stdout
    assert fplc("dump", "--stage", "kernel", text=deep).returncode == 1


def test_explain_and_limits() -> None:
    shown = fplc("explain", "--mbuf", "5").stdout
    assert "octets of MBuf                 8\n" in shown
    assert "one for each processor" not in shown
    lonely = "PERCPU MEM MERGE max; RETURN 1;"
    assert (
        "one for each processor         max of U32 in octets 0 to 7\n"
        in fplc("explain", "--mbuf", "8", text=lonely).stdout
    )
    assert "external functions             none\n" in shown
    loop = "FOR (R[1] = 0; R[1] < 9; R[1]++) ROF"
    assert "rounds of loops, at most       9 of 65536, 1 deep" in fplc("explain", text=loop).stdout
    refused = fplc("check", "--max-rounds", "8", text=loop)
    assert refused.returncode == 1
    assert "its loops run 9 times, more than 8" in refused.stderr


def test_stages() -> None:
    assert (
        fplc("dump", "--stage", "tree", text="RETURN 1;").stdout
        == "[Return(at=0, value=Number(at=7, value=1, text='1'))]\n"
    )
    assert "Register(at=" in fplc("dump", "--stage", "resolved", "--mbuf", "8").stdout
    assert "atomicrmw add" in fplc("dump", "--mbuf", "8").stdout
    assert "lock" in fplc("dump", "--stage", "assembly", "--mbuf", "8").stdout
    assert "ret\n" in fplc("dump", "--stage", "assembly", "--target", "aarch64", text="RETURN 1;").stdout


def test_compile_and_names(tmp_path: Path) -> None:
    output = tmp_path / "web.bin"
    assert fplc("compile", "--output", str(output), text="RETURN 1;").returncode == 0
    assert bytes.fromhex(fplc("compile", text="RETURN 1;").stdout) == output.read_bytes()
    assert "TCP_DPORT        PKT.U16[L4 + 2], where IS_TCP; else 0\n" in fplc("names").stdout
    macros = tmp_path / "mine.fpl"
    macros.write_text("MACRO TELNET = PKT.TCP_DPORT == 23;\n")
    assert fplc("check", "--fields", str(macros), text="RETURN TELNET;").returncode == 0


def test_ffpf_flow_finds_the_compiler_beside_it(tmp_path: Path) -> None:
    """The paper's Figure 3, whose first flow has a program, where PATH does not lead to fplc."""
    capture = tmp_path / "web.pcap"
    frames = [packets.ethernet(packets.tcp4(b"", dport=port)) for port in (81, 80, 80, 81, 81, 80)]
    capture.write_bytes(PcapFormat().file(stamped(frames)))
    device = f"(device,{capture}) -> (sampler,2,4)"
    flows = [f'{device} -> (FPL-2,"RETURN PKT.TCP_DPORT == 80;") | (BPF,"udp") -> (bytecount,,8)',
             f'{device} -> (BPF,"tcp") -> (packetcount,,8)']  # fmt: skip
    command = [sys.executable, "-m", "pyffpf.cli.flow", "--json", *flows]
    done = subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = (flow["nodes"] for flow in json.loads(done.stdout)["flows"])
    assert [(node["class"], node["in"], node["out"]) for node in first] == [
        ("device", 6, 6), ("sampler", 6, 3), ("FPL-2", 3, 2), ("BPF", 3, 0), ("bytecount", 2, 2)
    ]  # fmt: skip
    assert (first[4]["report"], second[3]["report"]) == ({"bytes": 120}, {"packets": 3})
    assert first[1] == second[1]  # one sampler, which saw each packet once


def test_files_beside_a_program(tmp_path: Path) -> None:
    (tmp_path / "ports.txt").write_text("80\n")
    program = tmp_path / "web.fpl"
    program.write_text('RETURN DPORT IN {USE "ports.txt"};\n')
    assert fplc("check", str(program)).returncode == 0
    refused = fplc("check", text=program.read_text())
    assert refused.returncode == 1
    assert "<stdin>:1:18: no files may be used here" in refused.stderr


def test_what_a_microengine_gets_is_shown_and_why_it_cannot_run_a_program() -> None:
    shown = fplc("explain", text="RETURN TCP_DPORT == 80;").stdout
    assert re.search(r"^on a microengine +yes: [1-9]\d* of 1024 microwords", shown, re.M)
    assert re.search(r"^registers there +[1-9]\d* of 32 of each context$", shown, re.M)
    assert "ffpf_filter(uint32_t record" in fplc("dump", "--stage", "microengine-c", text="RETURN 1;").stdout
    assert re.search(r"^ +0  [0-9a-f]{8}  ", fplc("dump", "--stage", "microcode", text="RETURN 1;").stdout, re.M)
    refused = "RETURN EXTERN(GetDynTCPDPortFromRTSP, 0, 0);"
    assert (
        "on a microengine               no: a microengine calls no"
        in fplc("explain", "--mbuf", "64", text=refused).stdout
    )
    for stage in ("microengine-c", "microcode"):
        done = fplc("dump", "--mbuf", "64", "--stage", stage, text=refused)
        assert done.returncode == 1
        assert "<stdin>:1:1: a microengine cannot run it: a microengine calls no external functions" in done.stderr


def test_compile_for_a_microengine(tmp_path: Path) -> None:
    done = fplc("compile", "-", "--target", "microcode", "--mbuf", "8", "--output", str(tmp_path / "web.ixpo"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = objects.read((tmp_path / "web.ixpo").read_bytes())
    assert found.contexts == 4
    assert 200 < len(found.words) < 1024
    assert {"mbuf", "ibuf"} <= {name for name, _ in found.imports}
    assert "no microcode" in fplc("compile", "--mbuf", "8", "--target", "microcode", "--record").stderr
