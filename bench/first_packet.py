# SPDX-License-Identifier: BSD-3-Clause
"""(y) How long until the first packet: of tools and of Python, on an interface on which packets come all the time; and
how long ffpfd takes to begin, and to take up a flow.

Of tools the time from the start of the process to its end behind one packet. "first": ffpfd captures nothing yet, so
the source is made: its programs are loaded, its socket opened. "joins": somebody captures there already. A flow is
what ffpfd is asked for: opened, and given a filter. The benchmark runs itself again in a network namespace of its own,
which goes with it.
"""

from __future__ import annotations

import argparse
import base64
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import build
from bench import framework, live, measure, shared
from pyffpf.cli.control import Control

RATE = 5_000  # packets a second: the first one comes within 0.2 ms
TCPDUMP = ("tcpdump", "-Z", "root", "-i", live.SIDES[1], "-c", "1", "-w", "/dev/null")
PYTHON = "import sys, pyffpf\nwith pyffpf.open(sys.argv[1], engine=sys.argv[2], immediate=True) as c: next(iter(c))"
FILTER = framework.TURNS_ALL_AWAY


@contextmanager
def packets(seconds: float) -> Iterator[None]:
    """Packets come, for so many seconds at most."""
    words = [str(live.SENDER), live.SIDES[0], str(int(RATE * seconds)), str(RATE), "64"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as sender:
        try:
            yield
        finally:
            sender.kill()


def milliseconds(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return (time.monotonic() - began) * 1e3


def ran(command: Sequence[str], env: dict[str, str]) -> None:
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def flow(stack: ExitStack, control: Control, insns: bytes) -> None:
    opened = control.ask("open", source=live.SIDES[1], snap_len=65535, promisc=False, group=None)
    for fd in opened.fds.values():
        stack.callback(os.close, fd)
    control.ask("filter", flow=opened.fields["flow"], insns=base64.b64encode(insns).decode())


def of_flows(daemon: shared.Daemon) -> tuple[float, float]:
    """A flow that has the source made, and the next one."""
    with ExitStack() as stack:
        control = stack.enter_context(Control(daemon.socket, "bench"))
        times = [milliseconds(partial(flow, stack, control, FILTER)) for _ in range(2)]
    framework.wait_until_idle(daemon)
    return times[0], times[1]


def of_tools(daemon: shared.Daemon) -> dict[str, float]:
    def env(engine: str) -> dict[str, str]:
        return measure.environment("ffpf", {"FFPF_ENGINE": engine, "FFPF_SOCKET": str(daemon.socket)})

    python = [sys.executable, "-c", PYTHON, live.SIDES[1]]
    immediate = [*TCPDUMP, "--immediate-mode"]
    on_python = {**os.environ, "FFPF_SOCKET": str(daemon.socket)}
    found = {
        "tcpdump: libpcap": milliseconds(partial(ran, immediate, measure.environment("stock"))),
        "tcpdump: FFPF embedded": milliseconds(partial(ran, immediate, env("embedded"))),
        "Python, nothing done": milliseconds(partial(ran, [sys.executable, "-c", "pass"], on_python)),
        "Python: embedded": milliseconds(partial(ran, [*python, "embedded"], on_python)),
    }
    for name, command, where in (("tcpdump: FFPF shared", immediate, env("shared")),
                                 ("Python: shared", [*python, "shared"], on_python)):  # fmt: skip
        framework.wait_until_idle(daemon)
        found[f"{name}, first"] = milliseconds(partial(ran, command, where))
        with framework.flows(daemon, 1, None):
            found[f"{name}, joins"] = milliseconds(partial(ran, command, where))
    return found


def one_round(folder: Path) -> dict[str, float]:
    """Milliseconds, by what is measured."""
    began = time.monotonic()
    with shared.running(folder) as daemon:
        found = {"ffpfd: start, until it answers": (time.monotonic() - began) * 1e3}
        found["ffpfd: flow, first"], found["ffpfd: flow, joins"] = of_flows(daemon)
        with packets(120):
            found |= of_tools(daemon)
    return found


def inside(rounds: int) -> None:
    """What runs in the namespace."""
    measure.make_veth_pair(*live.SIDES)
    with tempfile.TemporaryDirectory(prefix="ffpf-bench-", dir="/dev/shm") as name:
        taken = [one_round(Path(name)) for _ in range(rounds)]
    print(f"until the first packet, {RATE} packets/s, {rounds} rounds in turns; {measure.machine()}\n")
    rows = [[what, measure.Spread.of([one[what] for one in taken]).text()] for what in taken[0]]
    print(measure.table(["what", "ms"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        inside(args.rounds)
        return
    with build.locked():
        build.build_bench_program(measure.ROOT / "bench" / "send.c")
    raise SystemExit(measure.again_in_namespace("bench.first_packet", ["--rounds", str(args.rounds)]))


if __name__ == "__main__":
    main()
