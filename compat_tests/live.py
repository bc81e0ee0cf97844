# SPDX-License-Identifier: BSD-3-Clause
"""Live comparisons: many tools at once, each on stock and on FFPF, over the same packets in their own namespace."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from compat_tests import harness
from compat_tests.harness import DEFAULT, Expect, Outcome, Run, Side
from compat_tests.netns import Netns, receivers, wait_until

READ_TIMEOUT_S = 1.0  # of tcpdump and most others: the last block of packets comes this late
SETTLE_S = READ_TIMEOUT_S + 0.6
LOOK_S = 0.2
READY_S = 0.4  # from a tool's socket to its first read, where it says nothing
SO_TIMESTAMP = 29


@dataclass(frozen=True)
class LiveCase:
    """One tool on one interface.

    argv: "{left}" and "{right}" stand for the interfaces, "{cwd}" for the run's directory. ready: text on standard
    error or output that says that it captures; empty for a tool that says nothing: then its socket is waited for.
    stop: the signal that ends it, None for a tool that ends by itself.
    """

    argv: tuple[str, ...]
    ready: bytes = b"listening on"
    stop: int | None = signal.SIGINT
    expect: Expect = DEFAULT
    prepare: Callable[[Path], None] | None = None
    stock: Side = harness.STOCK


@contextmanager
def kernel_stamps() -> Iterator[None]:
    """While some socket asks for time stamps, the kernel stamps each packet once; else each capture has its own clock
    reading. Inside, the times of two captures of one packet are equal."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 1)
        yield


def start(ns: Netns, case: LiveCase, side: Side, env: Mapping[str, str] | None = None) -> Run:
    words = [word.replace("{left}", ns.left).replace("{right}", ns.right) for word in case.argv]
    return Run(ns.command(words), side, prepare=case.prepare, env=env)


def wait_ready(run: Run, ready: bytes) -> None:
    def is_ready() -> bool:
        return ready in run.so_far("stderr") or ready in run.so_far("stdout") or run.process.poll() is not None

    wait_until(is_ready, f"{ready!r} from {run.outcome.repeat}: {run.so_far('stderr')!r}", 20)


def wait_sockets(ns: Netns, count: int) -> None:
    """Until that many packet sockets are open in the namespace: for tools that say nothing when they begin."""
    wait_until(lambda: receivers(ns.name) >= count, f"{count} packet sockets", 20)


@dataclass(frozen=True)
class Pair:
    """The two runs of one case, on stock and on FFPF."""

    case: LiveCase
    runs: tuple[Run, Run]

    def wait_ready(self) -> None:
        """AssertionError when one of them does not capture in time."""
        for run in self.runs:
            wait_ready(run, self.case.ready)

    def signal(self, number: int) -> None:
        for run in self.runs:
            run.signal(number)

    def stop(self) -> None:
        if self.case.stop is not None:
            self.signal(self.case.stop)

    def finish(self, seconds: float = 20) -> tuple[Outcome, Outcome]:
        """AssertionError when one of them does not end."""
        return self.runs[0].finish(seconds), self.runs[1].finish(seconds)


def start_pair(
    ns: Netns, case: LiveCase, stack: ExitStack, env: Mapping[str, str] | None = None, device: str = ""
) -> Pair:
    """Both runs, which the stack ends. env: what the environment has besides on FFPF; device: what is captured there,
    if that is not the left interface."""
    argv = tuple(word.replace("{left}", device or ns.left) for word in case.argv)
    runs = (start(ns, case, case.stock), start(ns, replace(case, argv=argv), harness.FFPF, env))
    for run in runs:
        stack.callback(run.discard)
    return Pair(case, runs)


def family(pid: int) -> list[int]:
    """A process and those that it began, and so on; nothing of one that has ended."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(member for child in children for member in family(child))]


def has_packet_socket(pid: int) -> bool:
    """Whether a process, or one that it began, has a packet socket of its network namespace."""
    return any(member_has_packet_socket(member) for member in family(pid))


def member_has_packet_socket(pid: int) -> bool:
    try:
        table = Path(f"/proc/{pid}/net/packet").read_text().splitlines()[1:]
        links = [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return any(f"socket:[{line.split()[-1]}]" in links for line in table)


def at_work(pid: int) -> tuple[int, bool]:
    """Ticks of processor time that a process and those it began have spent, and whether one wants a processor now."""
    ticks, wants = 0, False
    for member in family(pid):
        try:
            state, *fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        ticks, wants = ticks + int(fields[10]) + int(fields[11]), wants or state == "R"  # utime, stime: proc(5)
    return ticks, wants


def settle_all(pairs: Sequence[Pair], seconds: float) -> None:
    """Until all runs have been idle for SETTLE_S: the last packets may come so late, and on a busy machine a tool waits
    before it shows them. At most so many seconds."""
    pids = [run.process.pid for pair in pairs for run in pair.runs]
    end = time.monotonic() + seconds
    idle_since, before = time.monotonic(), list(map(at_work, pids))
    while idle_since + SETTLE_S > time.monotonic() < end:
        time.sleep(LOOK_S)
        now = list(map(at_work, pids))
        if any(wants or ticks - old > 1 for (ticks, wants), (old, _) in zip(now, before, strict=True)):
            idle_since = time.monotonic()
        before = now


def replay(ns: Netns, capture: Path, pps: int = 2000, loop: int = 1) -> None:
    """Sends a capture out of the right end, at a bounded rate, with tcpreplay: it arrives at the left one."""
    ns.run(["tcpreplay", "-q", "-i", ns.right, f"--pps={pps}", f"--loop={loop}", str(capture)])


def run_pairs(
    ns: Netns,
    cases: Sequence[LiveCase],
    traffic: Callable[[], None],
    settle: float = SETTLE_S,
    env: Mapping[str, str] | None = None,
) -> list[tuple[Outcome, Outcome]]:
    """Starts every case on both libraries, makes the traffic once, ends them all; (stock, ffpf) of each case. env: what
    the environment has besides on FFPF."""
    with ExitStack() as stack:
        pairs = [start_pair(ns, case, stack, env) for case in cases]
        for pair in pairs:
            pair.wait_ready()
        if any(not case.ready for case in cases):
            wait_sockets(ns, 2 * len(cases))
            time.sleep(READY_S)
        traffic()
        time.sleep(settle)
        for pair in pairs:
            pair.stop()
        return [pair.finish() for pair in pairs]


def assert_same_live(
    ns: Netns,
    cases: Sequence[LiveCase],
    traffic: Callable[[], None],
    settle: float = SETTLE_S,
    env: Mapping[str, str] | None = None,
) -> list[Outcome]:
    """Runs the cases and compares each; fails with all that differ. Returns stock's outcomes, for further demands."""
    with kernel_stamps():
        pairs = run_pairs(ns, cases, traffic, settle, env)
    failures = []
    for case, (stock, ffpf) in zip(cases, pairs, strict=True):
        try:
            harness.assert_same(stock, ffpf, case.expect)
        except AssertionError as error:
            failures.append(str(error))
    assert not failures, "\n\n".join([f"{len(failures)} of {len(cases)} differ:", *failures])
    return [stock for stock, _ in pairs]


def captured(outcome: Outcome) -> int:
    """N of tcpdump's "N packets captured"."""
    for line in outcome.stderr.splitlines():
        words = line.split()
        if words[1:3] in ([b"packets", b"captured"], [b"packet", b"captured"]):
            return int(words[0])
    raise AssertionError(f"no count of packets: {outcome.stderr!r}")


def loopback_datagrams(ns: Netns, count: int = 20, size: int = 100) -> None:
    """Sends UDP datagrams over the namespace's loopback interface to a socket that takes them."""
    with ns.entered():
        taker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        giver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with taker, giver:
        taker.bind(("127.0.0.1", 0))
        for number in range(count):
            giver.sendto(number.to_bytes(4, "big") * (size // 4), taker.getsockname())


def settle(seconds: float = SETTLE_S) -> None:
    """Gives every capture the time to read what has arrived."""
    time.sleep(seconds)
