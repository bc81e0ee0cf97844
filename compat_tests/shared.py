# SPDX-License-Identifier: BSD-3-Clause
"""The shared engine under test: ffpfd in a test's namespace, tools of users who hold no capability, and what to ask of
both.

    with Ffpfd(ns) as ffpfd:
        run = shared.start(ffpfd, ANNA, ["tcpdump", "-i", ns.left, "-w", "out"])
        ffpfd.wait_flows(1)
        ...

Users and groups are numbers: nothing is added to the machine.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import pickle
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from compat_tests import harness
from compat_tests.harness import Run
from compat_tests.netns import Netns, wait_until
from pyffpf.cli.control import Control, ControlError
from pyffpf.daemon import status
from pyffpf.daemon.status import FlowStatus, Status

# until what must come has come, on a machine that is busy with other things, or is emulated
PATIENCE_S = float(os.environ.get("FFPF_TEST_PATIENCE", "60"))
SCRIPTS = Path(sys.executable).parent  # where ffpf and ffpfd are installed


@dataclass(frozen=True)
class User:
    """Ids that no account has."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def command(self, argv: Sequence[str]) -> list[str]:
        """argv, run as this user: without a capability, and without a way to one."""
        groups = f"--groups={','.join(map(str, self.groups))}" if self.groups else "--clear-groups"
        ids = [f"--reuid={self.uid}", f"--regid={self.gid}", groups]
        return ["setpriv", *ids, "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--", *argv]


ANNA = User(61001, 61001, (61009,))
BERT = User(61002, 61002)
CARA = User(61003, 61003)
EVE = User(61004, 61004)  # no rule of the configuration names her
USERS = (ANNA, BERT, CARA)

# stall_ms 0: a reader that has to wait for a processor loses nothing, however long; tests of slow readers set it.
CONFIG = f"""
[daemon]
user = ""

[buffers]
bytes = "16 MiB"
ibuf_bytes = "512 KiB"
stall_ms = 0

[limits]
flows = 512
memory = "4 GiB"

[[allow]]
users = [{", ".join(f'"{user.uid}"' for user in USERS)}]
"""


def interpreter() -> str:
    """A Python of this one's version that every user may start: this one may lie in somebody's home."""
    ask = "import sys; print(*sys.version_info[:2])"
    for candidate in (str(Path(sys.executable).resolve()), "/usr/bin/python3"):
        done = subprocess.run(CARA.command(["env", candidate, "-c", ask]), capture_output=True, text=True, check=False)
        if done.stdout.split() == [str(part) for part in sys.version_info[:2]]:
            return candidate
    raise AssertionError("no Python of this version can be started by other users")


class Ffpfd:
    """ffpfd in a namespace; a context manager, at whose end it has ended, and its holder too."""

    def __init__(self, ns: Netns, config: str = CONFIG, command: Sequence[str] = ()) -> None:
        self.ns = ns
        self.folder = Path(tempfile.mkdtemp(prefix="ffpf-shared-"))
        self.folder.chmod(0o755)
        self.socket = self.folder / "ffpfd.sock"
        self.config = self.folder / "ffpfd.toml"
        self.config.write_text(config)
        self.log = self.folder / "log"
        self.process: subprocess.Popen[Any] | None = None
        self._command = [*(command or [str(SCRIPTS / "ffpfd")]), "--config", str(self.config)]

    def __enter__(self) -> Ffpfd:
        try:
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            code = self.stop()
            assert code == 0 or kind is not None, f"ffpfd ended with {code}:\n{self.said()}"
        except BaseException:
            if kind is None:
                raise
        finally:
            if kind is not None:
                print(f"ffpfd said:\n{self.said()[-8000:]}")  # pytest shows it with the failure
            self._remove()

    def _remove(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid  # `ip netns exec` becomes what it starts

    @property
    def holder_pid(self) -> int:
        """Of the process that holds descriptors while ffpfd is away."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
            asking.connect(str(self.folder / "holder.sock"))
            return int(struct.unpack("iII", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])

    def said(self) -> str:
        """Its log, of all processes since the first."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def start(self) -> None:
        """Starts it, also one after another; returns when it answers."""
        with self.log.open("ab") as log:
            self.process = self.ns.popen(
                [*self._command, "--socket", str(self.socket)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=harness.before_start(),
            )
        wait_until(self._answers, f"ffpfd to answer:\n{self.said()}", PATIENCE_S)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"ffpfd ended with {self.process.returncode}:\n{self.said()}"
        try:
            with self.ns.entered(), Control(self.socket, "test"):
                return True
        except ControlError:
            return False

    def kill(self) -> None:
        """Ends it as the kernel does when memory is short."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ends it as a service manager does; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            harness.wait(self.process, PATIENCE_S)
        return self.process.wait()

    def reload(self, config: str) -> None:
        """SIGHUP, with another configuration."""
        self.config.write_text(config)
        before = self.said().count("configuration reloaded")
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.said().count("configuration reloaded") > before, "the new configuration", PATIENCE_S)

    # ---- what it says of itself

    def status(self) -> Status:
        """The document behind `ffpf status --json`, through the command itself."""
        shown = self.ns.run([str(SCRIPTS / "ffpf"), "status", "--json", "--socket", str(self.socket)])
        return status.loads(shown.stdout.encode())

    def ask_status(self) -> Status:
        """The same document by the protocol: for polling."""
        with self.ns.entered():
            return ask_status(self.socket)

    def wait_status(self, condition: Callable[[Status], bool], what: str, seconds: float = PATIENCE_S) -> Status:
        """Asks until the condition holds; AssertionError with the last answer when it never does."""
        last = self.ask_status()

        def holds() -> bool:
            nonlocal last
            last = self.ask_status()
            return condition(last)

        try:
            wait_until(holds, what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; the last status:\n{json.dumps(summary(last), indent=1)}") from None
        return last

    def wait_flows(self, count: int, filtered: int = 0) -> Status:
        """Until so many flows are open, and so many of them have set a filter."""

        def there(document: Status) -> bool:
            flows = document.flows
            return len(flows) == count and sum(1 for flow in flows if flow.generation > 1) >= filtered

        return self.wait_status(there, f"{count} flows, {filtered} with a filter")

    def wait_read(self, flows: int | None = None) -> Status:
        """Until every reader has read all that it was given, and, if asked, so many flows are left."""

        def read(document: Status) -> bool:
            left = document.flows
            return (flows is None or len(left) == flows) and not any(flow.waiting for flow in left)

        return self.wait_status(read, f"all to be read, {flows or 'any number of'} flows to be left")


def ask_status(path: Path) -> Status:
    """What this process is told when it asks."""
    with Control(path, "test") as control:
        answer = control.ask("status")
    try:
        return status.from_fd(answer.fds["status"])
    finally:
        os.close(answer.fds["status"])


def summary(document: Status) -> list[dict[str, Any]]:
    """What matters of the flows, to be shown with a failure."""
    keys = (
        "id",
        "program",
        "uid",
        "level",
        "reason",
        "state",
        "generation",
        "seen",
        "filtered",
        "delivered",
        "waiting",
    )
    return [{key: getattr(flow, key) for key in keys} | {"dropped": dict(flow.dropped)} for flow in document.flows]


def assert_lawful(flow: FlowStatus) -> None:
    """seen = filtered + delivered + dropped, and what is not read yet."""
    counted = flow.filtered + flow.delivered + flow.waiting + sum(flow.dropped.values())
    assert flow.seen == counted, f"{flow.program} ({flow.id}) saw {flow.seen}, but accounts for {counted}: {flow}"


def start(
    ffpfd: Ffpfd,
    user: User,
    argv: Sequence[str],
    env: Mapping[str, str] | None = None,
    prepare: Callable[[Path], None] | None = None,
) -> Run:
    """A tool of that user, which either is served by ffpfd or fails."""
    settings = {"FFPF_SOCKET": str(ffpfd.socket), "FFPF_ENGINE": "shared", **(env or {})}
    return Run(ffpfd.ns.command(user.command(argv)), harness.FFPF, env=settings, prepare=prepare)


@contextlib.contextmanager
def discarded(runs: Sequence[Run]) -> Iterator[None]:
    """At the end none of the runs is left, whatever happened."""
    try:
        yield
    finally:
        for run in runs:
            run.discard()


def capture_sockets(ns: Netns) -> list[list[str]]:
    """The lines of /proc/net/packet in the namespace, in words, without the headline."""
    table = ns.run(["cat", "/proc/net/packet"]).stdout.splitlines()
    return [line.split() for line in table[1:]]


def ifindex(ns: Netns, name: str) -> int:
    return int(ns.run(["cat", f"/sys/class/net/{name}/ifindex"]).stdout)


# ---- clients by hand, as another user


@functools.cache
def compiled(text: str) -> str:
    """A filter for Ethernet as the protocol has it; without VLAN it is the kernel's form too."""
    argv = ["tcpdump", "-y", "EN10MB", "-ddd", text]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    return base64.b64encode(b"".join(struct.pack("<HBBI", *map(int, line.split())) for line in lines)).decode()


class Client:
    """A connection that speaks the protocol itself. Made by whoever is to be its peer: see `as_user`."""

    def __init__(self, ffpfd: Ffpfd, program: str = "client") -> None:
        self.control = Control(ffpfd.socket, program)

    def open(self, source: str, **fields: object) -> tuple[int, dict[str, int]]:
        """A flow's number, and its descriptors by name."""
        answer = self.control.ask(
            "open", **{"source": source, "snap_len": 0, "promisc": False, "group": None, **fields}
        )
        return int(answer.fields["flow"]), dict(answer.fds)

    def refusal(self, operation: str, **fields: object) -> str:
        """The code of the refusal of what must be refused."""
        try:
            answer = self.control.ask(operation, **fields)
        except ControlError as error:
            return error.code
        raise AssertionError(f"{operation} {fields} was answered with {answer}")


def as_user(ns: Netns, user: User, work: Callable[[], Any], groups: Sequence[int] | None = None) -> Any:
    """What work() returns, done in the namespace by a process of that user, without capabilities. What it raises is
    raised here, as an AssertionError."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            with ns.entered():
                os.setgroups(user.groups if groups is None else groups)
                os.setresgid(user.gid, user.gid, user.gid)
                os.setresuid(user.uid, user.uid, user.uid)
                try:
                    outcome = (True, work())
                except BaseException:
                    outcome = (False, traceback.format_exc())
                with os.fdopen(writing, "wb") as pipe:
                    pickle.dump(outcome, pipe)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    assert said, "the process of the user died"
    done, value = pickle.loads(said)
    assert done, f"as user {user.uid}:\n{value}"
    return value


@contextlib.contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """work() runs in a thread while the block does; what it raises is raised at the end of the block."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        yield
        done.result()
