# SPDX-License-Identifier: BSD-3-Clause
"""fplc: the FPL-2 compiler as a command. Man page: docs/man/fplc.1. Keys and records: fplc_keys.py."""

from __future__ import annotations

import argparse
import pprint
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fpl.fpl2 import pretty
from fpl.fpl2.check import Policy
from fpl.fpl2.compile import Checked, check, compile_native, interface_number
from fpl.fpl2.externals import External
from fpl.fpl2.files import Folders
from fpl.fpl2.found import FOUND, LINKS
from fpl.fpl2.native import TARGETS, BackendError
from fpl.fpl2.parse import parse
from fpl.fpl2.report import FplError, Source
from fpl.fpl2.scope import FACTS, standard
from pyffpf.cli.words import text_of, words_of
from pyffpf.externs import CoreLibrary, functions

BOARD_STAGES = ("microengine-c", "microcode")  # fplc_board.py
STAGES = ("tree", "resolved", "ir", "optimised", "assembly", "kernel", *BOARD_STAGES)
MICROCODE = "microcode"  # a target, beside native's


if TYPE_CHECKING:
    from fpl.fpl2 import ebpf  # what it needs takes long to load


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    source: Source
    mbuf_bytes: int
    links: tuple[str, ...]  # the first is meant where there can be one
    fields: list[Source]
    files: Folders
    targets: tuple[str, ...]  # likewise
    output: Path | None
    offline: bool
    binary: bool
    record: bool
    key: Path | None
    stage: str
    policy: Policy

    @property
    def target(self) -> str:
        return self.targets[0]

    def checked(self, link: str = "") -> Checked:
        return check(self.source.text, name=self.source.name, mbuf_bytes=self.mbuf_bytes, link=link or self.links[0],
                     fields=self.fields, files=self.files,
                     interface=None if self.offline else interface_number, policy=self.policy)  # fmt: skip


def _check(request: Request) -> str:
    request.checked()
    return ""


def _format(request: Request) -> str:
    return pretty.source(request.source)


def _explain(request: Request) -> str:
    from pyffpf.cli import fplc_board, fplc_kernel  # which bring what the class FPL-2's compiler does not need

    checked = request.checked()
    target = next((target for target in request.targets if target != MICROCODE), next(iter(TARGETS)))
    cost, code = checked.cost, compile_native(checked, target)
    rows = [
        ("steps, at most", f"{cost.steps} of {request.policy.steps}"),
        ("rounds of loops, at most", f"{cost.iterations} of {request.policy.iterations}, {cost.deepest} deep"),
        ("octets of MBuf", f"{checked.mbuf_bytes}{'' if cost.uses_memory else ', not used'}"),
        *(("one for each processor", str(merge)) for merge in checked.merges),
        ("external functions", ", ".join(cost.externals) or "none"),
        ("link header", checked.link),
        *fplc_kernel.rows(checked),
        *fplc_board.rows(checked),
        (f"octets of code, {target}", f"{len(code.octets)}, {_instructions(code.assembly)} instructions"),
    ]
    return "".join(f"{name:<30} {value}\n" for name, value in rows)


def _kernel(checked: Checked) -> ebpf.Kernel:
    """FplError: the kernel cannot run it."""
    from fpl.fpl2 import ebpf

    try:
        return ebpf.lower(checked)
    except ebpf.NotForKernelError as error:
        raise checked.source.error(f"the kernel cannot run it: {error}", 0) from None


def _instructions(assembly: str) -> int:
    """Lines that are neither labels nor directives."""
    return sum(
        line.startswith("\t") and not line.lstrip().startswith((".", "#", "//")) for line in assembly.splitlines()
    )


def _dump(request: Request) -> str:
    if request.stage == "tree":
        return pprint.pformat(parse(request.source), width=120) + "\n"
    checked = request.checked()
    if request.stage == "resolved":
        return pprint.pformat(checked.program, width=120) + "\n"
    if request.stage == "ir":
        return checked.ir()
    if request.stage == "kernel":
        return _kernel(checked).functions
    if request.stage in BOARD_STAGES:
        from pyffpf.cli import fplc_board

        return fplc_board.dump(checked, request.stage)
    code = compile_native(checked, request.target)
    return code.ir if request.stage == "optimised" else code.assembly


def _record(request: Request) -> bytes:
    """Sealed by a digest, or signed with --key."""
    from fpl.fpl2 import record

    signer = None
    if request.key:
        from fpl.fpl2 import keys  # which brings a library that the class FPL-2's compiler does not need

        signer = keys.read_secret(request.key).signer()
    checked = [request.checked(link) for link in request.links]
    externals = checked[0].cost.uses
    parts = [(each, compile_native(each, target)) for each in checked for target in request.targets]
    return record.write(parts, externals, signer)


def _compile(request: Request) -> str:
    sealed = request.record or request.key is not None
    if request.target == MICROCODE:
        from pyffpf.cli import fplc_board

        if sealed:
            raise ValueError("a record has native code, and no microcode")
        octets = fplc_board.made(request.checked()).octets
    else:
        octets = _record(request) if sealed else compile_native(request.checked(), request.target).octets
    if request.output:
        request.output.write_bytes(octets)
        return ""
    if request.binary or sealed:
        sys.stdout.buffer.write(octets)
        return ""
    return "".join(f"{octets[at : at + 16].hex(' ')}\n" for at in range(0, len(octets), 16))


def _externs(_request: Request) -> str:
    lines = []
    for each in functions():
        lines.append(f"{each.name} {each.arguments}".rstrip())
        lines.append(f"    {each.summary}")
        lines.append(f"    returns {each.value}")
        for does, octets, what in (("reads", each.reads, each.reads_what), ("writes", each.writes, each.writes_what)):
            if octets or what:
                lines.append(f"    {does} {what} ({octets} octets without arguments)")
        lines.append(f"    runs in {', '.join(each.levels)}")
    return "".join(f"{line}\n" for line in lines)


def _names(_request: Request) -> str:
    lines = [f"{name:<16} {meaning}" for name, meaning in (*FACTS.items(), *FOUND.items())]
    for name in standard().names():
        macro = standard().lookup(name)[0]
        assert macro is not None
        test = f", where {pretty.expression(macro.test)}; else 0" if macro.test else ""
        lines.append(f"{name:<16} {pretty.expression(macro.value)}{test}")
    return "".join(f"{line}\n" for line in lines)


ACTIONS: dict[str, tuple[str, Callable[[Request], str]]] = {
    "check": ("says what is wrong with a program, or nothing", _check),
    "format": ("prints it in the one way of writing it", _format),
    "explain": ("what it costs at most", _explain),
    "dump": ("what a stage of the compiler makes of it (--stage)", _dump),
    "compile": ("to native code, in hex or to a file (--output)", _compile),
    "names": ("the names that programs may use", _names),
    "externs": ("the functions that EXTERN may call", _externs),
}


KEY_COMMANDS = ("keygen", "rotate", "trust", "verify")  # fplc_keys.py


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="fplc",
        description="Checks, formats, explains and compiles FPL-2 programs.",
        epilog=f"Keys and signed records: fplc {' | '.join(KEY_COMMANDS)} --help.",
    )
    top.add_argument(
        "action", choices=ACTIONS, help="; ".join(f"{name}: {words}" for name, (words, _) in ACTIONS.items())
    )
    top.add_argument("file", nargs="?", default="-", help="a program; - or nothing: standard input")
    top.add_argument("--mbuf", type=int, default=0, metavar="OCTETS", help="size of the filter's memory")
    top.add_argument(
        "--link",
        choices=LINKS,
        help="what the packets begin with: ethernet, where no other is named; of a signed record, all",
    )
    top.add_argument("--fields", type=Path, metavar="FILE", action="append", default=[],
                     help="names of your own: MACRO definitions; may be given more than once")  # fmt: skip
    top.add_argument(
        "--target",
        choices=(*TARGETS, MICROCODE),
        help="processor: x86-64, where no other is named; of a signed record, all; microcode: an object for an engine "
        "of the emulated IXP1200, the framework's loop around it",
    )
    top.add_argument("--offline", action="store_true", help="packets come of savefiles: no interface has a name")
    top.add_argument("--stage", choices=STAGES, default="ir", help="of dump")
    top.add_argument("--output", type=Path, metavar="FILE", help="of compile")
    top.add_argument("--binary", action="store_true", help="of compile: octets on standard output, not hex")
    top.add_argument(
        "--record", action="store_true", help="of compile: a record, sealed by its digest, on standard output"
    )
    top.add_argument("--key", type=Path, metavar="FILE", help="of compile: a record that this secret key signs")
    top.add_argument(
        "--extern",
        type=_declared,
        action="append",
        default=[],
        metavar="NAME:READS:WRITES[:STEPS]",
        help="a function that EXTERN may call beside the library's, octets of memory that it takes, and its cost",
    )
    top.add_argument("--max-steps", type=int, default=Policy.steps, metavar="N", help="refuse what may take more")
    top.add_argument("--max-rounds", type=int, default=Policy.iterations, metavar="N", help="... or loop more often")
    return top


def _declared(text: str) -> External:
    found = re.fullmatch(r"(.+?):(\d+):(\d+)(?::(\d+))?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:READS:WRITES[:STEPS]")
    name, reads, writes, steps = found.groups()
    return External(name, int(reads), int(writes), int(steps) if steps else External.steps)


def _request(args: argparse.Namespace) -> Request:
    if args.action in ("names", "externs"):
        source = Source("")
    elif args.file == "-":
        source = Source(sys.stdin.read(), "<stdin>")
    else:
        source = Source(text_of(Path(args.file)), args.file)
    fields = [Source(text_of(path), str(path)) for path in args.fields]
    here = () if args.file == "-" else (Path(args.file).resolve().parent,)
    files = Folders((*here, *Folders.of_environment().folders))
    policy = Policy(iterations=args.max_rounds, steps=args.max_steps,
                    externals=tuple(args.extern), library=CoreLibrary())  # fmt: skip
    links = (args.link,) if args.link else tuple(LINKS) if args.key else ("ethernet",)
    targets = (args.target,) if args.target else tuple(TARGETS) if args.key else ("x86-64",)
    return Request(source, args.mbuf, links, fields, files, targets, args.output, args.offline, args.binary,
                   args.record, args.key, args.stage, policy)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    if words and words[0] in KEY_COMMANDS:
        from pyffpf.cli import fplc_keys

        return fplc_keys.main(words)
    args = parser().parse_intermixed_args(words)  # FILE may stand behind options
    try:
        sys.stdout.write(ACTIONS[args.action][1](_request(args)))
        sys.stdout.flush()
    except FplError as error:
        print(error, file=sys.stderr)
        return 1
    except (BackendError, OSError, ValueError) as error:
        print(f"fplc: {words_of(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
