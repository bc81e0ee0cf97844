# SPDX-License-Identifier: BSD-3-Clause
"""ffpf: asks ffpfd what it does.

Exit codes: 0 answered; 1 no daemon, or it refuses; 2 wrong use.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live

from pyffpf.cli import rates, tables, top
from pyffpf.cli.control import Control, ControlError, socket_path
from pyffpf.daemon import jsonform, status
from pyffpf.daemon.status import Status

EXIT_FAILED = 1
EXIT_MISUSED = 2
WATCH_MIN_S = 0.1


def fetch(control: Control) -> Status:
    """ffpfd's status document, of the flows that this user may see."""
    answer = control.ask("status")
    try:
        if "status" not in answer.fds:
            raise ControlError("ffpfd's reply has no status in it")
        return status.from_fd(answer.fds["status"])
    except ValueError as error:
        raise ControlError(f"ffpfd's status cannot be read: {error}") from error
    finally:
        for fd in answer.fds.values():
            os.close(fd)


def samples(take: Callable[[], Status], seconds: float | None) -> Iterator[tuple[Status, rates.Rates | None]]:
    """One document, or, with seconds, one after the other with the rates since the one before."""
    earlier = take()
    yield earlier, None
    while seconds is not None:
        time.sleep(seconds)
        later = take()
        yield later, rates.between(earlier, later)
        earlier = later


def as_json(document: Status, since: rates.Rates | None) -> dict[str, Any]:
    """The document as ffpfd sent it; "rates" beside its other members from the second sample on."""
    shown: dict[str, Any] = jsonform.encode(document)
    if since is not None:
        shown["rates"] = asdict(since)
    return shown


def show(args: argparse.Namespace, control: Control, output: TextIO) -> None:
    taken = samples(lambda: fetch(control), args.watch)
    if args.json:
        for document, since in taken:
            text = json.dumps(as_json(document, since), indent=2 if args.watch is None else None)
            print(text, file=output, flush=True)
    elif not output.isatty():
        for number, (document, since) in enumerate(taken):
            print(*([""] if number else []), *tables.plain(document, since), sep="\n", file=output, flush=True)
    elif args.watch is None:
        for document, since in taken:
            Console(file=output).print(tables.rich(document, since))
    else:
        with Live(console=Console(file=output), screen=True, auto_refresh=False) as live:
            for document, since in taken:
                live.update(tables.rich(document, since), refresh=True)


def interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not WATCH_MIN_S <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text}: from {WATCH_MIN_S} to 86400 seconds")
    return seconds


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="ffpf",
        description="Asks ffpfd, the daemon of the shared engine, what it does.",
        epilog="Exit codes: 0 answered, 1 no daemon or it refuses, 2 wrong use. Environment: FFPF_SOCKET is --socket.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    shown = commands.add_parser(
        "status",
        help="sources, groups, flows, nodes of graphs, levels, drops by cause",
        description="Shows the sources that are captured, their groups and programs, and the flows of the users.",
    )
    shown.add_argument("--json", action="store_true", help="the document itself; with --watch one a line")
    shown.add_argument("--watch", type=interval, metavar="SECONDS", help="again and again, with rates per second")
    live = commands.add_parser(
        "top",
        help="the same, live: who gets and loses how much",
        description="Shows sources, users and flows with their rates and drops, live, until q is pressed.",
        epilog="Keys: s, S sort by the next, the previous column; r reverses; u hides the users, g the graphs; "
        "p pauses; q quits.",
    )
    live.add_argument("--interval", type=interval, metavar="SECONDS", default=1.0, help="between two looks (default 1)")
    live.add_argument("--sort", choices=top.SORTS, default="delivered/s", metavar="COLUMN",
                      help=f"one of {', '.join(top.SORTS)} (default delivered/s)")  # fmt: skip
    for command in (shown, live):
        command.add_argument("--socket", metavar="PATH", help="where ffpfd listens (default: /run/ffpf/ffpfd.sock)")
    return parser.parse_args(argv)


def show_top(args: argparse.Namespace, path: Path) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("ffpf: top needs a terminal; elsewhere use: ffpf status --watch 1", file=sys.stderr)
        return EXIT_MISUSED
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the terminal is given back as it was
    documents = top.Documents(lambda: Control(path, "ffpf top"), fetch)
    with contextlib.closing(documents):
        top.run(documents, top.Screen(sys.stdin.fileno(), sys.stdout), args.interval, top.View(sort=args.sort))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `ffpf status | head` is no error
    path = socket_path(args.socket, os.environ)
    try:
        if args.command == "top":
            return show_top(args, path)
        with Control(path, "ffpf status") as control:
            show(args, control, sys.stdout)
    except ControlError as error:
        print(f"ffpf: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 0  # the way to end --watch, and one to end top
    return 0


if __name__ == "__main__":
    sys.exit(main())
