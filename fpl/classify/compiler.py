# SPDX-License-Identifier: BSD-3-Clause
"""The compiler process as its owner sees it: a call that returns eBPF, or raises, and never hangs or dies.

The process is kept, since its start takes longer than a compilation; after its death, and before its memory has grown
to the limit, the next call starts another.
Of programs made of functions, each function is compiled by itself, and kept: the next program that has it finds it.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import selectors
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fpl.classify.bytecode import ClassifyRefused
from fpl.classify.link import LinkError, Object, link

SECONDS = 5  # of processor time
START_S = 60  # until the process has loaded LLVM and answered once, on a machine that is slow or has much to do
MEMORY_BYTES = 2 << 30
WORDS_SHOWN = 300
RENEWED = 1000  # modules that a process compiles: its memory grows by 0.25 MB with each, in LLVM's passes
KEPT_MAX = 512  # objects, of some kilobytes each
ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Module:
    """LLVM IR of one function, in section "program", that is called ENTRY (backend.py); and bitcode that it calls."""

    text: str
    library: bytes = b""

    @property
    def key(self) -> bytes:
        return hashlib.sha256(self.text.encode() + b"\0" + self.library).digest()


class Compiler:
    def __init__(self, seconds: int = SECONDS, memory_bytes: int = MEMORY_BYTES) -> None:
        self._seconds, self._memory_bytes = seconds, memory_bytes
        self._child: subprocess.Popen[bytes] | None = None
        self._answered, self._given = False, 0  # by and to the process that there is now: an answer, modules
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as this object)
        self._lock = threading.Lock()  # classifiers of several sources may share one
        self._objects: dict[bytes, Object] = {}  # by content, the last used behind
        self.count = 0  # modules compiled

    def _start(self) -> subprocess.Popen[bytes]:
        self._words.seek(0)
        self._words.truncate()
        command = [sys.executable, "-m", "fpl.classify.backend", str(self._seconds), str(self._memory_bytes)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words, cwd=ROOT,
                                bufsize=0)  # fmt: skip

    def warm(self) -> None:
        """Starts the process, so that the first compilation need not wait for it."""
        with self._lock:
            self._warm()

    def _warm(self) -> None:
        if self._child is None:
            self._child = self._start()
            self._answered, self._given = False, 0

    def compile(self, text: str, library: bytes = b"", functions: Mapping[str, Module] | None = None) -> bytes:
        """eBPF of an LLVM module, and of what it calls of a library of bitcode. functions: those that the text only
        declares, by name. Raises ClassifyRefused when LLVM says no, dies, or takes too long."""
        with self._lock:
            try:
                if not functions:
                    return link(self._compile(text, library), {})
                main = self._known(Module(text, library))
                return link(main, {name: self._known(function) for name, function in functions.items()})
            except LinkError as error:
                raise ClassifyRefused(f"the compiler refused: {error}") from None

    def _known(self, module: Module) -> Object:
        """Compiled now, or before."""
        found = self._objects.get(module.key) or self._compile(module.text, module.library)
        self._keep(module.key, found)
        return found

    def _keep(self, key: bytes, made: Object) -> None:
        """Behind all others."""
        self._objects.pop(key, None)
        self._objects[key] = made
        if len(self._objects) > KEPT_MAX:
            del self._objects[next(iter(self._objects))]

    def learn(self, module: Module, other: Compiler) -> None:
        """Has another compile a function, for compile() to find: what takes long keeps nobody waiting who needs this
        one. Raises as compile() does."""
        key = module.key
        with self._lock:
            if key in self._objects:
                return
        with other._lock:
            made = other._known(module)
        with self._lock:
            self._keep(key, made)

    def _compile(self, text: str, library: bytes) -> Object:
        if self._given >= RENEWED:
            self._buried()
        self._warm()
        assert self._child is not None
        self.count += 1
        self._given += 1
        octets = text.encode()
        try:
            assert self._child.stdin is not None
            self._child.stdin.write(struct.pack("<II", len(octets), len(library)) + octets + library)
            patience = 2 * self._seconds + 5  # less than a processor to itself
            deadline = time.monotonic() + (patience if self._answered else max(patience, START_S))
            status, size = struct.unpack("<BI", self._read(5, deadline))
            answer = self._read(size, deadline)
            self._answered = True
        except (EOFError, BrokenPipeError):
            raise ClassifyRefused(f"the compiler died ({self._buried()})") from None
        except TimeoutError:
            self._buried()
            raise ClassifyRefused(f"the compiler took more than {self._seconds} seconds") from None
        if status != 0:
            raise ClassifyRefused(f"the compiler refused: {answer.decode(errors='replace')[:WORDS_SHOWN]}")
        return Object.unpacked(answer)

    @property
    def pid(self) -> int | None:
        """Of the process that there is now."""
        return self._child.pid if self._child is not None else None

    def interrupt(self) -> None:
        """From another thread: what is being compiled is given up, as by the process's death."""
        child = self._child
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()

    def _read(self, size: int, deadline: float) -> bytes:
        assert self._child is not None
        assert self._child.stdout is not None
        got = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            while len(got) < size:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                octets = self._child.stdout.read(size - len(got))
                if not octets:
                    raise EOFError
                got += octets
        return got

    def _buried(self) -> str:
        """Ends the process; how it ended, and its last words."""
        child, self._child = self._child, None
        if child is None:
            return ""
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        try:
            code = child.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait()
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").strip().splitlines()
        said = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "no word")
        return f"{f'signal {-code}' if code < 0 else f'exit code {code}'}: {said[:WORDS_SHOWN]}"

    def close(self) -> None:
        self._buried()
        self._words.close()


class Compilers:
    """Several, for who has time: as many are at work at once, and the next waits."""

    def __init__(self, *compilers: Compiler) -> None:
        self._all = compilers
        self._idle: queue.SimpleQueue[Compiler] = queue.SimpleQueue()
        for compiler in compilers:
            self._idle.put(compiler)

    @contextlib.contextmanager
    def one(self) -> Iterator[Compiler]:
        compiler = self._idle.get()
        try:
            yield compiler
        finally:
            self._idle.put(compiler)

    def close(self) -> None:
        """None is at work."""
        for compiler in self._all:
            compiler.close()
