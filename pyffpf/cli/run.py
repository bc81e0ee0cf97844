# SPDX-License-Identifier: BSD-3-Clause
"""ffpf-run: starts a program on FFPF instead of libpcap, or says why that cannot be.

The program takes this process's place (exec): its exit code, its signals and its terminal are its own.
"""

from __future__ import annotations

import argparse
import errno
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pyffpf.cli import elf
from pyffpf.cli.secure_exec import Credentials, secure_reason

LIBRARY_NAME = "libffpfpcap.so"
EXIT_USAGE = 2
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127
ENGINES = ("auto", "shared", "embedded", "system")
SOCKET_NAME_MAX = 107  # sizeof sun_path, less its end: unix(7)
MAX_INTERPRETERS = 5  # as many as the kernel follows

# Programs that start others with a fresh environment: ffpf-run belongs behind them.
ENVIRONMENT_CLEANERS = ("sudo", "doas", "pkexec")
# Programs that leave the capturing to another one, found in PATH or beside them.
CAPTURE_HELPERS = {"tshark": "dumpcap", "wireshark": "dumpcap"}


class CannotRunError(Exception):
    """A refusal: the text is for the user, `code` is the exit code."""

    def __init__(self, text: str, code: int = EXIT_USAGE) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Command:
    """A program to start: the file, its arguments (argv[0] first), and every file that the kernel will load for it."""

    path: Path
    argv: tuple[str, ...]
    loads: tuple[Path, ...]


def find_library(environ: Mapping[str, str]) -> Path:
    """FFPF_LIBRARY, else the library beside the package, else the one of the source tree's build."""
    named = environ.get("FFPF_LIBRARY")
    package = Path(__file__).resolve().parent.parent
    places = [Path(named)] if named else [package / LIBRARY_NAME, package.parent / "build" / "normal" / LIBRARY_NAME]
    for place in places:
        if place.is_file():
            library = place.resolve()
            if any(c in str(library) for c in " :\n\t"):
                raise CannotRunError(f"{library}: LD_PRELOAD cannot name a path with a space or a colon in it")
            return library
    if named:
        raise CannotRunError(f"FFPF_LIBRARY: {named}: no such file")
    raise CannotRunError(f"{LIBRARY_NAME} is not built: looked for {' and '.join(map(str, places))}")


def resolve(name: str, search: str) -> Path:
    """The file that execvp(3) would start for `name`."""
    if not name:
        raise CannotRunError("'': command not found", EXIT_NOT_FOUND)
    if "/" in name:
        path = Path(name)
        if not path.exists():
            raise CannotRunError(f"{name}: No such file or directory", EXIT_NOT_FOUND)
        if path.is_dir():
            raise CannotRunError(f"{name}: Is a directory", EXIT_NOT_EXECUTABLE)
        if not os.access(path, os.X_OK):
            raise CannotRunError(f"{name}: Permission denied", EXIT_NOT_EXECUTABLE)
        return path
    found = shutil.which(name, path=search)
    if found:
        return Path(found)
    for directory in search.split(os.pathsep):
        candidate = Path(directory or ".") / name
        if candidate.is_file():
            raise CannotRunError(f"{candidate}: Permission denied", EXIT_NOT_EXECUTABLE)
    raise CannotRunError(f"{name}: command not found", EXIT_NOT_FOUND)


def read_head(path: Path) -> bytes:
    """The first 256 octets, as many as the kernel looks at; none when the file may be executed but not read."""
    try:
        with path.open("rb") as file:
            return file.read(256)
    except PermissionError:
        return b""


def shebang(head: bytes) -> tuple[str, str | None] | None:
    """Interpreter and its one argument, from the first line of a script; None for anything else."""
    if not head.startswith(b"#!"):
        return None
    line = head[2:].split(b"\n", 1)[0].decode(errors="surrogateescape").strip(" \t")
    interpreter, _, argument = line.partition(" ") if " " in line else line.partition("\t")
    argument = argument.strip(" \t")
    return (interpreter, argument or None) if interpreter else None


def env_target(argv: Sequence[str]) -> list[str]:
    """The command that env(1) starts with these arguments, or nothing. Refuses what takes LD_PRELOAD away."""
    words = list(argv[1:])
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word in ("-i", "-", "--ignore-environment"):
            raise CannotRunError("env would start the command without LD_PRELOAD: write `env -i ... ffpf-run COMMAND`")
        if word == "--":
            break
        if word in ("-u", "--unset", "-C", "--chdir"):
            if (words.pop(0) if words else "") == "LD_PRELOAD":
                raise CannotRunError("env would start the command without LD_PRELOAD")
        elif word in ("-S", "--split-string") and words:
            words = shlex.split(words.pop(0)) + words
        elif word.startswith("-S"):
            words = shlex.split(word[2:]) + words
    while words and "=" in words[0]:
        if words.pop(0).startswith("LD_PRELOAD="):
            raise CannotRunError("env would start the command with another LD_PRELOAD")
    return words


def plan(argv: Sequence[str], search: str) -> Command:
    """Follows a command through `#!` lines and env(1) to the programs that will be loaded."""
    path = resolve(argv[0], search)
    loads: list[Path] = []
    following, words = path, list(argv)
    for _ in range(MAX_INTERPRETERS):
        script = shebang(read_head(following))
        if script:
            interpreter, argument = script
            words = [interpreter, *([argument] if argument else []), str(following), *words[1:]]
            following = resolve(interpreter, search)
            continue
        loads.append(following)
        words = env_target(words) if following.name == "env" else []
        if not words:
            break
        following = resolve(words[0], search)
    return Command(path, tuple(argv), tuple(loads))


def refusal(path: Path, library: elf.Elf, creds: Credentials) -> str | None:
    """Why LD_PRELOAD would do nothing for this program; None when it reaches it."""
    if path.name in ENVIRONMENT_CLEANERS:
        return f"{path.name} starts programs with a fresh environment: write `{path.name} ffpf-run COMMAND`"
    secure = secure_reason(path, creds)
    if secure:
        return (
            f"{path} {secure}: for such programs the dynamic loader ignores LD_PRELOAD, and the capture would be "
            "libpcap's; start it as root, or start a copy of it without these rights"
        )
    head = read_head(path)
    if not elf.is_elf(head):
        return None
    try:
        program = elf.read_elf(path)
    except (ValueError, OSError):
        return None  # exec will say what is wrong
    if (program.bits, program.machine) != (library.bits, library.machine):
        return f"{path} is built for another machine ({program.bits} bits) than FFPF's library"
    if program.interpreter is None:
        return f"{path} is statically linked: no library can be put before its own code"
    if "musl" in program.interpreter:
        return f"{path} uses another C library (musl) than FFPF's library"
    if program.carries_libpcap:
        return f"{path} has a libpcap of its own linked into it, which no library can replace"
    return None


def helper_warning(path: Path, library: elf.Elf, creds: Credentials, search: str) -> str | None:
    """Why a program's captures will not be FFPF's although the program itself is reached."""
    helper = CAPTURE_HELPERS.get(path.name)
    if helper is None:
        return None
    beside = path.resolve().parent / helper
    found = beside if beside.is_file() else shutil.which(helper, path=search)
    if found is None:
        return None
    why = refusal(Path(found), library, creds)
    return f"{path.name} captures through {helper}, which FFPF does not reach: {why}" if why else None


def environment(environ: Mapping[str, str], library: Path, choices: argparse.Namespace) -> dict[str, str]:
    """The environment of the program: FFPF's library first in LD_PRELOAD, and the choices of the command line."""
    result = dict(environ)
    before = [name for name in environ.get("LD_PRELOAD", "").replace(":", " ").split() if name != str(library)]
    result["LD_PRELOAD"] = ":".join([str(library), *before])
    socket = choices.socket and str(Path(choices.socket).absolute())  # COMMAND may change its directory
    chosen = {"FFPF_ENGINE": choices.engine, "FFPF_GROUP": choices.group, "FFPF_SOCKET": socket}
    result.update({name: value for name, value in chosen.items() if value is not None})
    if choices.stats:
        result.setdefault("FFPF_STATS", "1")
    return result


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="ffpf-run",
        usage="ffpf-run [--engine ENGINE] [--group NAME] [--socket PATH] [--stats] COMMAND [ARGUMENT ...]",
        description="Starts COMMAND with FFPF in the place of libpcap. COMMAND takes this process's place, so its exit "
        "code and signals are its own.",
        epilog="Exit codes of ffpf-run itself: 2 wrong use, or FFPF cannot reach COMMAND (set-user-ID, file "
        "capabilities, statically linked, a libpcap of its own); 126 COMMAND cannot be executed; 127 not found. "
        "Environment: FFPF_LIBRARY names another libffpfpcap.so; FFPF_STATS=1 is --stats, FFPF_STATS=PATH appends the "
        "line to a file; FFPF_ENGINE is --engine, FFPF_GROUP is --group, FFPF_SOCKET is --socket.",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        help="who captures on devices: ffpfd, for all who ask (shared); FFPF in COMMAND itself (embedded); or libpcap "
        "(system), for comparison. Default: auto, ffpfd where it is there and allows it, else embedded, where it can",
    )
    parser.add_argument(
        "--group", metavar="NAME", help="flow group to share captures with, of which you are a member (default: yours)"
    )
    parser.add_argument("--socket", metavar="PATH", help="where ffpfd listens (default: /run/ffpf/ffpfd.sock)")
    parser.add_argument("--stats", action="store_true", help="print one line of counters to standard error at exit")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the program and its arguments")
    args = parser.parse_args(argv)
    if args.command and args.command[0] == "--":
        del args.command[0]
    if not args.command:
        parser.error("no COMMAND given")
    for option in ("group", "socket"):
        if getattr(args, option) == "":
            parser.error(f"--{option} needs a name")
        if getattr(args, option) and args.engine in ("embedded", "system"):
            parser.error(f"--{option} is for ffpfd: it does not go with --engine {args.engine}")
    if args.socket and len(os.fsencode(args.socket)) > SOCKET_NAME_MAX:
        parser.error(f"--socket: a name of more than {SOCKET_NAME_MAX} octets is none that a socket can have")
    return args


def start(argv: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Does what ffpf-run is for; raises CannotRunError with the reason when it cannot."""
    args = parse(argv)
    search = environ.get("PATH", os.defpath)
    library = find_library(environ)
    try:
        library_elf = elf.read_elf(library)
    except (ValueError, OSError) as error:
        raise CannotRunError(f"{library}: not a library: {error}") from error
    command = plan(args.command, search)
    creds = Credentials.of_this_process()
    for program in command.loads:
        reason = refusal(program, library_elf, creds)
        if reason:
            raise CannotRunError(reason)
        warning = helper_warning(program, library_elf, creds, search)
        if warning:
            print(f"ffpf-run: warning: {warning}", file=sys.stderr, flush=True)
    exec_command(command, environment(environ, library, args))


def exec_command(command: Command, environ: Mapping[str, str]) -> NoReturn:
    try:
        try:
            os.execve(command.path, command.argv, environ)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            # A script without a `#!` line: execvp(3) and the shells give it to sh.
            os.execve("/bin/sh", ["/bin/sh", str(command.path), *command.argv[1:]], environ)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError) and command.path.exists()
        text = "its interpreter is missing" if missing else error.strerror
        raise CannotRunError(f"{command.path}: {text}", EXIT_NOT_EXECUTABLE) from error


def original_environment() -> dict[str, str]:
    """The environment as it was given to this process: Python itself may have added LC_CTYPE (PEP 538)."""
    try:
        block = Path("/proc/self/environ").read_bytes()
    except OSError:  # no /proc, or this process gave up its rights
        return dict(os.environ)
    return dict(os.fsdecode(entry).split("=", 1) for entry in block.split(b"\0") if b"=" in entry)


def restore_signals() -> None:
    """Gives back the dispositions that Python's start changed: an ignored signal would stay ignored after exec."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def main(argv: Sequence[str] | None = None) -> int:
    """Never returns when the command starts."""
    restore_signals()
    try:
        start(sys.argv[1:] if argv is None else argv, original_environment())
    except CannotRunError as error:
        print(f"ffpf-run: {error}", file=sys.stderr)
        return error.code


if __name__ == "__main__":
    sys.exit(main())
