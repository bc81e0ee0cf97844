# SPDX-License-Identifier: BSD-3-Clause
"""One instance of a filter class without a graph, for tests: packets in, results, MBuf and report out.

with Instance("topk", "k=3 of=ip.src") as top:
    top.read(Path("a.pcap"))
    print(top.report(), top.mbuf["total"])
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy.typing as npt
from pyffpf._core import ffi, lib

from pyffpf import mbufs

DLT_EN10MB = 1
ALL = 0xFFFFFFFF
A_SECOND = 1_000_000_000


class RefusedError(Exception):
    """parse() or open() said no. at: the octet of the arguments that it is about."""

    def __init__(self, text: str, at: int) -> None:
        super().__init__(text)
        self.at = at


@dataclass(frozen=True)
class Packet:
    data: bytes
    ts_ns: int = 0
    wire_len: int | None = None  # None: as long as data
    result: int = ALL


def class_names() -> list[str]:
    return [ffi.string(lib.ffpf_classes[i].name).decode() for i in range(lib.ffpf_class_count)]


def find(name: str) -> Any:
    return lib.ffpf_classes[class_names().index(name)]


class Instance:
    """parse() in the constructor, open() on entering, flush() when asked, close() on leaving."""

    def __init__(self, name: str, arguments: str = "", octets: int = 0, link_type: int = DLT_EN10MB) -> None:
        self.name = name
        self.kind = find(name)
        self.memory = ffi.new("uint64_t[]", max(1, (self.kind.instance_bytes + 7) // 8))
        self._text = ffi.new("char[]", arguments.encode())
        self._args = ffi.new("struct ffpf_class_args *")
        self._args.text = self._text
        self._args.mbuf_bytes = octets or self.kind.mbuf_bytes
        self._link_types = ffi.new("uint32_t[]", [link_type])
        self._forms = ffi.new("uint16_t[]", 1)  # that of savefiles
        self._dropped = ffi.new("uint64_t *")
        self._error = ffi.new("struct ffpf_error *")
        self.opened = False
        parse = self.kind.parse
        refused = parse(self.memory, self._args, self._error) if parse else lib.ffpf_args_none(self._args, self._error)
        if refused:
            raise RefusedError(ffi.string(self._error.text).decode(errors="replace"), self._args.error_at)
        self.canonical = ffi.string(lib.ffpf_text_get(ffi.addressof(self._args, "canonical"))).decode()
        lib.ffpf_text_free(ffi.addressof(self._args, "canonical"))
        self.octets = int(self._args.mbuf_bytes)
        self._mbuf = ffi.new("uint64_t[]", max(1, (self.octets + 7) // 8))

    def __enter__(self) -> Instance:
        self._env = ffi.new("struct ffpf_class_env *")
        self._env.mbuf = self._mbuf
        self._env.mbuf_bytes = self.octets
        self._env.link_types = self._link_types
        self._env.link_type_count = 1
        self._env.forms = self._forms
        self._env.snap_len = 262144
        self._env.offline = True
        self._env.dropped = self._dropped
        if self.kind.open and self.kind.open(self.memory, self._env, self._error):
            self.close()
            raise RefusedError(ffi.string(self._error.text).decode(errors="replace"), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Legal at any time after the constructor."""
        if self.kind.close and self.memory is not None:
            self.kind.close(self.memory)
        self.memory = None

    @property
    def dropped(self) -> int:
        return int(self._dropped[0])

    @property
    def mbuf(self) -> npt.NDArray[Any]:
        """() of the class's dtype: the memory itself."""
        return mbufs.array(self.name, ffi.buffer(self._mbuf, self.octets))

    def filter(self, packets: Sequence[Packet]) -> list[int]:
        """One batch; its classification results."""
        keep = [ffi.from_buffer("uint8_t[]", packet.data) for packet in packets]
        described = ffi.new("struct ffpf_packet[]", len(packets))
        for one, packet, data in zip(described, packets, keep, strict=True):
            one.data, one.cap_len = data, len(packet.data)
            one.wire_len = len(packet.data) if packet.wire_len is None else packet.wire_len
            one.result = ALL
        times = [(packet.ts_ns, packet.result) for packet in packets]
        return self._batch(described, times)

    def read(self, path: Path, begin: int = 0, end: int | None = None) -> list[int]:
        """All packets of a savefile, or those from begin to end - 1, in the batches in which they are read."""
        results: list[int] = []
        number = 0
        stream = lib.fopen(str(path).encode(), b"rb")
        assert stream != ffi.NULL, path
        config = ffi.new("struct ffpf_savefile_config *", {"tick": lib.FFPF_WANT_NS})
        out = ffi.new("struct ffpf_reader **")
        assert lib.ffpf_savefile_open(out, stream, config, self._error) == 0, ffi.string(self._error.text)
        reader, batch = out[0], ffi.new("struct ffpf_batch *")
        self._link_types[0] = reader.info.link_type
        while reader.ops.next(reader, batch) == lib.FFPF_BATCH:
            first = max(begin - number, 0)
            last = batch.count if end is None else max(min(end - number, batch.count), first)
            times = [(p.ts_sec * A_SECOND + p.ts_frac, ALL) for p in ffi.unpack(batch.pkts, batch.count)[first:last]]
            if times:
                results += self._batch(batch.pkts + first, times)
            number += batch.count
            reader.ops.release(reader, batch.count)
        reader.ops.close(reader)
        lib.fclose(stream)
        return results

    def _batch(self, described: Any, times: Sequence[tuple[int, int]]) -> list[int]:
        count = len(times)
        nodes = ffi.new("struct ffpf_node_pkt[]", count)
        for i, (ts_ns, result) in enumerate(times):
            nodes[i].pkt, nodes[i].ts_ns, nodes[i].result = described + i, ts_ns, result
            nodes[i].link_type = self._link_types[0]
        results = ffi.new("uint32_t[]", count)
        if self.kind.filter_batch:
            self.kind.filter_batch(self.memory, nodes, count, results)
        else:
            for i in range(count):
                results[i] = self.kind.filter(self.memory, nodes + i)
        if self.kind.tick and count:
            self.kind.tick(self.memory, max(ts_ns for ts_ns, _ in times))
        return list(results)

    def flush(self) -> None:
        if self.kind.flush:
            assert self.kind.flush(self.memory, self._error) == 0

    def _report(self, form: int) -> str:
        report = ffi.new("struct ffpf_report *")
        lib.ffpf_report_begin(report, form)
        if self.kind.describe:
            self.kind.describe(self.memory, report)
        lib.ffpf_report_finish(report)
        text = ffi.string(lib.ffpf_text_get(ffi.addressof(report, "out"))).decode()
        lib.ffpf_text_free(ffi.addressof(report, "out"))
        return str(text)

    def report(self) -> str:
        return self._report(lib.FFPF_REPORT_TEXT)

    def json(self) -> Any:
        return json.loads(self._report(lib.FFPF_REPORT_JSON))


def ethernet(packets: Iterable[bytes]) -> list[Packet]:
    """Packets a millisecond apart."""
    return [Packet(data, 1_000_000 * i) for i, data in enumerate(packets)]
