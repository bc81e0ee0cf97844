# SPDX-License-Identifier: BSD-3-Clause
"""Live comparisons: many tools at once, each on stock and on FFPF, over the same packets in their own namespace."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from compat_tests import harness
from compat_tests.harness import DEFAULT, Expect, Outcome, Run, Side
from compat_tests.netns import Netns, receivers, wait_until

READ_TIMEOUT_S = 1.0  # of tcpdump and most others: the last block of packets comes this late
SETTLE_S = READ_TIMEOUT_S + 0.6
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
        runs = []
        for case in cases:
            pair = (start(ns, case, case.stock), start(ns, case, harness.FFPF, env))
            for run in pair:
                stack.callback(run.discard)
            runs.append((case, pair))
        for case, pair in runs:
            for run in pair:
                wait_ready(run, case.ready)
        if any(not case.ready for case in cases):
            wait_sockets(ns, 2 * len(cases))
            time.sleep(READY_S)
        traffic()
        time.sleep(settle)
        for case, pair in runs:
            for run in pair:
                if case.stop is not None:
                    run.signal(case.stop)
        return [(pair[0].finish(20), pair[1].finish(20)) for _, pair in runs]


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
