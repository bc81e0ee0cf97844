# SPDX-License-Identifier: BSD-3-Clause
"""Which tools join: a row each, whose they may be, and how often it is their turn."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from compat_tests import harness
from compat_tests.capture_files import PcapFormat, stamped
from compat_tests.capture_packets import ethernet, udp4
from compat_tests.harness import Run
from compat_tests.netns import wait_until
from compat_tests.numbered import HEADERS, MAGIC, PAYLOAD
from compat_tests.shared import ANNA, BERT, CARA, CONFIG, PATIENCE_S, SCRIPTS, User
from compat_tests.soak import flows
from compat_tests.soak.numbers import SNAP, Counted, Seen, Stay, findings
from compat_tests.soak.tools import CountingCommand, Forked, Tool, World, Writes

ROOT = User(0, 0)
FRP = "61009"  # a group of Anna's
SAVEFILE = "numbered.pcap"
REPLAYED = 5000  # packets of the savefile that ffpfd replays
ODD = ("udp dst port 1002", 2, 1)  # by a table; step and rest
FOURTH = ("udp[27] & 3 = 1", 4, 1)  # by code: the last octet of the number
PROGRAM = "IF (PKT.B[61] % 2 == 1) THEN MEM[0]++; RETURN 1; FI RETURN 0;"


def configuration(folder: Path) -> str:
    """Anna's own group goes on without who stands still, her other one waits for nobody, the rest wait."""
    savefile = folder / SAVEFILE
    savefile.write_bytes(savefile_of(REPLAYED))
    return (
        CONFIG.replace('"16 MiB"', '"4 MiB"')
        + f"""
[group.{ANNA.gid}]
stall_ms = 400

[group.{FRP}]
bms = "frp"

[source.numbered]
file = "{savefile}"
rate = "4000 pps"
lossless = true
"""
    )


def savefile_of(packets: int) -> bytes:
    """Numbered packets of stream 0."""
    frame = bytearray(ethernet(udp4(bytes(100), dport=1001)))
    frames = []
    for number in range(packets):
        PAYLOAD.pack_into(frame, HEADERS, MAGIC, 0, number)
        frames.append(bytes(frame))
    return PcapFormat().file(stamped(frames))


def dumpcap_for_all(folder: Path) -> Path:
    """A dumpcap that every user may start, without capabilities of its own."""
    copy = Path(shutil.copyfile(shutil.which("dumpcap") or "", folder / "dumpcap"))
    copy.chmod(0o755)
    return copy


class Dumpcap(Writes):
    ready_words = (b"File:",)


class Embedded(Writes):
    engine = "embedded"
    flows = False


class Replayed(Writes):
    """Of the savefile: everything, from wherever the replay was when it came, and it ends by itself."""

    flows = False

    def ask_to_end(self) -> None:
        pass

    def judge(self) -> tuple[list[str], Counted, int]:
        wrong, counted, seen = self.told()
        if self.killed:
            return wrong, counted, seen.count
        first = seen.streams[0].first if seen.streams else REPLAYED
        end = {0: REPLAYED}
        wrong += findings(seen, replace(counted, seen=None), Stay({0: 0}, {0: first}, end, end, True))
        if counted.dropped:
            wrong.append(f"nothing may be dropped, and {counted.causes} were")
        return wrong, counted, seen.count


class OfBoard(Replayed):
    """Of an emulated network processor of its own, whose port plays the savefile at full pace."""

    engine = "embedded"

    def __init__(self, world: World, what: str, folder: Path) -> None:
        name = f"soak{what.rsplit(' ', 1)[1]}"
        argv = [str(SCRIPTS / "ffpf-ixp"), "board", "--name", name, "--port", f"pcap:{folder / SAVEFILE}"]
        self.boards = Path(tempfile.mkdtemp(prefix="ffpf-boards-"))
        self.board = Run(world.ns.command(argv), harness.STOCK, env={"FFPF_IXP_DIR": str(self.boards)})
        wait_until(lambda: b"ready" in self.board.so_far("stdout"), f"the board {name}", PATIENCE_S)
        argv = ["tcpdump", "-Z", "root", "-n", "-i", name, "-s", str(SNAP), "-w", "out"]
        super().__init__(world, what, ROOT, argv, {"FFPF_ENGINE": "embedded", "FFPF_IXP_DIR": str(self.boards)})

    def judge(self) -> tuple[list[str], Counted, int]:
        try:
            return super().judge()
        finally:
            self.discard()

    def discard(self) -> None:
        super().discard()
        self.board.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.board.process.wait(PATIENCE_S)
        self.board.discard()
        shutil.rmtree(self.boards, ignore_errors=True)


@dataclass(frozen=True)
class Kind:
    name: str
    weight: float
    users: tuple[User, ...]
    make: Callable[[World, str, User, random.Random], Tool]


def tcpdump(world: World, *words: str, cut: int = SNAP) -> list[str]:
    return ["tcpdump", "-Z", "root", "-n", "-i", world.ns.left, "-s", str(cut), "-w", "out", *words]


def writes(filtered: tuple[str, int, int] = ("", 1, 0), group: str = "") -> Callable[..., Tool]:
    text, step, rest = filtered

    def make(world: World, what: str, user: User, chance: random.Random) -> Tool:
        env = {"FFPF_GROUP": group} if group else {}
        return Writes(world, what, user, tcpdump(world, *([text] if text else [])), env, step, rest)

    return make


def dumpcap(program: Path) -> Callable[..., Tool]:
    def make(world: World, what: str, user: User, chance: random.Random) -> Tool:
        argv = [str(program), "-q", "-P", "-i", world.ns.left, "-s", str(SNAP), "-f", ODD[0], "-w", "out"]
        return Dumpcap(world, what, user, argv, None, *ODD[1:])

    return make


def embedded(world: World, what: str, user: User, chance: random.Random) -> Tool:
    return Embedded(world, what, user, tcpdump(world, "-B", "8192"), {"FFPF_ENGINE": "embedded"})


def replayed(world: World, what: str, user: User, chance: random.Random) -> Tool:
    argv = ["tcpdump", "-Z", "root", "-n", "-i", "numbered", "-s", str(SNAP), "-w", "out"]
    return Replayed(world, what, user, argv)


def reader(
    filtered: tuple[str, int, int] = ("", 1, 0), group: str | None = None, naps: float = 0
) -> Callable[..., Tool]:
    text, step, rest = filtered

    def make(world: World, what: str, user: User, chance: random.Random) -> Tool:
        dice = random.Random(chance.random())
        work = flows.read(world.ns.left, text, Seen(step, rest), group, naps, dice)
        return Forked(world, what, user, work, flows.judge_read)

    return make


def of_board(folder: Path) -> Callable[..., Tool]:
    def make(world: World, what: str, user: User, chance: random.Random) -> Tool:
        return OfBoard(world, what, folder)

    return make


def own(what: str) -> str:
    """A filter that lets odd numbers pass, and is nobody else's: the number of the stay is in it."""
    return f"{ODD[0]} and len < {60000 + int(what.rsplit(' ', 1)[1]) % 5000}"


def watcher(text: str, reads: bool = False) -> Callable[..., Tool]:
    """text: what comes behind the filter that is its own."""

    def make(world: World, what: str, user: User, chance: random.Random) -> Tool:
        whole = f'(device,{world.ns.left}) -> (BPF,"{own(what)}") -> {text}'
        return Forked(world, what, user, flows.watch(whole, reads), flows.judge_watch(*ODD[1:]))

    return make


def command(text: str) -> Callable[..., Tool]:
    def make(world: World, what: str, user: User, chance: random.Random) -> Tool:
        whole = f'(device,{world.ns.left}) -> (BPF,"{own(what)}") -> {text}'
        argv = [str(SCRIPTS / "ffpf-flow"), "--engine", "shared", "--json", whole]
        return CountingCommand(world, what, user, argv, *ODD[1:])

    return make


def kinds(folder: Path) -> list[Kind]:
    all_users = (ANNA, BERT, CARA)
    return [
        Kind("tcpdump", 3, all_users, writes()),
        Kind("tcpdump, by table", 3, all_users, writes(ODD)),
        Kind("tcpdump, by code", 2, all_users, writes(FOURTH)),
        Kind("tcpdump, FRP", 2, (ANNA,), writes(group=FRP)),
        Kind("dumpcap", 2, all_users, dumpcap(dumpcap_for_all(folder))),
        Kind("tcpdump, embedded", 1, (ROOT,), embedded),
        Kind("tcpdump of a replay", 1, (BERT, CARA), replayed),
        Kind("tcpdump of a board", 0.7, (ROOT,), of_board(folder)),
        Kind("pyffpf.open", 2, all_users, reader()),
        Kind("pyffpf.open, slow", 1.5, (ANNA,), reader(naps=1.5)),
        Kind("pyffpf.open, slow, FRP", 1.5, (ANNA,), reader(FOURTH, group=FRP, naps=1.5)),
        Kind("Flow, counters", 2, all_users, watcher("n=(packetcount) -> (topk,k=4 of=dport)")),
        Kind("Flow, read", 1.5, all_users, watcher("n=(packetcount)", reads=True)),
        Kind("Flow, worker", 1.5, all_users, watcher("n=(packetcount) -> (distinct,of=ip.src)")),
        Kind("Flow, FPL-2", 1.5, all_users, watcher(f'(FPL-2,"{PROGRAM}",8) -> n=(packetcount)')),
        Kind("ffpf-flow", 1.5, (ROOT,), command("(packetcount) -> (histogram,of=len bins=4 from=0 to=1500)")),
        Kind("ffpf-flow, file", 0.7, (ROOT,), command("(packetcount) -> (first_n,5)")),
    ]
