# SPDX-License-Identifier: BSD-3-Clause
"""fpl1: assembler and disassembler of FPL-1 as a command, and programs run on savefiles. Man page: docs/man/fpl1.1."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fpl.fpl1 import Object, assemble, disassemble
from fpl.fpl1.assemble import memory_size
from fpl.fpl1.object import ObjectError, TranslateError
from fpl.fpl2.report import FplError
from pyffpf.cli.words import decoded, words_of

if TYPE_CHECKING:
    from pyffpf.flow_node import Node


LINKS = ("ethernet", "raw", "sll", "sll2")


class RefusedError(Exception):
    """Something that the command line asks for cannot be done."""


def _octets(name: str) -> bytes:
    return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()


def _program(args: argparse.Namespace) -> Object:
    """Text, or an object."""
    octets = _octets(args.file)
    if octets[:4] == b"FPL1":
        return Object.from_bytes(octets)
    name = "<stdin>" if args.file == "-" else args.file
    return assemble(decoded(octets, name), name, args.mbuf)


def _check(args: argparse.Namespace) -> None:
    _program(args)


def _assemble(args: argparse.Namespace) -> None:
    octets = _program(args).to_bytes()
    if args.output:
        args.output.write_bytes(octets)
    elif args.binary:
        sys.stdout.buffer.write(octets)
    else:
        sys.stdout.write("".join(f"{octets[at : at + 16].hex(' ')}\n" for at in range(0, len(octets), 16)))


def _disassemble(args: argparse.Namespace) -> None:
    sys.stdout.write(disassemble(_program(args)))


def _translate(args: argparse.Namespace) -> None:
    from fpl.fpl1.translate import translate  # the compiler of FPL-2 is of no use to the other actions
    from fpl.fpl2.check import Policy
    from fpl.fpl2.compile import check
    from pyffpf.externs import CoreLibrary

    checked = check(_octets(args.file).decode(), name="<stdin>" if args.file == "-" else args.file,
                    mbuf_bytes=args.mbuf, link=args.link, policy=Policy(library=CoreLibrary()))  # fmt: skip
    sys.stdout.write(disassemble(translate(checked)))


def _run(args: argparse.Namespace) -> None:
    """As a node of a flow of this process: what a graph would do with it."""
    from pyffpf.compose import device, node  # the core is of no use to the other actions
    from pyffpf.errors import FfpfError
    from pyffpf.flow import Flow

    if args.read is None:
        raise RefusedError("fpl1: run needs a savefile: --read FILE")
    program = _program(args)
    with tempfile.NamedTemporaryFile() as file:
        file.write(program.to_bytes())
        file.flush()
        try:
            with Flow(device(args.read.resolve()) >> node("FPL-1", f"file:{file.name}"), engine="embedded") as flow:
                for packet in flow:
                    if args.results:
                        print(f"{packet.ts_ns // 10**9}.{packet.ts_ns % 10**9:09} {packet.len} octets: {packet.result}")
                _show(flow["FPL-1"], memory_size(program.data_bytes))
        except FfpfError as error:
            raise RefusedError(str(error)) from error


def _show(made: Node, data_bytes: int) -> None:
    counters = made.counters
    print(f"packets {counters.packets_in}\nlet_through {counters.packets_out}")
    sys.stdout.write(made.report_text())
    words = made.mbuf[:data_bytes].view("u4")
    for number in words.nonzero()[0]:
        print(f"MEM[{number}] {words[number]}")


ACTIONS = {
    "check": ("says what is wrong with a program, or nothing", _check),
    "assemble": ("makes an object, in hex or to a file (--output)", _assemble),
    "disassemble": ("prints the text of an object", _disassemble),
    "translate": ("prints what a program in FPL-2 becomes in FPL-1", _translate),
    "run": ("runs a program on a savefile (--read)", _run),
}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="fpl1", description="Assembles, disassembles and runs programs in FPL-1.")
    top.add_argument(
        "action", choices=ACTIONS, help="; ".join(f"{name}: {words}" for name, (words, _) in ACTIONS.items())
    )
    top.add_argument("file", nargs="?", default="-", help="text or an object; - or nothing: standard input")
    top.add_argument("--mbuf", type=int, default=0, metavar="OCTETS", help="least size of the program's memory")
    top.add_argument("--output", type=Path, metavar="FILE", help="of assemble")
    top.add_argument("--binary", action="store_true", help="of assemble: octets on standard output, not hex")
    top.add_argument("--link", choices=LINKS, default="ethernet", help="of translate: what the packets begin with")
    top.add_argument("--read", type=Path, metavar="FILE", help="of run: the savefile")
    top.add_argument("--results", action="store_true", help="of run: each packet that was let through")
    return top


def main(arguments: list[str] | None = None) -> int:
    args = parser().parse_args(arguments)
    try:
        ACTIONS[args.action][1](args)
        sys.stdout.flush()
    except (FplError, ObjectError, RefusedError, TranslateError) as error:
        print(error, file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"fpl1: {words_of(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
