# SPDX-License-Identifier: BSD-3-Clause
"""Captures: interfaces and savefiles, read as packets or as columns."""

from __future__ import annotations

import sys
import time
import warnings
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from pyffpf import fields as _fields
from pyffpf._core import ffi, lib
from pyffpf.arrow import ArrowStream
from pyffpf.batch import ROW, Batch, Octets
from pyffpf.closing import Closing
from pyffpf.counts import Counter
from pyffpf.errors import BadFile, Closed, FfpfError, check, exception_of, new_error
from pyffpf.filters import compile_text
from pyffpf.packet import Packet
from pyffpf.sources import SNAPLEN_MAX, LiveOptions, Opened, open_source
from pyffpf.statistics import Statistics, statistics_of

BATCH_ROWS = 4096
PACKET_ROWS = 512  # where packets are handed out one by one: their octets are objects, which should stay in the cache
COLUMN_ROWS = 16384
OCTETS_BYTES = 2 * 1024 * 1024  # of a batch that is copied: about what the second-level cache and the third can keep
OCTETS_A_ROW = 512  # that are kept for each row of a table; larger packets make fewer rows
DIRECTIONS = {"inout": lib.FFPF_DIR_INOUT, "in": lib.FFPF_DIR_IN, "out": lib.FFPF_DIR_OUT}


class Totals(NamedTuple):
    """What Capture.count counted."""

    packets: int
    caplen: int  # octets captured
    len: int  # octets on the wire


class Capture(Closing):
    """A source of packets that is open. `pyffpf.open` makes it; `with` closes it.

    One thread at a time may use it: a second one gets Busy, as does a process that was forked off. Only `stop` may be
    called from anywhere. Waits end on signals, so Ctrl-C works in all of them, and other threads run meanwhile.
    """

    def __init__(self, opened: Opened) -> None:
        """Takes over what was opened, also when it fails."""
        out, error = ffi.new("struct ffpf_pull **"), new_error()
        self._closed = True  # for __del__, until there is something to close
        check(lib.ffpf_pull_create(out, opened.reader, opened.file, opened.stream, error), error, opened.name)
        self._pull = ffi.gc(out[0], lib.ffpf_pull_drop)
        self.name = opened.name
        self._closed = False
        self._opened = opened
        self._link_type = int(self._info().link_type)
        self._arenas: dict[str, npt.NDArray[Any]] = {}
        self.engine = opened.engine
        self.live = opened.live
        self.streams = opened.stream  # a pipe or the like: reads wait for it, whatever the timeout
        self._filter = ""
        self._lent: weakref.ref[Batch] | None = None

    def _call(self, function: Any, *arguments: Any) -> int:
        """A function of csrc/columns/pull.h on our pull, checked."""
        error = new_error()
        return check(function(self._pull, *arguments, error), error, self.name)

    # ---- facts ----

    def _info(self) -> Any:
        info = ffi.new("struct ffpf_reader_info *")
        self._call(lib.ffpf_pull_info, info)
        return info

    @property
    def link_type(self) -> int:
        """DLT_ value of the packets."""
        return int(self._info().link_type)

    @property
    def link_types(self) -> list[int]:
        """What set_link_type can choose from; empty when there is no choice."""
        info = self._info()
        return [info.link_types[i] for i in range(info.link_type_count)]

    @property
    def snaplen(self) -> int:
        """Octets captured of a packet, at most."""
        return int(self._info().snap_len)

    @property
    def closed(self) -> bool:
        """Whether close was called."""
        return self._closed

    @property
    def filter(self) -> str:
        """The text of the filter in force; empty: every packet."""
        return self._filter

    @property
    def statistics(self) -> Statistics:
        """Packets until now, with every cause of loss."""
        counters = ffi.new("struct ffpf_counters *")
        self._call(lib.ffpf_pull_counters, counters)
        return statistics_of(counters)

    def fileno(self) -> int:
        """A descriptor for select and the like: readable while a read would not wait. Not to be read from.

        Of a savefile the file itself. Raises Closed.
        """
        fd = int(lib.ffpf_pull_poll_fd(self._pull))
        if fd < 0:
            raise Closed(f"{self.name}: the capture is closed")
        return fd

    # ---- settings ----

    def set_filter(self, text: str) -> None:
        """From now on only packets that pass the filter are read, also of those that have come already.

        text: as for tcpdump; "" lets everything pass. Raises BadFilter, and leaves the filter as it was.
        """
        self._release_lent()
        info = self._info()
        program = ffi.NULL
        if text.strip():
            program = compile_text(text, info.link_type, min(info.snap_len or SNAPLEN_MAX, 2**31 - 1),
                                   self._opened.form)  # fmt: skip
        try:
            self._call(lib.ffpf_pull_set_filter, program)
        except FfpfError:
            lib.ffpf_bpf_prog_destroy(program)
            raise
        self._filter = text

    def set_direction(self, direction: str) -> None:
        """ "in", "out" or "inout", of live captures. Raises NotSupported for savefiles."""
        if direction not in DIRECTIONS:
            raise ValueError(f"no direction {direction!r}: in, out or inout")
        self._call(lib.ffpf_pull_set_direction, DIRECTIONS[direction])

    def set_link_type(self, link_type: int) -> None:
        """One of `link_types`. Raises NotSupported where there is no choice. The filter is set again."""
        self._call(lib.ffpf_pull_set_link_type, link_type)
        self._link_type = int(self._info().link_type)
        self.set_filter(self._filter)

    # ---- reading ----

    def _read(self, want: Any, deadline: float | None = None) -> bool:
        """One pull, repeated until it gives rows, or the deadline (of time.monotonic) has passed. False: the end."""
        self._release_lent()
        error = new_error()
        while True:
            outcome = lib.ffpf_pull_next(self._pull, want, error)
            if outcome == lib.FFPF_BATCH:
                return True
            if outcome == lib.FFPF_END:
                for action in self._opened.at_end:
                    action()
                return False
            if outcome == lib.FFPF_FAILED:
                self._explain(exception_of(error, self.name))
            want.count = 0
            if outcome == lib.FFPF_WOULD_BLOCK or (deadline is not None and time.monotonic() >= deadline):
                return True
            # FFPF_TIMEOUT and FFPF_INTERRUPTED: Python has run signal handlers before it comes back here

    def _explain(self, failure: FfpfError) -> NoReturn:
        if isinstance(failure, BadFile):
            for action in self._opened.at_end:  # why a stream ended too early, where that is known
                action()
        raise failure

    def _wait(self, want: Any, timeout: float | None) -> bool:
        if timeout is None or not self.live:
            return self._read(want)
        if timeout > 0:
            return self._read(want, time.monotonic() + timeout)
        self._call(lib.ffpf_pull_set_nonblock, True)
        try:
            return self._read(want)
        finally:
            self._call(lib.ffpf_pull_set_nonblock, False)

    def _arena(self, name: str, size: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Memory that nobody else has a view of: that of the batch before, when it is not in use any more."""
        arena = self._arenas.pop(name, None)
        # the variable and the argument of getrefcount; views have the arena as their base
        if arena is None or len(arena) < size or sys.getrefcount(arena) > 2:
            arena = np.empty(size, dtype)
        self._arenas[name] = arena
        return arena

    def read_batch(
        self, size: int = BATCH_ROWS, *, octets: bool = True, copy: bool = True, timeout: float | None = None
    ) -> Batch | None:
        """Up to `size` packets that are there, as a Batch; None at the end, or after stop.

        Waits until there is one, or for `timeout` seconds (0: not at all), after which the batch is empty; the wait of
        a live capture ends up to `delay` seconds late, and savefiles know no timeout.

        octets=False leaves out the packets' octets: only `rows`. copy=False does not copy them: they are read where
        the reader has them (of a live capture with slow reader preference, in the buffer that all share), some hundred
        at a time. They leave the batch with the next read, with batch.release(), or at the end of `with batch:`; and
        while a view of them lives, the capture cannot go on: reads raise StillViewed. With fast reader preference the
        buffer does not wait for readers: there the batch has octets only within `with batch:`, and if packets were
        overwritten before its end, that raises Lapped with their row numbers. They are counted as lapped.

        batch.octets then reaches from the first packet to the last, wherever these lie: of live captures what is
        between packets may be anybody's, or not be there at all. batch.view, headers, fields and packets know.
        """
        rows = self._arena("rows", size, ROW)
        want = ffi.new("struct ffpf_rows *", {"room": size, "in_place": octets and not copy})
        want.rows = ffi.cast("struct ffpf_row *", rows.ctypes.data)
        arena = self._octets(want, OCTETS_BYTES) if octets and copy else None
        if not self._wait(want, timeout):
            return None
        if want.octets_needed:  # a packet that is larger than all that were thought of
            arena = self._octets(want, want.octets_needed)
            if not self._wait(want, timeout):
                return None
        rows = rows[: want.count]
        if arena is not None:
            return Batch(rows, arena[: want.octets_used], self._link_type)
        if not want.in_place:
            return Batch(rows, None, self._link_type)
        overwritten = self._overwritten if want.races else None
        batch = Batch.in_place(rows, self._in_place(rows, want), self._link_type, overwritten)
        self._lent = weakref.ref(batch)
        return batch

    def _octets(self, want: Any, size: int) -> Octets:
        """Memory for copies of the packets."""
        arena = self._arena("octets", size, np.uint8)
        want.octets = ffi.cast("uint8_t *", arena.ctypes.data)
        want.octets_room = len(arena)
        return arena

    def _in_place(self, rows: npt.NDArray[Any], want: Any) -> Octets:
        """The reader's own memory, read-only. What it is views of counts as a view until the last of them goes."""
        if not want.count:
            return np.empty(0, np.uint8)
        lowest = int(rows["offset"].min())
        rows["offset"] -= lowest
        length = int((rows["offset"] + rows["caplen"]).max())
        self._call(lib.ffpf_pull_view)
        pull = self._pull
        memory = ffi.gc(ffi.cast("uint8_t *", want.base) + lowest, lambda _: lib.ffpf_pull_forget(pull))
        octets: Octets = np.frombuffer(ffi.buffer(memory, length), np.uint8)
        octets.flags.writeable = False
        return octets

    def _overwritten(self, n: int) -> npt.NDArray[Any]:
        """Which of the n packets that the last read left in place have been overwritten by now: row numbers."""
        marks = np.zeros(n, np.uint8)
        self._call(lib.ffpf_pull_overwritten, ffi.from_buffer("uint8_t[]", marks))
        return np.flatnonzero(marks)

    def _release_lent(self) -> None:
        """The batch before, if it was not copied, has nothing to do with the reader any more."""
        batch = self._lent() if self._lent is not None else None
        self._lent = None
        if batch is not None:
            batch.release()

    def batches(self, size: int = BATCH_ROWS, *, octets: bool = True, copy: bool = True) -> Iterator[Batch]:
        """read_batch until the end."""
        while (batch := self.read_batch(size, octets=octets, copy=copy)) is not None:
            yield batch
            del batch  # its memory can be used again, unless somebody else has it

    async def __aiter__(self) -> AsyncIterator[Packet]:
        """`async for packet in capture`; pyffpf.aio has batches."""
        from pyffpf.aio import packets

        async for packet in packets(self):
            yield packet

    def __iter__(self) -> Iterator[Packet]:
        """The packets one after the other, until the end, or stop."""
        return chain.from_iterable(self.batches(PACKET_ROWS))

    def headers(self, n: int, size: int = COLUMN_ROWS) -> Iterator[Octets]:
        """The first n octets of all packets, as arrays (up to size, n) until the end; what is not there is 0.

        They are gathered as they are read: packets are copied no further than that.
        """
        if n < 1:
            raise ValueError("headers of at least one octet")
        while True:
            heads = self._arena("heads", size * n, np.uint8)[: size * n].reshape(size, n)
            want = ffi.new("struct ffpf_rows *", {"room": size, "head_bytes": n})
            want.heads = ffi.cast("uint8_t *", heads.ctypes.data)
            if not self._read(want):
                return
            yield heads[: want.count]
            del heads

    def columns(self, *names: str, size: int = COLUMN_ROWS) -> Iterator[Mapping[str, np.ma.MaskedArray[Any, Any]]]:
        """Fields of all packets, as Batch.fields has them, up to `size` packets at a time until the end.

        They are taken as the packets are read: nothing else is copied.
        """
        while True:
            columns = _fields.Columns(names, size, lambda name, octets: self._arena(name, octets, np.uint8))
            want = ffi.new("struct ffpf_rows *", {"room": size, "column_count": len(names)})
            want.columns = columns.struct
            if not self._read(want):
                return
            yield columns.arrays(want.count)
            del columns

    def counts(self, *names: str, most: int = 0, size: int = COLUMN_ROWS) -> npt.NDArray[Any]:
        """Packets and octets by the value of a field, or the values of several, of all packets until the end.

        A structured array (values,): the names, "packets", and "octets" on the wire; most packets first. most: only
        the first so many, 0: all. Packets that lack one of the fields count nowhere. Raises KeyError for no field.
        """
        counter = Counter(names)
        columns = _fields.Columns((*names, "frame.len"), size)
        want = ffi.new("struct ffpf_rows *", {"room": size, "column_count": len(names) + 1})
        want.columns = columns.struct
        while self._read(want):
            counter.add(columns, want.count)
        return counter.result(most)

    def count(self, packets: int = 0) -> Totals:
        """Reads to the end, or `packets` of them (0: all), and only counts."""
        total = Totals(0, 0, 0)
        want = ffi.new("struct ffpf_rows *")
        while not packets or total.packets < packets:
            want.room = min(packets - total.packets if packets else 1 << 20, 1 << 20)
            if not self._read(want):
                break
            total = Totals(total.packets + want.count, total.caplen + want.caplen_sum, total.len + want.len_sum)
        return total

    def loop(self, callback: Callable[[Packet], object], count: int = 0) -> int:
        """Calls callback(packet) for every packet, `count` of them (0: until the end, or stop); how many.

        What the callback raises ends the loop, and is raised here.
        """
        done = 0
        while not count or done < count:
            batch = self.read_batch(min(count - done, BATCH_ROWS) if count else BATCH_ROWS)
            if batch is None:
                break
            for packet in batch:
                callback(packet)
                done += 1
        return done

    def arrow(self, *names: str, data: bool = False, size: int = COLUMN_ROWS) -> ArrowStream:
        """What is left of the packets as a table for pyarrow, polars, duckdb or pandas; see ArrowStream.

        names: fields; data: the packets' octets too; size: rows of a batch, at most. Raises KeyError for no field.
        """
        return ArrowStream(self, names, size, size * OCTETS_A_ROW if data else 0)

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        """The capture itself as a table: rows and octets."""
        return self.arrow(data=True).__arrow_c_stream__(requested_schema)

    @property
    def pull(self) -> Any:
        """The core's `struct ffpf_pull *`, for other parts of pyffpf. Raises Closed."""
        if self._closed:
            raise Closed(f"{self.name}: the capture is closed")
        return self._pull

    def send(self, octets: bytes) -> int:
        """Sends a packet, link header included, on a live capture's interface; octets sent."""
        return self._call(lib.ffpf_pull_inject, octets, len(octets))

    # ---- the end ----

    def stop(self) -> None:
        """Ends all reading, now and later, as if there were no more packets. From any thread, or a signal handler.

        A thread that waits for a pipe notices within a quarter of a second.
        """
        lib.ffpf_pull_stop(self._pull)

    def close(self) -> None:
        """Ends the capture; a second call does nothing. Raises Busy while another thread is reading: stop it first.

        Views of packets in place keep their memory until the last of them goes.
        """
        if self._closed:
            return
        self._release_lent()
        self._call(lib.ffpf_pull_close)
        self._closed = True

    def __del__(self) -> None:
        if not self._closed:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        state = " closed" if self._closed else ""
        return f"<Capture {self.name!r} {self.engine}{state}>"


def open(
    source: Any,
    filter: str = "",
    *,
    engine: str = "auto",
    snaplen: int = SNAPLEN_MAX,
    promisc: bool = True,
    immediate: bool = False,
    delay: float = 0.1,
    buffer_size: int = 0,
    group: str | None = None,
    direction: str = "inout",
) -> Capture:
    """Opens a source of packets.

    source: a name of an interface, "any", or of a source that ffpfd has; a path of a pcap or pcapng file or of a pipe
    (a str with a slash, or that begins with "file:", or for which there is a file and no interface; or a Path); "-",
    standard input; a savefile as bytes; or a file object that gives octets.

    filter: as for tcpdump; packets that do not pass are never seen.

    The rest is for interfaces. engine: "shared" captures by ffpfd, "embedded" in this process, which needs
    CAP_NET_RAW; "auto" takes ffpfd where it is and grants the request. snaplen: octets captured of a packet, at most.
    promisc: also packets for others. immediate: wake for every packet. delay: seconds that packets may wait to be
    delivered together. buffer_size: octets of the kernel's ring, 0 for 2 MiB (embedded). group: the flow group at
    ffpfd, None for the caller's own. direction: "in", "out", "inout".

    Raises NoSuchDevice, NotPermitted, DeviceGone, Denied, NoServer, NotSupported, BadFile, BadFilter, and OSError for
    files that cannot be opened.
    """
    options = LiveOptions(snaplen, promisc, immediate, delay, buffer_size, group)
    capture = Capture(open_source(source, engine, options))
    try:
        if filter.strip():
            capture.set_filter(filter)
        if direction != "inout":
            capture.set_direction(direction)
    except BaseException:
        capture.close()
        raise
    return capture
