# SPDX-License-Identifier: BSD-3-Clause
"""What README.md shows still happens: the recording's commands run, the text beside it is the recorded one, and the
commands and the Python that a newcomer is told to try do what they are said to."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from compat_tests import captures, documents, harness, pages
from compat_tests.netns import wait_until
from docs import recording, terminal
from pyffpf.cli.control import ControlError

README = harness.ROOT / "README.md"
PATIENCE_S = 120.0


def indented(text: str) -> list[list[str]]:
    """The indented blocks of a page, without comments at the ends of lines."""
    found = re.findall(r"(?:^    .+\n)+", text, re.MULTILINE)
    return [[line.partition("   #")[0].strip() for line in block.splitlines()] for block in found]


def interrupt(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    """As Ctrl-C does, once that holds, or the process has ended by itself."""
    wait_until(lambda: process.poll() is not None or ready(), str(process.args), PATIENCE_S)
    os.killpg(process.pid, signal.SIGINT)


@pytest.mark.live
@pytest.mark.long
def test_recorded_commands_run() -> None:
    shell, graph = recording.record(hasty=True)
    assert [command.text for command in shell.commands] == [text for text, _ in recording.COMMANDS]
    assert [command.code for command in shell.commands] == [0] * len(recording.COMMANDS), shell.text()
    text = shell.text()
    assert "CapEff:\t0000000000000000" in text.replace("CapEff: ", "CapEff:\t")
    assert re.search(r"^3 packets captured$", text, re.MULTILINE)
    served = re.findall(r"^ +\d+  eth0 .* tcpdump  kernel +live ", text, re.MULTILINE)
    assert len(served) == 2, text
    assert re.search(r"key \d+ count \d+ error \d+", text) and re.search(r"bytes \d+", text)
    assert not pages.picture_faults(graph) and "topk" in graph and "kernel" in graph
    assert not pages.picture_faults(terminal.svg(shell.frames, recording.TITLE))


def test_what_is_shown_is_the_recording() -> None:
    shown = recording.TEXT.read_text()
    block = recording.BLOCK.search(README.read_text())
    assert block and block[0] == f"{block[1]}{shown}{block[2]}", "python -m docs.recording writes both"
    assert [line.removeprefix(terminal.PROMPT) for line in shown.splitlines() if line.startswith(terminal.PROMPT)] == [
        text for text, _ in recording.COMMANDS
    ], "the commands have changed since: python -m docs.recording"
    picture = recording.PICTURE.read_text()
    assert "prefers-color-scheme:dark" in picture and "prefers-reduced-motion" in picture


@pytest.mark.live
def test_commands_to_try(tmp_path: Path) -> None:
    """As root, in a namespace with traffic. What does not end by itself is interrupted once it has done something."""
    lines = next(block for block in indented(README.read_text()) if block[0].startswith("ffpf-run"))
    assert len(lines) == 6
    captures.write_imix(tmp_path / "capture.pcap", 500)
    (tmp_path / "filter.fpl").write_text("MEM[0] += 1; RETURN IS_TCP;\n")
    with recording.scene() as (ns, ffpfd, _):
        path = f"{harness.ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
        environ = {**os.environ, "PATH": path, "FFPF_SOCKET": str(ffpfd.socket), "FFPF_IXP_DIR": str(tmp_path)}

        def counted() -> bool:
            time.sleep(0.2)  # ffpfd is to make the graph meanwhile
            with contextlib.suppress(ControlError):  # no answer in time: it has a busy machine
                return any(graph.nodes and graph.nodes[-1].came for graph in ffpfd.ask_status().graphs)
            return False

        done: dict[str, Callable[[], bool]] = {
            "FFPF_STATS=1 ffpf-run": lambda: (file := tmp_path / "out.pcap").is_file() and file.stat().st_size > 1000,
            "ffpf-flow": counted,
            "ffpf-ixp": lambda: any(file.is_socket() for file in tmp_path.iterdir()),
        }
        for line in lines:
            command = line.removesuffix(" &")
            if command == "ffpfd":
                continue  # it is there: the scene has one
            words = ["bash", "-c", command if "=" in command.split()[0] else f"exec {command}"]
            process = ns.popen(words, env=environ, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               stdin=subprocess.DEVNULL, text=True, start_new_session=True)  # fmt: skip
            for begins, condition in done.items():
                if line.startswith(begins):
                    interrupt(process, condition)
            said, _ = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0, f"{line}: {process.returncode}\n{said}"
            assert said, line


def test_python_to_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captures.write_imix(tmp_path / "capture.pcap", 500)
    monkeypatch.chdir(tmp_path)
    code = [block.text for block in documents.blocks(README.read_text()) if block.kind == "python"]
    assert len(code) == 1
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code[0], str(README), "exec"), {"__name__": "__main__"})
    assert re.fullmatch(r"(\d+ \d+\n)+", printed.getvalue())


def test_a_shell_that_hangs_or_ends_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bash = ["bash", "--norc", "--noprofile", "-i"]
    environ = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    with terminal.Shell(bash, environ, str(tmp_path), 0.0) as shell:
        shell.run("printf '\\033[31mred\\033[0m\\n'; false")
        shell.run(f"echo {'long ' * 40}")
        assert [command.code for command in shell.commands] == [1, 0]
        rows = [row for row in shell.frames[-1].rows if row]
        assert terminal.Span("red", "red", False) in rows[1]
        assert f"{terminal.PROMPT}echo {'long ' * 40}".rstrip() in shell.text()
        monkeypatch.setattr(terminal, "COMMAND_S", 0.3)
        with pytest.raises(AssertionError, match="sleep 5 did not end"):
            shell.run("sleep 5")
    with (
        pytest.raises(AssertionError, match="the shell ended"),
        terminal.Shell(bash, environ, str(tmp_path), 0.0) as shell,
    ):
        shell.run("exit")
