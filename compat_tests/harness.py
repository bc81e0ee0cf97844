# SPDX-License-Identifier: BSD-3-Clause
"""Runs one command on stock libpcap and on FFPF, and says whether anything that it left behind differs.

`assert_same` is the only judge: it compares exit code, standard output, standard error and every file, and it demands,
from the line that FFPF_STATS makes the library write, that FFPF served the second run. A comparison of stock with stock
therefore fails.
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from compat_tests import pcapfile

ROOT = Path(__file__).resolve().parent.parent
SHARED_CAPTURES = ROOT.parent / "shared" / "captures"
TIMEOUT_S = 120.0
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))  # processes that run tests, this one included
PROCESSORS = max(1, (os.cpu_count() or 1) // WORKERS)  # for this one

STATS_LINE = re.compile(r"^ffpf: (?P<fields>.*)$", re.MULTILINE)
FIELD = re.compile(r"(\w+)=(\([^)]*\)|\"[^\"]*\"|\S+)")


def library_path() -> Path:
    """The drop-in that is judged: FFPF_LIBRARY, or the build tree's."""
    return Path(os.environ.get("FFPF_LIBRARY", ROOT / "build" / "normal" / "libffpfpcap.so"))


@functools.cache
def published(library: Path) -> Path:
    """A copy of the library for this test run, where every user may read it and no build replaces it in between."""
    if not library.is_file():
        return library
    directory = Path(tempfile.mkdtemp(prefix="ffpf-library-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    directory.chmod(0o755)
    copy = Path(shutil.copy(library, directory))
    copy.chmod(0o755)
    return copy


@dataclass(frozen=True)
class Side:
    """One of the two libraries under a command; `preload` is what LD_PRELOAD names."""

    name: str
    preload: Path | None


def system_library() -> Path:
    """The system's libpcap, by path: for programs that bring another."""
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"libpcap\.so\.0\.8 .*=> (\S+)", known)
    assert found, "the system has no libpcap.so.0.8"
    return Path(found[1])


STOCK = Side("stock", None)
SYSTEM = Side("stock", system_library())
FFPF = Side("ffpf", library_path())


@dataclass(frozen=True)
class Stats:
    """One line of FFPF_STATS: the counters of one process, in packets, and the line itself."""

    engine: str
    handles: int
    seen: int
    filtered: int
    delivered: int
    dropped: int
    text: str

    @staticmethod
    def parse(text: str) -> Stats:
        """Raises AssertionError when the line lacks a counter."""
        fields = dict(FIELD.findall(text))
        numbers = {}
        for name in ("handles", "seen", "filtered", "delivered", "dropped"):
            assert fields.get(name, "").isdigit(), f"FFPF_STATS: no {name}= in: {text}"
            numbers[name] = int(fields[name])
        assert "engine" in fields, f"FFPF_STATS: no engine= in: {text}"
        return Stats(engine=fields["engine"], text=text, **numbers)

    @property
    def lawful(self) -> bool:
        return self.seen == self.filtered + self.delivered + self.dropped


@dataclass
class Outcome:
    """What one run left behind. `files`: every file below its working directory, by relative name."""

    side: Side
    argv: tuple[str, ...]
    directory: Path
    returncode: int = 0
    stdout: bytes = b""
    stderr: bytes = b""
    files: dict[str, bytes] = field(default_factory=dict)
    stats: list[Stats] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.side.name}: exit {self.returncode}, {len(self.stdout)} octets out, {self.stderr.decode()!r}"

    @property
    def repeat(self) -> str:
        """A shell line that does the run again."""
        preload = f"FFPF_STATS=1 LD_PRELOAD={shlex.quote(str(self.side.preload))} " if self.side.preload else ""
        return f"TZ=UTC LC_ALL=C {preload}{shlex.join(self.argv)}"

    def total(self, counter: str) -> int:
        """One counter over all processes of the run, in packets (or handles)."""
        return sum(getattr(line, counter) for line in self.stats)


def environment(side: Side, stats: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD" and not name.startswith("FFPF_")}
    env.update(TZ="UTC", LC_ALL="C", **(extra or {}))
    if side.preload:
        env.update(LD_PRELOAD=str(published(side.preload)), FFPF_STATS=str(stats))
    return env


@contextmanager
def scratch(prefix: str = "ffpf-compat-") -> Iterator[Path]:
    """A new directory that every user may write into (tools drop root), removed at the end."""
    directory = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        directory.chmod(0o777)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


def default_signals() -> None:
    """In a child: signals end it."""
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)


def before_start() -> Callable[[], None] | None:
    """What a child has to do before its program starts. A program inherits only that signals are ignored (nohup, a
    shell's &); where none are there is nothing to do, and the child needs no copy of this process's page tables."""
    return default_signals if any(signal.getsignal(number) is signal.SIG_IGN for number in ENDING) else None


def wait(process: subprocess.Popen[bytes], seconds: float) -> int:
    """The exit code, as soon as there is one; TimeoutExpired after that time."""
    if process.poll() is None:
        pidfd = os.pidfd_open(process.pid)
        try:
            poller = select.poll()
            poller.register(pidfd, select.POLLIN)
            if not poller.poll(seconds * 1000):
                raise subprocess.TimeoutExpired(process.args, seconds)
        finally:
            os.close(pidfd)
    return process.wait()


class Run:
    """One started command with a scratch directory of its own; `finish` makes its Outcome.

    The command starts in that directory; where a tool leaves it, "{cwd}" in an argument stands for its absolute path.
    """

    def __init__(
        self,
        argv: Sequence[str],
        side: Side,
        *,
        stdin: int | bytes = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
        prepare: Callable[[Path], None] | None = None,
    ) -> None:
        self.base = Path(tempfile.mkdtemp(prefix=f"ffpf-{side.name}-"))
        self.base.chmod(0o777)
        self.directory = self.base / "cwd"
        self.directory.mkdir()
        self.directory.chmod(0o777)
        if prepare:
            prepare(self.directory)
        self.stats_path = self.base / "stats"
        self.stats_path.touch()
        self.stats_path.chmod(0o666)
        argv = [word.replace("{cwd}", str(self.directory)) for word in argv]
        self.outcome = Outcome(side, tuple(argv), self.directory)
        self.streams = [(self.base / name).open("w+b") for name in ("stdout", "stderr")]
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if isinstance(stdin, bytes) else stdin,
            stdout=self.streams[0],
            stderr=self.streams[1],
            env=environment(side, self.stats_path, env),
            cwd=self.directory,
            preexec_fn=before_start(),
        )
        if isinstance(stdin, bytes) and self.process.stdin:
            try:
                self.process.stdin.write(stdin)
                self.process.stdin.close()
            except BrokenPipeError:  # the tool did not want all of it
                pass

    def so_far(self, stream: str) -> bytes:
        """What the command has written to "stdout" or "stderr" up to now."""
        return (self.base / stream).read_bytes()

    def signal(self, number: int) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def finish(self, timeout: float = TIMEOUT_S) -> Outcome:
        """Waits for the end, gathers what was left, removes the scratch directory. A hang is an AssertionError."""
        try:
            self.outcome.returncode = wait(self.process, timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"no end after {timeout} s: {self.outcome.repeat}\nstderr: {self.so_far('stderr').decode()}"
            ) from None
        else:
            self.outcome.stdout = self.so_far("stdout")
            self.outcome.stderr = self.so_far("stderr")
            self.outcome.files = {
                str(path.relative_to(self.directory)): path.read_bytes()
                for path in sorted(self.directory.rglob("*"))
                if path.is_file()
            }
            self.outcome.stats = [
                Stats.parse(found.group("fields")) for found in STATS_LINE.finditer(self.stats_path.read_text())
            ]
        finally:
            self.discard()
        return self.outcome

    def discard(self) -> None:
        """Ends the command if it still runs, and removes what it left. Called twice, it does nothing more."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in self.streams:
            stream.close()
        shutil.rmtree(self.base, ignore_errors=True)


def run(argv: Sequence[str], side: Side, **options: object) -> Outcome:
    """Starts a command and waits for it; options as for Run."""
    return Run(argv, side, **options).finish()  # type: ignore[arg-type]


def run_both(argv: Sequence[str], **options: object) -> tuple[Outcome, Outcome]:
    """The same command on stock and on FFPF, one after the other."""
    return run(argv, STOCK, **options), run(argv, FFPF, **options)


Normalise = Callable[[str, bytes], bytes]


def unchanged(stream: str, content: bytes) -> bytes:
    """The default: compare octets as they are."""
    del stream
    return content


# tcpflow's report tells what the run cost and when it was.
REPORT_COSTS = re.compile(
    rb"<(utime|stime|maxrss|minflt|majflt|nswap|inblock|oublock|clocktime|start_time|nvcsw|nivcsw)>[^<]*</\1>"
)


def without_costs(stream: str, content: bytes) -> bytes:
    return REPORT_COSTS.sub(b"", content) if stream == "report.xml" else content


@dataclass(frozen=True)
class Expect:
    """What a comparison demands beyond equality. Counters are in packets; None: not asked.

    engine: of every process that opened a handle; handles: least number of handles, 0 where the tool does not read
    through libpcap and only the library's presence can be shown. `delivered` may be computed from the
    outcome (which equals stock's).
    Handles and counters are demanded of runs that end well: a tool that refuses its input may have opened nothing.
    """

    engine: str = "embedded"
    handles: int = 1
    seen: int | None = None
    delivered: int | Callable[[Outcome], int] | None = None
    normalise: Normalise = unchanged


DEFAULT = Expect()


def assert_served(outcome: Outcome, expect: Expect = DEFAULT) -> None:
    """FFPF, and not stock, was under the run, and its counters obey seen = filtered + delivered + dropped."""
    assert outcome.stats, f"FFPF did not serve this run (it wrote no FFPF_STATS line): {outcome.repeat}"
    for line in outcome.stats:
        assert line.lawful, f"seen != filtered + delivered + dropped: {line.text}\n{outcome.repeat}"
        if line.handles:
            assert line.engine == expect.engine, f"engine {line.engine}, not {expect.engine}: {outcome.repeat}"
    if outcome.returncode != 0:
        return
    text = "\n".join(line.text for line in outcome.stats)
    assert outcome.total("handles") >= expect.handles, f"no handle was FFPF's: {text}\n{outcome.repeat}"
    for counter, wanted in (("seen", expect.seen), ("delivered", expect.delivered)):
        if wanted is None:
            continue
        number = wanted(outcome) if callable(wanted) else wanted
        found = outcome.total(counter)
        assert found == number, f"{counter}={found}, not {number}: {text}\n{outcome.repeat}"


def first_difference(one: bytes, other: bytes) -> str:
    """Where two outputs part, in words: the packet of a savefile, else the line of a text."""
    if pcapfile.is_savefile(one) and pcapfile.is_savefile(other):
        return pcapfile.first_difference(one, other)
    lines, others = one.splitlines(), other.splitlines()
    for number, (line, against) in enumerate(zip(lines, others, strict=False), 1):
        if line != against:
            return f"line {number}:\n  stock: {line[:500]!r}\n  ffpf:  {against[:500]!r}"
    if len(lines) != len(others):
        longer, name = (lines, "stock") if len(lines) > len(others) else (others, "ffpf")
        at = min(len(lines), len(others))
        return f"{len(lines)} lines on stock, {len(others)} on ffpf; only on {name}: {longer[at][:500]!r}"
    return "they differ in line ends only"


def differences(stock: Outcome, ffpf: Outcome, normalise: Normalise = unchanged) -> list[str]:
    """Every way in which the outcomes differ, each with the first place."""
    found = []
    if stock.returncode != ffpf.returncode:
        found.append(f"exit code {stock.returncode} on stock, {ffpf.returncode} on ffpf (stderr {ffpf.stderr!r})")
    streams = {"stdout": (stock.stdout, ffpf.stdout), "stderr": (stock.stderr, ffpf.stderr)}
    for name in sorted({*stock.files, *ffpf.files}):
        if name in stock.files and name in ffpf.files:
            streams[name] = (stock.files[name], ffpf.files[name])
        else:
            found.append(f"file {name}: only on {'stock' if name in stock.files else 'ffpf'}")
    for name, (one, other) in streams.items():
        one, other = normalise(name, one), normalise(name, other)
        if one != other:
            found.append(f"{name}: {first_difference(one, other)}")
    return found


def assert_same(stock: Outcome, ffpf: Outcome, expect: Expect = DEFAULT) -> None:
    """Fails with the first differing packet or line and the commands to run again."""
    found = differences(stock, ffpf, expect.normalise)
    assert not found, "\n".join([*found, f"again, stock: {stock.repeat}", f"again, ffpf:  {ffpf.repeat}"])
    assert_served(ffpf, expect)


@dataclass(frozen=True)
class Case:
    """One command of a batch, and what is demanded of it."""

    argv: tuple[str, ...]
    expect: Expect = DEFAULT
    stdin: bytes | None = None


def check(case: Case) -> str | None:
    """Runs one case on both sides; None, or the words of its failure."""
    options: dict[str, object] = {} if case.stdin is None else {"stdin": case.stdin}
    try:
        assert_same(*run_both(case.argv, **options), case.expect)
    except AssertionError as error:
        return str(error)
    return None


def assert_all_same(cases: Iterable[Case], show: int = 5) -> None:
    """Runs a batch over all processors; fails with how many differ and the first few of them."""
    with ThreadPoolExecutor(max_workers=PROCESSORS) as pool:
        results = list(pool.map(check, cases))
    assert results, "an empty batch proves nothing"
    failures = [text for text in results if text]
    assert not failures, "\n\n".join([f"{len(failures)} of {len(results)} differ; the first:", *failures[:show]])


def stop_signal(run_: Run, number: int = signal.SIGINT) -> Outcome:
    """Ends a running tool the way its user would."""
    run_.signal(number)
    return run_.finish(timeout=20)
