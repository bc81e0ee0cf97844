# SPDX-License-Identifier: BSD-3-Clause
"""ffpf-run: which programs it starts, which it refuses, and that its refusals agree with what the kernel does."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pyffpf.cli import elf, run
from pyffpf.cli.secure_exec import Credentials, parse_file_caps, secure_reason

NOBODY = 65534
PR_SET_NO_NEW_PRIVS = 38
CAP_NET_RAW = 13

# Prints what the kernel and the dynamic loader made of it, then its arguments.
PROBE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
int main(int argc, char **argv) {
    const char *preload = getenv("LD_PRELOAD"), *engine = getenv("FFPF_ENGINE"), *stats = getenv("FFPF_STATS");
    const char *group = getenv("FFPF_GROUP"), *path = getenv("FFPF_SOCKET");
    printf("secure=%lu preload=%s group=%s socket=%s engine=%s stats=%s", getauxval(AT_SECURE),
           preload ? preload : "-", group ? group : "-", path ? path : "-", engine ? engine : "-", stats ? stats : "-");
    for (int i = 0; i < argc; i++) printf(" [%s]", argv[i]);
    printf("\n");
    return 7;
}
"""
OWN_LIBPCAP = 'const char version[] = "libpcap version 1.9"; int pcap_activate(void *p) { return p == 0; }'


@dataclass(frozen=True)
class Result:
    code: int  # as waitstatus_to_exitcode: negative for a signal
    out: str
    err: str


def forked(call: Callable[[], int], before: Callable[[], None] = lambda: None) -> Result:
    """Runs `before` and then `call` in a child, which may exec: the tests' files need not be readable for its user."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                sys.stdout = os.fdopen(1, "w", closefd=False)
                sys.stderr = os.fdopen(2, "w", closefd=False)
                before()
                code = call()
            except SystemExit as error:
                code = int(error.code or 0)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        out.seek(0)
        err.seek(0)
        return Result(os.waitstatus_to_exitcode(status), out.read().decode(), err.read().decode())


def as_root() -> None:
    """Nothing to change: the tests run as root."""


def as_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def as_nobody_without_new_privileges() -> None:
    as_nobody()
    assert ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0


def as_root_acting_for_nobody() -> None:
    os.seteuid(NOBODY)


def caps_value(permitted: int, inheritable: int, effective: bool) -> bytes:
    return struct.pack("<IIIII", 2 << 24 | effective, permitted, inheritable, 0, 0)


def with_caps(permitted: int, inheritable: int, effective: bool) -> Callable[[Path], None]:
    return lambda path: os.setxattr(path, "security.capability", caps_value(permitted, inheritable, effective))


def owned(uid: int, gid: int, mode: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        os.chown(path, uid, gid)
        path.chmod(mode)

    return change


NET_RAW = 1 << CAP_NET_RAW
FILES: dict[str, Callable[[Path], None]] = {
    "plain": lambda path: None,
    "setuid root": owned(0, 0, 0o4755),
    "setuid daemon": owned(1, 0, 0o4755),
    "setuid nobody": owned(NOBODY, 0, 0o4755),
    "setgid root": owned(0, 0, 0o2755),
    "setgid daemon": owned(0, 1, 0o2755),
    "setgid without group execute": owned(0, 1, 0o2745),
    "caps =ep": with_caps(NET_RAW, 0, True),
    "caps =p": with_caps(NET_RAW, 0, False),
    "caps =i": with_caps(0, NET_RAW, False),
    "caps =ei": with_caps(0, NET_RAW, True),
    "caps none": with_caps(0, 0, False),
}
USERS: dict[str, Callable[[], None]] = {
    "root": as_root,
    "nobody": as_nobody,
    "nobody, no_new_privs": as_nobody_without_new_privileges,
    "root with euid nobody": as_root_acting_for_nobody,
}
REFUSED_FOR_NOBODY = {"setuid root", "setuid daemon", "setgid root", "setgid daemon", "caps =ep", "caps =p", "caps =ei"}


def compile_c(source: str, output: Path, *flags: str) -> Path:
    subprocess.run(["gcc", "-x", "c", "-", "-o", str(output), *flags], input=source.encode(), check=True)
    return output


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    """A directory that every user may enter, with the programs that the tests start."""
    directory = Path(tempfile.mkdtemp(prefix="ffpf-run-"))
    try:
        directory.chmod(0o755)
        compile_c(PROBE, directory / "probe")
        compile_c(PROBE, directory / "static-probe", "-static")
        compile_c(PROBE.replace("int main", OWN_LIBPCAP + "\nint main"), directory / "own-probe", "-rdynamic")
        compile_c(
            PROBE.replace(
                "int main", OWN_LIBPCAP.replace("int pcap", "static __attribute__((used)) int pcap") + "\nint main"
            ),
            directory / "stripped-probe",
            "-s",
        )
        compile_c("int ffpf_nothing;", directory / "lib.so", "-shared", "-fPIC")
        for name, change in FILES.items():
            copy = directory / name
            shutil.copy(directory / "probe", copy)
            change(copy)
        yield directory
    finally:
        shutil.rmtree(directory)


def ffpf_run(room: Path, *argv: str, before: Callable[[], None] = as_root, **environ: str) -> Result:
    """ffpf-run in a child with exactly this environment (and the library of the room)."""
    given = {"PATH": "/usr/bin:/bin", "FFPF_LIBRARY": str(room / "lib.so"), **environ}

    def call() -> int:
        run.original_environment = lambda: given
        return run.main(argv)

    return forked(call, before)


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("file", FILES)
def test_prediction_agrees_with_at_secure(room: Path, file: str, user: str) -> None:
    path = room / file

    def call() -> int:
        reason = secure_reason(path, Credentials.of_this_process())
        print(f"predicted={int(reason is not None)} ", end="", flush=True)
        os.execve(path, [str(path)], {})

    result = forked(call, USERS[user])
    predicted = result.out.split()[0].removeprefix("predicted=")
    secure = result.out.split()[1].removeprefix("secure=")
    if user == "root with euid nobody":  # kernels differ: the prediction is theirs or the careful one
        assert predicted >= secure, result
    else:
        assert predicted == secure, result
    if user == "nobody":
        assert (predicted == "1") == (file in REFUSED_FOR_NOBODY)
    if user == "nobody, no_new_privs":
        assert (predicted == "1") == (file in {"caps =ep", "caps =ei"})


def test_prediction_on_a_nosuid_mount(room: Path) -> None:
    mounted = room / "nosuid"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,mode=755", "none", str(mounted)], check=True)
    try:
        copy = mounted / "probe"
        shutil.copy(room / "probe", copy)
        owned(1, 0, 0o4755)(copy)
        result = ffpf_run(room, str(copy), before=as_nobody)
    finally:
        subprocess.run(["umount", str(mounted)], check=True)
    assert result.code == 7 and "secure=0" in result.out


@pytest.mark.parametrize("file", sorted(REFUSED_FOR_NOBODY))
def test_privileged_files_are_refused_and_never_started(room: Path, file: str) -> None:
    result = ffpf_run(room, str(room / file), before=as_nobody)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"ffpf-run: {room / file} ")
    assert "ignores LD_PRELOAD" in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize("file", ["setuid root", "caps =ep", "setgid root"])
def test_root_may_start_what_makes_no_difference_to_root(room: Path, file: str) -> None:
    result = ffpf_run(room, str(room / file))
    assert result.code == 7 and "secure=0" in result.out and f"preload={room / 'lib.so'}" in result.out


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("static-probe", "is statically linked"),
        ("own-probe", "has a libpcap of its own"),
        ("stripped-probe", "has a libpcap of its own"),
    ],
)
def test_programs_out_of_reach_are_refused(room: Path, program: str, words: str) -> None:
    result = ffpf_run(room, str(room / program))
    assert (result.code, result.out) == (2, "")
    assert words in result.err


def test_programs_of_another_machine_are_refused(room: Path) -> None:
    foreign = room / "foreign"
    image = bytearray((room / "probe").read_bytes())
    image[18:20] = (40).to_bytes(2, "little")  # EM_ARM
    foreign.write_bytes(image)
    foreign.chmod(0o755)
    result = ffpf_run(room, str(foreign))
    assert result.code == 2 and "built for another machine" in result.err


def test_every_prefix_of_an_elf_file_is_survived(room: Path) -> None:
    image = (room / "probe").read_bytes()
    cut = room / "cut"
    for size in [*range(0, 2048, 3), *range(2048, len(image), 997)]:
        cut.write_bytes(image[:size])
        try:
            elf.read_elf(cut)
        except ValueError:
            continue
        assert size > 64


def test_the_library_comes_first_in_ld_preload_and_once(room: Path) -> None:
    library = str(room / "lib.so")
    # "probe" itself cannot load a library that does not exist, but says so and goes on.
    result = ffpf_run(room, str(room / "probe"), LD_PRELOAD=f"/nonexistent/a.so {library}:/nonexistent/b.so")
    assert f"preload={library}:/nonexistent/a.so:/nonexistent/b.so " in result.out


def test_options_become_environment_and_the_rest_is_the_commands(room: Path) -> None:
    probe = str(room / "probe")
    assert "group=- socket=- engine=- stats=- " in ffpf_run(room, probe).out
    result = ffpf_run(
        room, "--engine", "shared", "--group", "net ops", "--socket", "/run/x.sock", probe, "--group", "y"
    )
    assert "group=net ops socket=/run/x.sock engine=shared stats=- " in result.out
    result = ffpf_run(room, "--socket", "x.sock", probe)
    assert f"group=- socket={Path.cwd()}/x.sock engine=- " in result.out
    result = ffpf_run(room, "--engine", "embedded", "--stats", probe, "--stats", "-x", "--engine", "y")
    assert "engine=embedded stats=1 " in result.out
    assert result.out.endswith(f"[{probe}] [--stats] [-x] [--engine] [y]\n")
    assert "stats=/a/path " in ffpf_run(room, "--stats", "--", probe, FFPF_STATS="/a/path").out


def test_scripts_and_env_are_followed_to_what_they_load(room: Path) -> None:
    def script(name: str, line: str) -> str:
        path = room / name
        path.write_text(line)
        path.chmod(0o755)
        return str(path)

    probe = room / "probe"
    static = room / "static-probe"
    search = f"{room}:/usr/bin:/bin"
    direct = script("direct", f"#!{probe} -x\n")
    assert ffpf_run(room, direct, "a").out.endswith(f"[{probe}] [-x] [{direct}] [a]\n")
    assert ffpf_run(room, script("by-env", "#!/usr/bin/env probe\n"), PATH=search).code == 7
    assert ffpf_run(room, script("by-split", "#!/usr/bin/env -S A=1 probe -y\n"), PATH=search).code == 7
    assert ffpf_run(room, script("plain", "exit 5\n")).code == 5
    for text in (f"#!{static}\n", "#!/usr/bin/env static-probe\n", "#!/usr/bin/env -S static-probe -v\n"):
        refused = ffpf_run(room, script("refused", text), PATH=search)
        assert refused.code == 2 and "statically linked" in refused.err
    assert ffpf_run(room, "env", "-u", "B", "A=1", str(static)).code == 2
    assert ffpf_run(room, "env", "-u", "B", "A=1", str(probe)).code == 7
    for words in (["-i"], ["-"], ["-u", "LD_PRELOAD"], ["LD_PRELOAD=x"]):
        refused = ffpf_run(room, "env", *words, str(probe))
        assert refused.code == 2 and "LD_PRELOAD" in refused.err
    script("nested", f"#!{direct}\n")
    assert ffpf_run(room, "nested", PATH=search).code == 7


def test_sudo_belongs_before_ffpf_run(room: Path) -> None:
    fake = room / "sudo"
    shutil.copy(room / "probe", fake)
    result = ffpf_run(room, str(fake), "tcpdump")
    assert result.code == 2 and "write `sudo ffpf-run COMMAND`" in result.err


def test_tshark_of_a_user_warns_about_a_privileged_dumpcap(room: Path) -> None:
    shutil.copy(room / "probe", room / "tshark")
    shutil.copy(room / "caps =ep", room / "dumpcap")
    with_caps(NET_RAW, 0, True)(room / "dumpcap")
    result = ffpf_run(room, str(room / "tshark"), before=as_nobody)
    assert result.code == 7
    assert result.err.startswith("ffpf-run: warning: tshark captures through dumpcap") and "capabilities" in result.err
    assert ffpf_run(room, str(room / "tshark")).err == ""


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        ([], 2, "no COMMAND given"),
        (["--engine"], 2, "expected one argument"),
        (["--engine", "none", "true"], 2, "invalid choice"),
        (["--group", "", "true"], 2, "--group needs a name"),
        (["--socket", "", "true"], 2, "--socket needs a name"),
        (["--socket", "x" * 108, "true"], 2, "107 octets"),
        (["--engine", "embedded", "--group", "g", "true"], 2, "does not go with --engine embedded"),
        (["--engine", "system", "--socket", "s", "true"], 2, "does not go with --engine system"),
        (["--nonsense", "true"], 2, "unrecognized arguments"),
        (["no-such-command-here"], 127, "no-such-command-here: command not found"),
        (["/no/such/file"], 127, "/no/such/file: No such file or directory"),
        (["/etc/passwd"], 126, "/etc/passwd: Permission denied"),
        (["/etc"], 126, "/etc: Is a directory"),
        ([""], 127, "command not found"),
    ],
)
def test_wrong_use(room: Path, argv: list[str], code: int, words: str) -> None:
    result = ffpf_run(room, *argv)
    assert result.code == code and words in result.err and result.out == ""


def test_a_missing_interpreter_is_named(room: Path) -> None:
    script = room / "orphan"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    result = ffpf_run(room, str(script))
    assert result.code == 127 and "/no/such/interpreter: No such file or directory" in result.err


def test_a_missing_library_is_named(room: Path) -> None:
    missing = ffpf_run(room, "true", FFPF_LIBRARY="/no/such/lib.so")
    assert missing.code == 2 and "FFPF_LIBRARY: /no/such/lib.so: no such file" in missing.err
    wrong = ffpf_run(room, "true", FFPF_LIBRARY="/etc/passwd")
    assert wrong.code == 2 and "/etc/passwd: not a library" in wrong.err


def test_help_says_what_matters(room: Path) -> None:
    result = ffpf_run(room, "--help")
    assert result.code == 0
    for word in ("--engine", "--group", "--socket", "--stats", "COMMAND", "FFPF_LIBRARY", "FFPF_STATS", "126", "127"):
        assert word in result.out


def test_the_command_takes_the_process(room: Path) -> None:
    """Same pid, exit code and signals; neither SIGPIPE nor Python's own LC_CTYPE is left behind."""
    script = Path(run.__file__).resolve().parent.parent.parent
    base = {"PATH": os.environ["PATH"], "FFPF_LIBRARY": str(room / "lib.so"), "PYTHONPATH": str(script)}
    command = [sys.executable, "-m", "pyffpf.cli.run"]
    child = subprocess.Popen([*command, "sh", "-c", "echo $$; exit 9"], env=base, stdout=subprocess.PIPE)
    out, _ = child.communicate()
    assert (int(out), child.returncode) == (child.pid, 9)
    shown = subprocess.run([*command, "env"], env=base, stdout=subprocess.PIPE, check=True).stdout.decode()
    assert {line.split("=")[0] for line in shown.splitlines()} - set(base) == {"LD_PRELOAD"}
    killed = subprocess.run([*command, "sh", "-c", "kill -TERM $$"], env=base)
    assert killed.returncode == -signal.SIGTERM
    status = ["grep", "SigIgn", "/proc/self/status"]  # whoever started the tests may ignore signals of its own
    plain, through = (
        subprocess.run(words, env=base, stdout=subprocess.PIPE, check=True).stdout
        for words in (status, [*command, *status])
    )
    assert through == plain and not int(through.split()[1], 16) & 1 << signal.SIGPIPE - 1


@pytest.mark.parametrize(
    ("raw", "permitted"),
    [(struct.pack("<III", 1 << 24, 5, 0), 5), (caps_value(NET_RAW, 0, True), NET_RAW), (b"\0\0\0\4" + bytes(16), None)],
)
def test_capability_attributes(raw: bytes, permitted: int | None) -> None:
    parsed = parse_file_caps(raw)
    assert (parsed.permitted if parsed else None) == permitted
