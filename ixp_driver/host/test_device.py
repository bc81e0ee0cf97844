# SPDX-License-Identifier: BSD-3-Clause
"""`ixp0` beside the same capture as a savefile: unmodified tcpdump, pyffpf, ffpfd, in each copy mode; its faults."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

import pyffpf
from compat_tests.harness import SHARED_CAPTURES, library_path, published
from ixp_driver.host.cost import MODES
from ixp_driver.host.counting import set_mode
from ixp_driver.host.running import RunningBoard, running
from pyffpf.daemon.config import SourceConfig
from pyffpf.daemon.test_replays import captured, instants, recorded, serving

FILTERS = 5  # of a board with one port


def tcpdump(board: RunningBoard, *arguments: str) -> subprocess.Popen[bytes]:
    environ = {**board.environ, "LD_PRELOAD": str(published(library_path())), "FFPF_ENGINE": "embedded"}
    return subprocess.Popen(
        ["tcpdump", "-Z", "root", *arguments], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where boards of this test are found, also by this process."""
    monkeypatch.setenv("FFPF_IXP_DIR", str(tmp_path))
    monkeypatch.setenv("FFPF_ENGINE", "embedded")
    return tmp_path


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("words", [(), ("less", "600"), ("ip[8] == 64 and udp",)], ids=str)
def test_tcpdump_captures_what_it_reads(folder: Path, imix: Path, mode: str, words: Sequence[str]) -> None:
    want, readable = recorded(imix, *words)
    assert readable
    with running(folder, f"pcap:{imix}") as board:
        set_mode(board, mode)
        assert captured(tcpdump(board, "-i", "ixp0", "-w", "-", *words)) == want


def test_every_link_type_and_odd_packets(folder: Path) -> None:
    differ, compared = [], 0
    for path in sorted(SHARED_CAPTURES.glob("*.pcap*"))[4::12]:
        want, readable = recorded(path)
        if not readable:
            continue
        compared += 1
        with running(folder, f"pcap:{path}") as board:
            got = captured(tcpdump(board, "-i", "ixp0", "-w", "-"))
        if instants(got) != instants(want):
            differ.append(path.name)
    assert compared > 15
    assert not differ


def test_tags_are_part_of_the_packet(folder: Path) -> None:
    file = SHARED_CAPTURES / "QinQpacket.pcap"
    for words in ("vlan", "vlan and vlan and ip", "ip"):
        with running(folder, f"pcap:{file}") as board:
            got = captured(tcpdump(board, "-i", "ixp0", "-w", "-", *words.split()))
        assert got == recorded(file, *words.split())[0], words


def test_boards_are_listed_while_they_run(folder: Path, imix: Path) -> None:
    with running(folder, f"pcap:{imix}") as board, running(folder, f"pcap:{imix}", name="second"):
        listed = captured_text(tcpdump(board, "-D"))
        assert "ixp0 (IXP1200 network processor) [Up, Running, Connected]" in listed
        assert "second (IXP1200" in listed
        board.kill()
        listed = captured_text(tcpdump(board, "-D"))
        assert "ixp0" not in listed
        assert "second (IXP1200" in listed


def captured_text(process: subprocess.Popen[bytes]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    return out.decode()


def packets_of(source: str | Path, words: str = "") -> list[tuple[int, int, bytes]]:
    with pyffpf.open(source, filter=words) as capture:
        return [(packet.ts_ns, packet.len, bytes(packet.data)) for packet in capture]


@pytest.mark.parametrize("mode", MODES)
def test_pyffpf_reads_the_same_packets(folder: Path, imix: Path, mode: str) -> None:
    for words in ("", "less 600"):
        with running(folder, f"pcap:{imix}") as board:
            set_mode(board, mode)
            assert packets_of("ixp0", words) == packets_of(imix, words)


def test_the_mode_changes_while_packets_come(folder: Path, imix: Path) -> None:
    with running(folder, f"pcap:{imix},loops=20") as board, pyffpf.open("ixp0") as capture:
        got = []
        for number, packet in enumerate(capture):
            if number % 2500 == 0:
                set_mode(board, MODES[number // 2500 % 3])
            got.append(bytes(packet.data))
    assert got == [data for _, _, data in packets_of(imix)] * 20


def test_ffpfd_serves_one_filter_to_many(folder: Path, imix: Path) -> None:
    clients = ("", "less 600", "udp", "greater 1000", "ip6", "not udp", "tcp")  # more than the board has engines
    source = SourceConfig(board=str(folder / "ixp0"), lossless=True, readers=len(clients))
    with running(folder, f"pcap:{imix}"), serving(folder / "ffpfd", {"wire": source}) as server, ExitStack() as stack:
        environ = {"FFPF_ENGINE": "shared", "FFPF_SOCKET": str(server.path)}
        reading = {words: stack.enter_context(shared_tcpdump(environ, words)) for words in clients}
        for words, process in reading.items():
            assert captured(process) == recorded(imix, *words.split())[0], words


def shared_tcpdump(environ: dict[str, str], words: str) -> subprocess.Popen[bytes]:
    command = ["tcpdump", "-Z", "root", "-i", "wire", "-w", "-", *words.split()]
    preload = {"LD_PRELOAD": str(published(library_path()))}
    return subprocess.Popen(
        command, env={**os.environ, **preload, **environ}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


# ---- what ends, and what does not ----


@pytest.mark.parametrize("mode", MODES)
def test_a_killed_board_is_an_error_that_says_so(folder: Path, mode: str) -> None:
    with running(folder, "generator:2000pps") as board:
        set_mode(board, mode)
        process = tcpdump(board, "-i", "ixp0", "-w", "-", "-U")
        assert process.stdout is not None
        process.stdout.read(4096)  # packets come
        board.kill()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ixp0: the board is gone, and its window with it" in err.decode()


def test_ffpfd_tells_its_clients_that_a_board_is_gone(folder: Path) -> None:
    source = SourceConfig(board=str(folder / "ixp0"))
    with running(folder, "generator:2000pps") as board, serving(folder / "ffpfd", {"wire": source}) as server:
        process = shared_tcpdump({"FFPF_ENGINE": "shared", "FFPF_SOCKET": str(server.path)}, "")
        assert process.stdout is not None
        process.stdout.read(4096)
        board.kill()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "The interface disappeared" in err.decode()


def test_a_killed_board_ends_no_other_source(folder: Path, imix: Path) -> None:
    with (
        running(folder, "generator:2000pps") as board,
        running(folder, f"pcap:{imix}", name="other"),
        pyffpf.open("ixp0") as lost,
        pyffpf.open("other") as other,
    ):
        assert len(list(zip(range(10), lost, strict=False))) == 10
        board.kill()
        with pytest.raises(pyffpf.DeviceGone, match="ixp0: the board is gone"):
            for _ in lost:
                pass
        assert sum(1 for _ in other) == len(packets_of(imix))


def test_the_sixth_reader_is_told_that_the_board_is_full(folder: Path) -> None:
    with running(folder, "generator:100pps") as board, ExitStack() as stack:
        for _ in range(FILTERS):
            stack.enter_context(pyffpf.open("ixp0"))
        with pytest.raises(pyffpf.Busy, match="ixp0: "):
            pyffpf.open("ixp0")
        process = tcpdump(board, "-i", "ixp0", "-c", "1")
        assert b"ixp0: " in process.communicate(timeout=60)[1]
        assert process.returncode == 1


def test_where_no_board_runs_there_is_no_device(folder: Path, imix: Path) -> None:
    with running(folder, f"pcap:{imix}") as board:
        board.kill()
        with pytest.raises(pyffpf.NoSuchDevice):
            pyffpf.open("ixp0")
        assert tcpdump(board, "-i", "ixp0").wait(timeout=60) == 1
