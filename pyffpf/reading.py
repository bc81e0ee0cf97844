# SPDX-License-Identifier: BSD-3-Clause
"""How packets are read, one by one or as columns: of captures, of flows and of their nodes alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pyffpf import fields as _fields
from pyffpf._core import ffi, lib
from pyffpf.arrow import ArrowStream
from pyffpf.batch import ROW, Batch, Octets
from pyffpf.counts import Counter
from pyffpf.errors import NotSupported
from pyffpf.packet import Packet
from pyffpf.pulled import Pulled

BATCH_ROWS = 16384
PACKET_ROWS = 512  # where packets are handed out one by one: their octets are objects, which should stay in the cache
COLUMN_ROWS = 16384
OCTETS_BYTES = 2 * 1024 * 1024  # of a batch that is copied: about what the second-level cache and the third can keep
OCTETS_A_ROW = 512  # that are kept for each row of a table; larger packets make fewer rows


class Totals(NamedTuple):
    """What Reading.count counted."""

    packets: int
    caplen: int  # octets captured
    len: int  # octets on the wire


class Reading:
    """What can be read. One thread at a time reads: a second one gets Busy, as does a process that was forked off."""

    def _pulled(self) -> Pulled:
        """What it is read from, opened when it is first needed."""
        raise NotImplementedError

    def read_batch(
        self, size: int = BATCH_ROWS, *, octets: bool = True, copy: bool = True, timeout: float | None = None
    ) -> Batch | None:
        """Up to `size` packets that are there, as a Batch; None at the end, or after stop.

        They are of one link type. Where packets come fast, more than 10,000 in a second, it waits for `size` of them,
        but never until the first is older than the `delay` of capture or graph: waking once for many costs less than
        half of waking for few. Waits until there is one, or for `timeout` seconds (0: not at all), after which the
        batch is empty; the wait of a live capture ends up to `delay` seconds late, and savefiles know no timeout. A
        flow that is not active gives what was queued, and then empty batches.

        octets=False leaves out the packets' octets: only `rows`. copy=False, of captures, does not copy them: they are
        read where the reader has them (of a live capture with slow reader preference, in the buffer that all share),
        some hundred at a time. They leave the batch with the next read, with batch.release(), or at the end of `with
        batch:`; and while a view of them lives, the capture cannot go on: reads raise StillViewed. With fast reader
        preference the buffer does not wait for readers: there the batch has octets only within `with batch:`, and if
        packets were overwritten before its end, that raises Lapped with their row numbers. They are counted as lapped.

        batch.octets then reaches from the first packet to the last, wherever these lie: of live captures what is
        between packets may be anybody's, or not be there at all. batch.view, headers, fields and packets know.
        """
        if size < 1:
            raise ValueError("a batch of at least one packet")
        pulled = self._pulled()
        if not copy and not pulled.can_be_in_place:
            raise NotSupported(f"{pulled.name}: packets of a node are copied, as others wait for their memory")
        rows = pulled.arena("rows", size, ROW)
        want = ffi.new("struct ffpf_rows *", {"room": size, "in_place": octets and not copy})
        want.rows = ffi.cast("struct ffpf_row *", rows.ctypes.data)
        arena = pulled.octets(want, OCTETS_BYTES) if octets and copy else None
        if not pulled.wait(want, timeout):
            return None
        if want.octets_needed:  # a packet that is larger than all that were thought of
            arena = pulled.octets(want, want.octets_needed)
            if not pulled.wait(want, timeout):
                return None
        rows = rows[: want.count]
        if arena is not None:
            return Batch(rows, arena[: want.octets_used], pulled.link_type)
        return pulled.lend(rows, want) if want.in_place else Batch(rows, None, pulled.link_type)

    def batches(self, size: int = BATCH_ROWS, *, octets: bool = True, copy: bool = True) -> Iterator[Batch]:
        """read_batch until the end, or until nothing comes because the flow is not active."""
        while (batch := self.read_batch(size, octets=octets, copy=copy)) is not None and len(batch):
            yield batch
            del batch  # its memory can be used again, unless somebody else has it

    async def __aiter__(self) -> AsyncIterator[Packet]:
        """`async for packet in ...`; pyffpf.aio has batches."""
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
        pulled = self._pulled()
        while True:
            heads = pulled.arena("heads", size * n, np.uint8)[: size * n].reshape(size, n)
            want = ffi.new("struct ffpf_rows *", {"room": size, "head_bytes": n})
            want.heads = ffi.cast("uint8_t *", heads.ctypes.data)
            if not pulled.read(want) or not want.count:
                return
            yield heads[: want.count]
            del heads

    def columns(self, *names: str, size: int = COLUMN_ROWS) -> Iterator[Mapping[str, np.ma.MaskedArray[Any, Any]]]:
        """Fields of all packets, as Batch.fields has them, up to `size` packets at a time until the end.

        They are taken as the packets are read: nothing else is copied.
        """
        pulled = self._pulled()
        while True:
            columns = _fields.Columns(names, size, lambda name, octets: pulled.arena(name, octets, np.uint8))
            want = ffi.new("struct ffpf_rows *", {"room": size, "column_count": len(names)})
            want.columns = columns.struct
            if not pulled.read(want) or not want.count:
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
        pulled = self._pulled()
        while pulled.read(want) and want.count:
            counter.add(columns, want.count)
        return counter.result(most)

    def count(self, packets: int = 0) -> Totals:
        """Reads to the end, or `packets` of them (0: all), and only counts."""
        pulled, total = self._pulled(), Totals(0, 0, 0)
        want = ffi.new("struct ffpf_rows *")
        while not packets or total.packets < packets:
            want.room = min(packets - total.packets if packets else 1 << 20, 1 << 20)
            if not pulled.read(want) or not want.count:
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
            if not batch:
                break
            for packet in batch:
                callback(packet)
                done += 1
        return done

    def arrow(self, *names: str, data: bool = False, size: int = COLUMN_ROWS) -> ArrowStream:
        """What is left of the packets as a table for pyarrow, polars, duckdb or pandas; see ArrowStream.

        names: fields; data: the packets' octets too; size: rows of a batch, at most. Raises KeyError for no field.
        """
        return ArrowStream(self._pulled, names, size, size * OCTETS_A_ROW if data else 0)

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        """What is left as a table: rows and octets."""
        return self.arrow(data=True).__arrow_c_stream__(requested_schema)

    def stop(self) -> None:
        """Ends all reading, now and later, as if there were no more packets. From any thread, or a signal handler.

        A thread that waits for a pipe, or in a graph, notices within a quarter of a second.
        """
        lib.ffpf_pull_stop(self._pulled().pull)
