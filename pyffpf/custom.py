# SPDX-License-Identifier: BSD-3-Clause
"""Filter classes written in Python, for flows of this process. One file is all that a new class needs:

    class Portscan(CustomFilter):
        name = "portscan"
        summary = "lets packets of hosts that knock at more than N ports pass"
        arguments = "N"

        def __init__(self, arguments: str) -> None:
            self.limit = int(arguments)          # ValueError: refused, with its text and the place
            self.ports: dict[int, set[int]] = {}

        def filter(self, batch):                 # results (n,): 0 turns a packet away
            fields = batch.fields("ip.src", "tcp.dport")
            ...

Known to every graph of the machine by an entry point of the package that has it, in pyproject.toml:

    [project.entry-points."ffpf.classes"]
    portscan = "my_package.portscan:Portscan"

or to one graph by `graph.add_class(Portscan)`. It is the slow path: the core calls Python once a batch of at most 256
packets, with copies of them, while it holds the graph: a filter must not call its own graph.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from pyffpf import descriptors, mbufs
from pyffpf._core import ffi, lib

if TYPE_CHECKING:
    from pyffpf.batch import Batch
    from pyffpf.graph import Graph

GROUP = "ffpf.classes"


class CustomFilter:
    """What a class in Python is. One object is one instance in the graph."""

    name: ClassVar[str]  # as in graph text
    summary: ClassVar[str] = ""
    arguments: ClassVar[str] = ""  # one line of usage
    mbuf: ClassVar[np.dtype[Any] | None] = None  # layout of its MBuf; None: it has none

    def __init__(self, arguments: str) -> None:
        """The expression of the graph text. Raise ValueError when it means nothing. Also made for instances that turn
        out to be there already: what costs something belongs into `open`."""
        if arguments.strip():
            raise ValueError(f"{self.name} takes no arguments")

    @property
    def canonical(self) -> str | None:
        """The arguments in a form that equal instances have in common; None: as they were written."""
        return None

    def open(self, memory: npt.NDArray[Any] | None) -> None:
        """memory: its MBuf, an array () of the dtype `mbuf`, zeros unless the application filled it."""

    def filter(self, batch: Batch) -> npt.NDArray[Any] | None:
        """Results (n,) of the packets, 0 turns one away; None: all pass, with the results that they had."""
        raise NotImplementedError

    def tick(self, now_ns: int) -> None:
        """Time has passed; of files and hooks the packets' time."""

    def flush(self) -> None:
        """The input ended, or the flow closes. May be called more than once."""

    def report(self) -> Mapping[str, Any]:
        """Its results: numbers, texts, and lists of such mappings."""
        return {}

    def close(self) -> None:
        """It is not needed any more."""


@cache
def installed() -> dict[str, Any]:
    """Entry points of the group, by the name of the class."""
    return {point.name: point for point in entry_points(group=GROUP)}


class Registration:
    """A class in Python as a struct ffpf_class, for one graph; lives as long as that."""

    def __init__(self, graph: Graph, kind: type[CustomFilter]) -> None:
        self._core = weakref.ref(graph.core)  # which has this: it must not live on by it
        self._kind = kind
        self._instances: dict[int, CustomFilter] = {}  # by the core's address of the instance
        if kind.mbuf is not None:
            mbufs.REGISTERED[kind.name] = kind.mbuf
        texts = [ffi.new("char[]", word.encode()) for word in (kind.name, kind.summary, kind.arguments)]
        calls = {
            "parse": ffi.callback("int (*)(void *, struct ffpf_class_args *, struct ffpf_error *)", self._parse),
            "open": ffi.callback("int (*)(void *, const struct ffpf_class_env *, struct ffpf_error *)", self._opened),
            "filter_batch": ffi.callback("void (*)(void *, const struct ffpf_node_pkt *, uint32_t, uint32_t *)",
                                         self._filter),
            "tick": ffi.callback("void (*)(void *, uint64_t)", self._tick),
            "flush": ffi.callback("int (*)(void *, struct ffpf_error *)", self._flush),
            "describe": ffi.callback("void (*)(const void *, struct ffpf_report *)", self._describe),
            "close": ffi.callback("void (*)(void *)", self._close),
        }  # fmt: skip
        self.struct = ffi.new(
            "struct ffpf_class *",
            {
                "name": texts[0], "summary": texts[1], "arguments": texts[2], "levels": lib.FFPF_LEVEL_USERSPACE,
                "instance_bytes": 1, "mbuf_bytes": kind.mbuf.itemsize if kind.mbuf is not None else 0, **calls,
            },
        )  # fmt: skip
        self._kept = (texts, calls)

    def _of(self, instance: Any) -> CustomFilter:
        return self._instances[int(ffi.cast("uintptr_t", instance))]

    def _parse(self, instance: Any, args: Any, error: Any) -> int:
        try:
            made = self._kind(bytes(ffi.string(args.text)).decode())
            canonical = made.canonical
        except Exception as refusal:
            words = str(refusal) or type(refusal).__name__
            return int(lib.ffpf_args_fail(args, 0, error, b"%s", ffi.new("char[]", words.encode())))
        if canonical is not None:
            octets = canonical.encode()
            lib.ffpf_text_add_octets(ffi.addressof(args[0], "canonical"), octets, len(octets))
        self._instances[int(ffi.cast("uintptr_t", instance))] = made
        return 0

    def _opened(self, instance: Any, env: Any, error: Any) -> int:
        try:
            memory = mbufs.array(self._kind.name, ffi.buffer(env.mbuf, env.mbuf_bytes)) if env.mbuf_bytes else None
            self._of(instance).open(memory)
        except BaseException as failure:
            self._failed(failure)
            args = ffi.new("struct ffpf_class_args *")
            words = f"{self._kind.name}: {failure}"
            return int(lib.ffpf_args_fail(args, 0, error, b"%s", ffi.new("char[]", words.encode())))
        return 0

    def _filter(self, instance: Any, packets: Any, count: int, results: Any) -> None:
        """What raises turns the batch away; whoever drives the graph gets the exception."""
        out = np.frombuffer(ffi.buffer(results, 4 * count), np.uint32)
        out[:] = 0
        with self._held():
            try:
                at = 0
                for batch in descriptors.batches_of_nodes(packets, count):
                    found = self._of(instance).filter(batch)
                    out[at : at + len(batch)] = batch.rows["result"] if found is None else found
                    at += len(batch)
            except BaseException as failure:
                self._failed(failure)

    def _tick(self, instance: Any, now_ns: int) -> None:
        self._quietly(lambda: self._of(instance).tick(now_ns))

    def _flush(self, instance: Any, error: Any) -> int:
        self._quietly(lambda: self._of(instance).flush())
        return 0

    def _describe(self, instance: Any, report: Any) -> None:
        self._quietly(lambda: tell(report, self._of(instance).report()))

    def _close(self, instance: Any) -> None:
        self._quietly(lambda: self._instances.pop(int(ffi.cast("uintptr_t", instance))).close())

    def _quietly(self, call: Any) -> None:
        with self._held():
            try:
                call()
            except BaseException as failure:
                self._failed(failure)

    def _held(self) -> AbstractContextManager[None]:
        core = self._core()
        return core.held() if core else nullcontext()

    def _failed(self, failure: BaseException) -> None:
        core = self._core()
        if core:
            core.failures.append(failure)


def tell(report: Any, facts: Mapping[str, Any]) -> None:
    """Writes facts, as CustomFilter.report has them, into a struct ffpf_report that was begun."""
    for key, value in facts.items():
        name = ffi.new("char[]", key.encode())
        if isinstance(value, str):
            lib.ffpf_report_text(report, name, value.encode())
        elif isinstance(value, bool | int | np.integer) and value >= 0:
            lib.ffpf_report_uint(report, name, int(value))
        elif isinstance(value, int | float | np.integer | np.floating):
            lib.ffpf_report_real(report, name, float(value))
        else:
            lib.ffpf_report_list(report, name)
            for item in value:
                lib.ffpf_report_item(report)
                tell(report, item)
                lib.ffpf_report_end(report)
            lib.ffpf_report_end(report)
