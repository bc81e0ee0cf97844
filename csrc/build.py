# SPDX-License-Identifier: BSD-3-Clause
"""Compiles every C artefact of the project, incrementally: `python3 csrc/build.py WHAT [--variant V] [--only TEXT]`.

WHAT is `library` (libffpfpcap.so), `core` (libffpfcore.a), `tests` (one program per test_*.c), `fuzz` (one per
fuzz_*.c) or `all`. A source is compiled again when it, a header that it includes, or its command line has changed.
What is built lies in build/VARIANT/. Only the standard library of Python is needed.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"

WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Werror")
COMMON = (
    "-std=gnu11", "-g", "-fPIC", "-fvisibility=hidden", "-D_GNU_SOURCE", *WARNINGS,
    f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'ixp_driver'}", f"-I{BUILD / 'gen'}",
)  # fmt: skip
SONAME = "libpcap.so.0.8"  # the name by which programs, and dlopen(), ask for libpcap
CROSS_HEADERS = BUILD / "gen" / "cross"  # of the system's headers, those that are the same on every processor
NOT_IN_LIBRARY = (
    "kernel",
    "columns",
    "graph",
    "relay",
    "externs",
    "fpl1",
    "record",
)  # rooms that the drop-in libpcap lacks
SIDE_PROGRAMS = ("test_", "fuzz_", "bench_")
TOPS = ("csrc", "ixp_driver")  # below which there are programs that test and fuzz
HOST_ROOM = "ixp_driver/host"  # part of the core: a board is a source of packets as others are
BOARD_ROOMS = ("ixp_driver/microengine", "ixp_driver/board")  # of the emulated board, which is a process of its own
BOARD_MAIN = "main_board.c"
ENGINE_ROOMS = ("ixp_driver/microengine", "csrc/common")  # of one microengine, for Python


@dataclass(frozen=True)
class Variant:
    """One way of compiling everything."""

    cc: str
    flags: tuple[str, ...]
    ar: str = "ar"
    without: str = ""  # a room of csrc that is left out
    test_libraries: tuple[str, ...] = ("-lcmocka",)


VARIANTS = {
    "normal": Variant("gcc", ("-O3",)),
    "asan": Variant(
        "gcc", ("-O1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
    ),
    "tsan": Variant(
        "gcc", ("-O1", "-fno-omit-frame-pointer", "-fsanitize=thread", "-Wno-tsan")
    ),  # it knows no fences; what is under test loads by acquire besides
    "aarch64": Variant(  # the system has neither libbpf, which is what the room `kernel` loads with, nor cmocka for it
        "aarch64-linux-gnu-gcc",
        ("-O3", f"-I{ROOT / 'csrc' / 'cross'}", f"-I{CROSS_HEADERS}"),
        ar="aarch64-linux-gnu-ar",
        without="kernel",
        test_libraries=(),
    ),
    "fuzz": Variant("clang", ("-O1", "-fsanitize=fuzzer-no-link,address,undefined", "-fno-sanitize-recover=undefined")),
}


class BuildError(Exception):
    """A compiler or linker refused; its own words have been printed."""


@contextmanager
def locked() -> Iterator[None]:
    """Holds the build directory: two builds at once would write the same files."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(command: Sequence[str]) -> None:
    """Runs one command, in ROOT; what it prints is shown when it fails, or warns."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.stdout:
        sys.stderr.write(done.stdout)
    if done.returncode:
        sys.stderr.write(f"failed: {shlex.join(command)}\n")
        raise BuildError(command[-1])


def up_to_date(output: Path, inputs: Sequence[Path], command: Sequence[str]) -> bool:
    """True when output was made by this very command and is newer than everything it was made from."""
    stamp = output.with_name(output.name + ".cmd")
    if not output.exists() or not stamp.exists() or stamp.read_text() != shlex.join(command):
        return False
    made = output.stat().st_mtime_ns
    return all(path.exists() and path.stat().st_mtime_ns <= made for path in inputs)


def finished(output: Path, command: Sequence[str]) -> Path:
    output.with_name(output.name + ".cmd").write_text(shlex.join(command))
    return output


def headers_of(depfile: Path) -> list[Path]:
    """The files that a depfile written by -MMD names."""
    if not depfile.exists():
        return []
    words = depfile.read_text().replace("\\\n", " ").split()
    return [ROOT / word for word in words if not word.endswith(":")]


def compile_object(source: Path, variant_name: str, extra: Sequence[str] = (), folder: str = "obj") -> Path:
    """folder: another one for each `extra`, else they would be compiled in turn."""
    variant = VARIANTS[variant_name]
    output = BUILD / variant_name / folder / source.relative_to(ROOT).with_suffix(".o")
    depfile = output.with_suffix(".d")
    command = [variant.cc, *COMMON, *variant.flags, *extra, "-MMD", "-MF", str(depfile), "-c", str(source), "-o",
               str(output)]  # fmt: skip
    if up_to_date(output, headers_of(depfile) or [source], command):
        return output
    output.parent.mkdir(parents=True, exist_ok=True)
    run(command)
    return finished(output, command)


def link(output: Path, variant_name: str, inputs: Sequence[Path], extra: Sequence[str]) -> Path:
    variant = VARIANTS[variant_name]
    command = [variant.cc, *variant.flags, *map(str, inputs), *extra, "-o", str(output)]
    if up_to_date(output, inputs, command):
        return output
    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)  # a running program keeps the old file
    run(command)
    return finished(output, command)


def compile_all(sources: Sequence[Path], variant: str, extra: Sequence[str] = (), folder: str = "obj") -> list[Path]:
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        return list(pool.map(lambda source: compile_object(source, variant, extra, folder), sources))


def room_sources(top: str, prefix: str | None = None) -> list[Path]:
    """The C files below `top`: those whose name begins with prefix, or, without one, those of the library itself."""
    found = sorted(path for path in (ROOT / top).rglob("*.c") if not path.name.endswith(".bpf.c"))
    if prefix is not None:
        return [path for path in found if path.name.startswith(prefix)]
    return [path for path in found if not path.name.startswith(SIDE_PROGRAMS)]


def side_sources(prefix: str) -> list[Path]:
    """Of all programs that test or fuzz, below all tops."""
    return [path for top in TOPS for path in room_sources(top, prefix)]


def core_sources() -> list[Path]:
    return room_sources("csrc") + room_sources(HOST_ROOM)


def generate() -> None:
    """Sources that are made, not written: the names of link types, asked of the system's libpcap; and its headers,
    apart from others, for compilers that must not see this processor's."""
    script = ROOT / "libffpfpcap" / "gen_names.py"
    output = BUILD / "gen" / "gen_datalink_names.h"
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(script), str(output)]
    if script.exists() and not up_to_date(output, [script], command):
        run(command)
        finished(output, command)
    CROSS_HEADERS.mkdir(parents=True, exist_ok=True)
    for name in ("hs", "pcap", "sodium", "sodium.h"):
        headers = CROSS_HEADERS / name
        if not headers.is_symlink():
            headers.symlink_to(f"/usr/include/{name}")


# Programs for the kernel that are part of the core: name of the C array, source, and what sets it apart.
BPF_PROGRAMS = (
    ("hook_context_bpf", "csrc/kernel/hook.bpf.c", "-DFFPF_HOOK_FORM=FFPF_KERNEL_FORM_CONTEXT"),
    ("hook_probed_bpf", "csrc/kernel/hook.bpf.c", "-DFFPF_HOOK_FORM=FFPF_KERNEL_FORM_PROBED"),
    ("hook_plain_bpf", "csrc/kernel/hook.bpf.c", "-DFFPF_HOOK_FORM=FFPF_KERNEL_FORM_PLAIN"),
    ("netfilter_bpf", "csrc/kernel/netfilter.bpf.c", "-DFFPF_NETFILTER"),
    ("control_bpf", "csrc/kernel/control.bpf.c", "-DFFPF_CONTROL"),
    ("nodes_bpf", "csrc/kernel/nodes.bpf.c", "-emit-llvm -g0"),  # bitcode, for programs that are made later
)  # fmt: skip
BPF_FLAGS = ("-target", "bpf", "-mcpu=v3", "-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Wno-unused-parameter",
             "-Werror", f"-I{ROOT / 'csrc'}", f"-ffile-prefix-map={ROOT}/=", "-fdebug-compilation-dir=.")  # fmt: skip


def build_bpf() -> None:
    """Compiles what the kernel runs, and makes each object a C header, gen_NAME.h, with an array of its octets. These
    name their sources, by their paths below ROOT, for the same sources are to give the same octets anywhere."""
    for name, source, extra in BPF_PROGRAMS:
        output = BUILD / "gen" / f"{name}.o"
        header = BUILD / "gen" / f"gen_{name}.h"
        depfile = output.with_suffix(".d")
        multiarch = sysconfig.get_config_var("MULTIARCH") or ""
        command = ["clang", *BPF_FLAGS, f"-I/usr/include/{multiarch}", *extra.split(), "-MMD", "-MF", str(depfile),
                   "-c", source, "-o", str(output)]  # fmt: skip
        output.parent.mkdir(parents=True, exist_ok=True)
        if up_to_date(output, headers_of(depfile) or [ROOT / source], command) and header.exists():
            continue
        run(command)
        octets = ",".join(map(str, output.read_bytes()))
        header.write_text(f"static const unsigned char {name}[] = {{ {octets} }};\n")
        finished(output, command)


def archive(output: Path, variant: str, objects: Sequence[Path]) -> Path:
    command = [VARIANTS[variant].ar, "rcs", str(output), *map(str, objects)]
    if not up_to_date(output, objects, command):
        output.unlink(missing_ok=True)
        run(command)
        finished(output, command)
    return output


def build_core(variant: str) -> Path:
    """The archive with everything below csrc/, and the board's host, except tests, fuzz targets and benches."""
    generate()
    build_bpf()
    sources = [path for path in core_sources() if path.parent.name != VARIANTS[variant].without]
    return archive(BUILD / variant / "libffpfcore.a", variant, compile_all(sources, variant))


def build_board(variant: str) -> Path:
    """The archive with the emulated IXP1200's rooms, which stand on the core."""
    sources = [path for room in BOARD_ROOMS for path in room_sources(room) if path.name != BOARD_MAIN]
    return archive(BUILD / variant / "libffpfixp.a", variant, compile_all(sources, variant))


def build_board_program(variant: str) -> Path:
    """ffpf-ixp-board: the board as a process."""
    inputs = [
        compile_object(ROOT / "ixp_driver" / "board" / BOARD_MAIN, variant),
        build_board(variant),
        build_core(variant),
    ]
    return link(BUILD / variant / "bin" / "ffpf-ixp-board", variant, inputs, ["-pthread", "-ldl"])


def build_engine(variant: str = "normal") -> Path:
    """One microengine as a shared library, for Python: everything in it that has a prototype in a header."""
    sources = [path for room in ENGINE_ROOMS for path in room_sources(room)]
    objects = compile_all(sources, variant, ["-fvisibility=default"], "obj-engine")
    return link(BUILD / variant / "libixpengine.so", variant, objects, ["-shared", "-pthread"])


def build_library(variant: str) -> Path:
    """The drop-in libpcap, without what only ffpfd, which loads programs into the kernel, or Python calls."""
    generate()
    core = [path for path in core_sources() if path.parent.name not in NOT_IN_LIBRARY]
    objects = compile_all(room_sources("libffpfpcap"), variant) + compile_all(core, variant)
    exports = ROOT / "libffpfpcap" / "exports.map"
    flags = ["-shared", f"-Wl,-soname,{SONAME}", f"-Wl,--version-script={exports}", "-Wl,-z,relro", "-Wl,-z,now",
             "-pthread"]  # fmt: skip
    if variant in ("normal", "aarch64"):
        flags.append("-Wl,--no-undefined")
    return link(BUILD / variant / "libffpfpcap.so", variant, objects, flags)


def build_programs(prefix: str, variant: str, only: str = "", extra: Sequence[str] = ()) -> list[Path]:
    """One program for each C file below csrc/ and ixp_driver/ whose name begins with prefix."""
    core, board = build_core(variant), build_board(variant)
    made = []
    for source in side_sources(prefix):
        if only not in str(source):
            continue
        name = f"{source.parent.name}_{source.stem}"
        obj = compile_object(source, variant)
        made.append(link(BUILD / variant / "bin" / name, variant, [obj, board, core], [*extra, "-pthread", "-ldl"]))
    return made


def build_tests(variant: str, only: str = "") -> list[Path]:
    return build_programs("test_", variant, only, VARIANTS[variant].test_libraries)


def build_fuzz(only: str = "") -> list[Path]:
    return build_programs("fuzz_", "fuzz", only, ["-fsanitize=fuzzer"])


def build_bench_program(source: Path, libraries: Sequence[str] = ()) -> Path:
    """A program of bench/ of one C file, without the core."""
    obj = compile_object(source, "normal")
    words = [*libraries, "-pthread", "-ldl"]
    return link(BUILD / "normal" / "bin" / f"bench_{source.stem}", "normal", [obj], words)


def main() -> int:
    parser = argparse.ArgumentParser(description="Compiles the C parts of the project.")
    parser.add_argument("what", choices=["core", "library", "tests", "fuzz", "all"])
    parser.add_argument("--variant", choices=[name for name in VARIANTS if name != "fuzz"], default="normal")
    parser.add_argument("--only", default="", help="for tests and fuzz: only sources whose path has this text in it")
    args = parser.parse_args()
    try:
        with locked():
            if args.what == "core":
                print(build_core(args.variant))
            if args.what in ("library", "all"):
                print(build_library(args.variant))
            if args.what in ("tests", "all"):
                print(*build_tests(args.variant, args.only), sep="\n")
            if args.what in ("fuzz", "all"):
                print(*build_fuzz(args.only), sep="\n")
    except BuildError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
