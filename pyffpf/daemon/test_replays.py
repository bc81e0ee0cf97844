# SPDX-License-Identifier: BSD-3-Clause
"""Savefiles that ffpfd replays into userspace lanes, read by unmodified tcpdumps: what each gets is what `tcpdump -r`
gives of the file."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from compat_tests.captures import write_imix
from compat_tests.harness import SHARED_CAPTURES, library_path, published
from pyffpf.daemon.config import AllowRule, BuffersConfig, Config, SourceConfig
from pyffpf.daemon.engine import EngineError, EngineSource, Resolved
from pyffpf.daemon.protocol import Code, RefusedError
from pyffpf.daemon.replay import FOREVER, Rate
from pyffpf.daemon.sources import Sources
from pyffpf.daemon.status import FlowStatus
from pyffpf.daemon.testing import FakeEngine, Running, wait_until

PACKETS = 20_000
FULL = Rate("full")
NOBODY = 65534
BEYOND_2262 = {"smb_data_print-segv.pcapng"}  # one of its times is more than 64 bits of nanoseconds can tell


class NoKernel(FakeEngine):
    """The engine of a kernel that has no hook, and of a machine without interfaces."""

    def open_source(self, resolved: Resolved, pbuf_bytes: int) -> EngineSource:  # type: ignore[override]
        raise EngineError("no eBPF")

    def resolve(self, name: str) -> Resolved:
        raise RefusedError(Code.NO_SUCH_DEVICE, f"{name}: No such device exists")


@contextlib.contextmanager
def serving(
    folder: Path, sources: Mapping[str, SourceConfig], buffers: BuffersConfig | None = None
) -> Iterator[Running]:
    config = Config(buffers=buffers or BuffersConfig(), source=sources, allow=(AllowRule(users=("*",)),))
    made = Running(folder, config, Sources(NoKernel(), config))
    made.start()
    try:
        yield made
    finally:
        made.stop()


def tcpdump(server: Running, *arguments: str, uid: int | None = None) -> subprocess.Popen[bytes]:
    environ = {
        **os.environ,
        "LD_PRELOAD": str(published(library_path())),
        "FFPF_ENGINE": "shared",
        "FFPF_SOCKET": str(server.path),
    }
    user = ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", "tcpdump"]
    command = ["tcpdump", "-Z", "root"] if uid is None else user
    return subprocess.Popen([*command, *arguments], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def captured(process: subprocess.Popen[bytes]) -> bytes:
    """The packets that a `tcpdump -w -` wrote, with their record headers, once it has ended."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    return out[24:]


def recorded(file: Path, *filter_words: str) -> tuple[bytes, bool]:
    """What `tcpdump -r` gives, and whether it opened the file at all."""
    done = subprocess.run(["tcpdump", "-r", str(file), "-w", "-", *filter_words], capture_output=True, timeout=60)
    return done.stdout[24:], bool(done.stdout)


@pytest.fixture(scope="module")
def imix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("imix") / "imix.pcap"
    write_imix(path, PACKETS)
    return path


def instants(data: bytes) -> list[tuple[int, bytes]]:
    """Of each packet its time in microseconds, and the rest. Broken files have fractions of more than a second, or of
    less than none, which tcpdump hands on; a record in a lane has the time that they add up to."""
    return [
        (int.from_bytes(record[:4], "little") * 10**6 + int.from_bytes(record[4:8], "little", signed=True), record[8:])
        for record in _records(data)
    ]


def shared_captures() -> list[Path]:
    """Some of each link type; all of them are read by the tests of the savefile reader."""
    files = sorted(SHARED_CAPTURES.glob("*.pcap*"))
    return files[::8]


def test_what_tcpdump_captures_is_what_it_reads(tmp_path: Path) -> None:
    files = {f"f{number}": path for number, path in enumerate(shared_captures())}
    assert len(files) > 20
    sources = {name: SourceConfig(file=path, rate=FULL, lossless=True) for name, path in files.items()}
    differ, opened = [], 0
    with serving(tmp_path, sources) as server:
        for name, path in files.items():
            want, readable = recorded(path)
            process = tcpdump(server, "-i", name, "-w", "-")
            if not readable:
                process.communicate(timeout=60)
                assert process.returncode != 0, path.name
                continue
            opened += 1
            got, expected = instants(captured(process)), instants(want)
            if path.name in BEYOND_2262:
                got, expected = ([(0, rest) for _, rest in packets] for packets in (got, expected))
            if got != expected:
                differ.append(path.name)
    assert not differ
    assert opened > 20


FILTERS = ("", "tcp port 80", "udp", "vlan", "not ip", "less 100", "ip6 or host 192.0.2.7")


def test_filters_decide_as_on_the_file_each_reader_for_itself(tmp_path: Path, imix: Path) -> None:
    source = SourceConfig(file=imix, rate=FULL, lossless=True, readers=len(FILTERS))
    with serving(tmp_path, {"replay": source}) as server:
        running = {words: tcpdump(server, "-i", "replay", "-w", "-", *words.split()) for words in FILTERS}
        # at once: what one does not take stops the file
        with ThreadPoolExecutor(len(running)) as pool:
            outputs = dict(zip(running, pool.map(captured, running.values()), strict=True))
    differ = [words for words, output in outputs.items() if output != recorded(imix, *words.split())[0]]
    assert not differ


def test_tags_in_a_savefile_are_part_of_the_packet(tmp_path: Path) -> None:
    file = SHARED_CAPTURES / "QinQpacket.pcap"
    for number, words in enumerate(("", "vlan", "vlan and vlan", "ip", "vlan and vlan and ip")):
        folder = tmp_path / str(number)
        folder.mkdir()
        with serving(folder, {"replay": SourceConfig(file=file, rate=FULL, lossless=True)}) as server:
            got = captured(tcpdump(server, "-i", "replay", "-w", "-", *words.split()))
        assert got == recorded(file, *words.split())[0], words


@pytest.mark.parametrize("bms", ["srp", "frp"])
def test_an_unprivileged_reader_of_a_small_buffer(tmp_path: Path, imix: Path, bms: str) -> None:
    source = SourceConfig(bytes=1 << 18, file=imix, rate=FULL, lossless=True)
    with (
        tempfile.TemporaryDirectory() as reachable,
        serving(Path(reachable), {"replay": source}, BuffersConfig(bms=bms, stall_ms=0)) as server,
    ):
        Path(reachable).chmod(0o755)
        process = tcpdump(server, "-i", "replay", "-w", "-", "-U", uid=NOBODY)
        got = captured(process)
    if bms == "srp":
        assert got == recorded(imix)[0]
    else:
        # who is overtaken loses whole packets, and gets the others in order
        whole, at = recorded(imix)[0], 0
        assert got
        for packet in _records(got):
            at = whole.index(packet, at) + len(packet)


def _records(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        end = at + 16 + int.from_bytes(data[at + 8 : at + 12], "little")
        yield data[at:end]
        at = end


def test_loops_at_a_rate_with_times_of_now(tmp_path: Path) -> None:
    file = SHARED_CAPTURES / "QinQpacket.pcap"
    source = SourceConfig(file=file, rate=Rate("packets", 1000.0), loops=5, times="now", lossless=True)
    began = int(time.time())
    with serving(tmp_path, {"replay": source}) as server:
        got = instants(captured(tcpdump(server, "-i", "replay", "-w", "-")))
    want = instants(recorded(file)[0])
    assert [rest for _, rest in got] == [rest for _, rest in want] * 5
    times = [at for at, _ in got]
    assert times == sorted(times)
    assert began * 10**6 <= times[0]


def law(flow: FlowStatus) -> None:
    assert flow.seen == flow.filtered + flow.delivered + flow.waiting + sum(flow.dropped.values())


@pytest.mark.parametrize("bms", ["srp", "frp"])
def test_the_law_when_nobody_reads(tmp_path: Path, imix: Path, bms: str) -> None:
    source = SourceConfig(bytes=1 << 18, file=imix, rate=FULL)
    with (
        serving(tmp_path, {"replay": source}, BuffersConfig(bms=bms, stall_ms=0)) as server,
        server.connect() as tool,
        tool.open("replay") as reply,
    ):
        assert list(reply.fds) == ["reader", "wake", "lane:0", "ibuf:0"]
        assert (reply["lanes"], reply["ifindex"], reply["wake_kind"]) == (1, 0, "timerfd")

        def is_at_rest() -> bool:
            """All was seen, and what was seen has been dealt with: in the middle of a packet the law need not hold."""
            (flow,) = tool.status().flows
            return flow.seen == PACKETS == flow.filtered + flow.delivered + flow.waiting + sum(flow.dropped.values())

        wait_until(is_at_rest, "the end of the file, and the law")
        (flow,) = tool.status().flows
        law(flow)
        assert flow.waiting > 0
        assert bool(flow.dropped.get("ibuf", 0) + flow.dropped.get("pbuf", 0)) == (bms == "srp")
        (source_status,) = tool.status().sources
        assert (source_status.kind, source_status.packets) == ("file", PACKETS)


def test_a_stopped_reader_is_left_behind_and_the_others_go_on(tmp_path: Path, imix: Path) -> None:
    source = SourceConfig(bytes=1 << 18, file=imix, rate=FULL, lossless=True, patience_ms=50, loops=3, readers=2)
    with serving(tmp_path, {"replay": source}, BuffersConfig(stall_ms=200)) as server:
        stalled = tcpdump(server, "-i", "replay", "-w", "-")
        wait_until(lambda: _flows(server) == 1, "the first reader")
        stalled.send_signal(signal.SIGSTOP)
        other = tcpdump(server, "-i", "replay", "-w", "-")
        got = len(list(_records(captured(other))))
        assert PACKETS < got <= 3 * PACKETS  # it lost what came while the group waited for the stalled one
        stalled.kill()
        stalled.communicate(timeout=20)


def _flows(server: Running) -> int:
    with server.connect() as tool:
        return len(tool.status().flows)


def test_readers_killed_at_any_instant_leave_nothing(tmp_path: Path, imix: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed={seed}")
    rng = random.Random(seed)
    source = SourceConfig(bytes=1 << 18, file=imix, rate=FULL, lossless=True, patience_ms=10_000, loops=FOREVER)
    with serving(tmp_path, {"replay": source}) as server:
        server.settle()
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(12):
            victims = [tcpdump(server, "-i", "replay", "-w", "/dev/null") for _ in range(rng.choice([1, 2]))]
            for victim in victims:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    victim.wait(rng.uniform(0, 0.2))
                victim.kill()
                victim.communicate(timeout=20)
            wait_until(lambda: _flows(server) == 0, "the end of all flows")
        server.settle()
        wait_until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= descriptors, "all descriptors to be closed")


def refusal(server: Running, name: str) -> str:
    process = tcpdump(server, "-i", name, "-w", "-")
    _, err = process.communicate(timeout=20)
    assert process.returncode != 0
    return err.decode()


def test_only_the_configurations_files_are_opened(tmp_path: Path, imix: Path) -> None:
    missing = tmp_path / "missing.pcap"
    folder = tmp_path / "folder"
    folder.mkdir()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("no savefile, but long enough for a header")
    names: Sequence[tuple[str, Path, str]] = [
        ("missing", missing, "No such file"),
        ("directory", folder, "not a regular file"),
        ("fifo", fifo, "not a regular file"),
        ("nonsense", nonsense, "unknown file format"),
    ]
    with serving(tmp_path, {name: SourceConfig(file=path) for name, path, _ in names}) as server:
        for name, _, words in names:
            assert words in refusal(server, name)
        for path in (str(imix), f"file:{imix}"):
            assert "No such device" in refusal(server, path)
