# SPDX-License-Identifier: BSD-3-Clause
"""Captures: interfaces and savefiles, read as packets or as columns."""

from __future__ import annotations

import warnings
from typing import Any

from pyffpf._core import ffi, lib
from pyffpf.closing import Closing
from pyffpf.errors import Closed, FfpfError, check, new_error
from pyffpf.filters import compile_text
from pyffpf.pulled import Pulled
from pyffpf.reading import Reading
from pyffpf.sources import SNAPLEN_MAX, LiveOptions, Opened, open_source
from pyffpf.statistics import Statistics, statistics_of

DIRECTIONS = {"inout": lib.FFPF_DIR_INOUT, "in": lib.FFPF_DIR_IN, "out": lib.FFPF_DIR_OUT}


class Capture(Reading, Closing):
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
        self._reads = Pulled(
            self._pull, opened.name, times_out=opened.live, in_place=True, linger=opened.linger, at_end=opened.at_end
        )  # fmt: skip
        self.engine = opened.engine
        self.live = opened.live
        self.streams = opened.stream  # a pipe or the like: reads wait for it, whatever the timeout
        self._filter = ""

    def _pulled(self) -> Pulled:
        return self._reads

    def _call(self, function: Any, *arguments: Any) -> int:
        return self._reads.call(function, *arguments)

    # ---- facts ----

    @property
    def link_type(self) -> int:
        """DLT_ value of the packets."""
        return int(self._reads.info().link_type)

    @property
    def link_types(self) -> list[int]:
        """What set_link_type can choose from; empty when there is no choice."""
        info = self._reads.info()
        return [info.link_types[i] for i in range(info.link_type_count)]

    @property
    def snaplen(self) -> int:
        """Octets captured of a packet, at most."""
        return int(self._reads.info().snap_len)

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
        self._reads.release_lent()
        info = self._reads.info()
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
        self._reads.link_type = int(self._reads.info().link_type)
        self.set_filter(self._filter)

    def send(self, octets: bytes) -> int:
        """Sends a packet, link header included, on a live capture's interface; octets sent."""
        return self._call(lib.ffpf_pull_inject, octets, len(octets))

    # ---- the end ----

    def close(self) -> None:
        """Ends the capture; a second call does nothing. Raises Busy while another thread is reading: stop it first.

        Views of packets in place keep their memory until the last of them goes.
        """
        if self._closed:
            return
        self._reads.release_lent()
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

    source: a name of an interface, "any", of a source that ffpfd has, or of a network processor's board; a path of a
    pcap or pcapng file or of a pipe (a str with a slash, or that begins with "file:", or for which there is a file and
    no interface; or a Path); "-", standard input; a savefile as bytes; or a file object that gives octets.

    filter: as for tcpdump; packets that do not pass are never seen.

    The rest is for interfaces. engine: "shared" captures by ffpfd, "embedded" in this process, which needs
    CAP_NET_RAW; "auto" takes ffpfd where it is and grants the request. snaplen: octets captured of a packet, at most.
    promisc: also packets for others. immediate: wake for every packet. delay: seconds that packets may wait to be
    delivered together, which costs less the longer it is. buffer_size: octets of the kernel's ring, 0 for 2 MiB
    (embedded). group: the flow group at ffpfd, None for the caller's own. direction: "in", "out", "inout".

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
