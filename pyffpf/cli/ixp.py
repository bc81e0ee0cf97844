# SPDX-License-Identifier: BSD-3-Clause
"""ffpf-ixp: starts an emulated IXP1200 board, and asks and tells one that runs.

Exit codes: 0 done; 1 no board, or it refuses; 2 wrong use.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from ixp_driver.control import COPY_MODES, BoardStatus, Session, boards
from pyffpf.cli.tables import Cells, Column, plain_cells, rich_cells
from pyffpf.errors import FfpfError

EXIT_FAILED = 1
PROGRAM = "ffpf-ixp-board"
DEFAULT_NAME = "ixp0"
DEFAULT_FOLDER = Path("/run/ffpf/ixp")  # FFPF_IXP_DIR_DEFAULT


class IxpError(Exception):
    """What went wrong; the text is for the user."""


def socket_path(name: str, environ: Mapping[str, str]) -> Path:
    """Where a board of this name listens: below FFPF_IXP_DIR, or the usual folder."""
    return Path(environ.get("FFPF_IXP_DIR") or DEFAULT_FOLDER) / name


def program_path() -> Path:
    """The board, built beside the package's modules."""
    path = Path(__file__).resolve().parent.parent / PROGRAM
    if not path.exists():
        raise IxpError(f"{path}: the board was not built")
    return path


def _memory_file(name: str, octets: bytes) -> str:
    """A path that the board, which this process becomes, can open."""
    fd = os.memfd_create(name, 0)
    os.write(fd, octets)
    os.set_inheritable(fd, True)
    return f"/proc/self/fd/{fd}"


def run_board(args: argparse.Namespace) -> int:
    """This process becomes the board: it ends with it."""
    from ixp_driver import framework  # compiles: only where a board is started

    program = program_path()
    path = socket_path(args.name, os.environ)
    path.parent.mkdir(parents=True, exist_ok=True)
    microcode = [_memory_file(name, made.octets)
                 for name, made in (("receive", framework.receive()), ("accept", framework.accept()))]  # fmt: skip
    command = [PROGRAM, str(path), args.name, *microcode, args.bms, *args.port, "--", *args.set]
    os.execv(program, command)


def _board_cells(status: BoardStatus) -> Cells:
    shown = {
        "board": status.name, "state": status.state, "bms": status.bms, "copies": status.copy_mode,
        "filters": f"{status.filters} of {status.filters_max}", "hosts": str(status.sessions),
        "resets": str(status.resets), "seconds": f"{status.seconds:.6f}",
        "could do pkt/s": str(status.sustained_pps or "-"),
    }  # fmt: skip
    return Cells("Board", [Column(title, title not in ("board", "state", "bms", "copies")) for title in shown],
                 [list(shown.values())])  # fmt: skip


def _port_cells(status: BoardStatus) -> Cells:
    counts = ("offered", "received", "rx_lost", "no_descriptor", "no_room", "oversize", "unwanted", "socket_lost")
    columns = [Column("port"), Column("state"), *(Column(name.replace("_", " "), True) for name in counts)]
    rows = [[port.name, port.state, *(str(getattr(port, name)) for name in counts)] for port in status.ports]
    return Cells("Ports", columns, rows)


def _engine_cells(status: BoardStatus) -> Cells:
    columns = [Column("engine"), Column("role"), Column("state"), Column("words", True), Column("packets", True),
               Column("busy", True), Column("stalled", True), Column("idle", True), Column("could do pkt/s", True),
               Column("why")]  # fmt: skip
    rows = []
    for engine in status.engines:
        cycles = engine.busy + engine.stalled + engine.idle
        shares = [f"{part / cycles:.1%}" if cycles else "-" for part in (engine.busy, engine.stalled, engine.idle)]
        rows.append([str(engine.number), engine.role, engine.state, str(engine.words), str(engine.packets), *shares,
                     str(engine.sustained_pps or "-"), engine.text])  # fmt: skip
    return Cells("Microengines", columns, rows)


def show_status(args: argparse.Namespace) -> int:
    names = [args.board] if args.board else boards()
    if not names:
        raise IxpError("no board runs")
    shown = []
    for name in names:
        with Session(name) as session:
            shown.append(session.status())
    if args.json:
        print(json.dumps([dataclasses.asdict(status) for status in shown], indent=2))
        return 0
    for status in shown:
        for cells in (_board_cells(status), _port_cells(status), _engine_cells(status)):
            if sys.stdout.isatty():
                Console().print(rich_cells(cells))
            else:
                print(*plain_cells(cells), sep="\n")
    return 0


def change_copy_mode(args: argparse.Namespace) -> int:
    with Session(args.board) as session:
        session.copy_mode(args.mode)
    return 0


def reset_board(args: argparse.Namespace) -> int:
    with Session(args.board) as session:
        session.reset()
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="ffpf-ixp",
        description="Starts an emulated IXP1200 network processor, and asks and tells one that runs.",
        epilog="Exit codes: 0 done, 1 no board or it refuses, 2 wrong use. Environment: FFPF_IXP_DIR is the folder of "
        "the boards' sockets (default: /run/ffpf/ixp).",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    board = commands.add_parser(
        "board",
        help="be a board, until SIGTERM or SIGINT",
        description="This process becomes a board. 'ready' on standard output says that hosts may come.",
        epilog="PORT: pcap:FILE[,pace=full|recorded|NUMBERpps|NUMBERbps][,loops=N], if:INTERFACE, or "
        "generator:full|NUMBERpps|NUMBERbps[,size=N][,count=N][,flows=N]; each with [,hold=N]: it begins when N "
        "filters run (default 1).",
    )
    board.add_argument("--name", default=DEFAULT_NAME, help=f"of the device (default {DEFAULT_NAME})")
    board.add_argument("--port", action="append", required=True, help="one or two; see below")
    board.add_argument("--bms", choices=("srp", "frp"), default="srp", help="what happens when PBuf is full")
    board.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                       help="a parameter of the board, as docs/ixp.md lists them")  # fmt: skip
    board.set_defaults(run=run_board)
    shown = commands.add_parser(
        "status", help="ports, microengines, what they could do", description="What a board, or every board, does."
    )
    shown.add_argument("board", nargs="?", help="a name, or the path of a socket (default: all)")
    shown.add_argument("--json", action="store_true", help="as JSON, a list of boards")
    shown.set_defaults(run=show_status)
    mode = commands.add_parser(
        "copy-mode",
        help="how packets come to this host",
        description="Chooses how packets come to this host, at once and without losing one: zero copies nothing, all "
        "copies every packet, interesting copies what a flow of this host takes.",
    )
    mode.add_argument("mode", choices=COPY_MODES)
    mode.add_argument("board", nargs="?", default=DEFAULT_NAME, help=f"default {DEFAULT_NAME}")
    mode.set_defaults(run=change_copy_mode)
    reset = commands.add_parser("reset", help="begin anew", description="Every filter of the board is lost.")
    reset.add_argument("board", nargs="?", default=DEFAULT_NAME, help=f"default {DEFAULT_NAME}")
    reset.set_defaults(run=reset_board)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(sys.argv[1:] if argv is None else argv)
    try:
        done: int = args.run(args)
    except (IxpError, FfpfError, OSError) as error:
        print(f"ffpf-ixp: {error}", file=sys.stderr)
        return EXIT_FAILED
    return done


if __name__ == "__main__":
    sys.exit(main())
