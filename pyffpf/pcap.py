# SPDX-License-Identifier: BSD-3-Clause
"""pypcap's API on pyffpf: `import pyffpf.pcap as pcap` instead of `import pcap`, and a script runs on FFPF.

The same names, arguments and results as pypcap 1.3, whose words the docstrings below do not repeat. What is not the
same:

- packets arrive in batches, so a filter that is set in the middle of an iteration holds for what was not read yet, as
  there, but `stats` counts at once what a batch has taken;
- `pcap.pcap(name)` takes a savefile where there is a file of that name and no interface.

Errors are OSError, as there, with the text as str where pypcap has bytes.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Callable, Iterator
from fcntl import ioctl
from typing import Any, Self

from pyffpf._core import ffi, lib
from pyffpf.capture import Capture
from pyffpf.capture import open as _open
from pyffpf.errors import FfpfError, NotSupported
from pyffpf.filters import compile_text

DLT_NULL, DLT_EN10MB, DLT_EN3MB, DLT_AX25, DLT_PRONET, DLT_CHAOS, DLT_IEEE802, DLT_ARCNET = 0, 1, 2, 3, 4, 5, 6, 7
DLT_SLIP, DLT_PPP, DLT_FDDI, DLT_RAW, DLT_PFSYNC, DLT_LOOP, DLT_LINUX_SLL, DLT_PFLOG = 8, 9, 10, 12, 18, 108, 113, 117
PCAP_D_INOUT, PCAP_D_IN, PCAP_D_OUT = 0, 1, 2
PCAP_TSTAMP_PRECISION_MICRO, PCAP_TSTAMP_PRECISION_NANO = 0, 1

# Octets of the link header: where the network packet begins, if nothing lies between.
dltoff = {
    DLT_NULL: 4, DLT_EN10MB: 14, DLT_IEEE802: 22, DLT_ARCNET: 6, DLT_SLIP: 16, DLT_PPP: 4, DLT_FDDI: 21,
    DLT_PFLOG: 48, DLT_PFSYNC: 4, DLT_LOOP: 4, DLT_RAW: 0, DLT_LINUX_SLL: 16,
}  # fmt: skip

_SIOCGIFFLAGS = 0x8913
_SIOCGIFADDR, _SIOCGIFNETMASK = 0x8915, 0x891B
_DIRECTIONS = {PCAP_D_INOUT: "inout", PCAP_D_IN: "in", PCAP_D_OUT: "out"}
_DELAY = 0.1


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


class bpf:  # noqa: N801 (pypcap's name)
    """A filter, to be asked about octets: `bpf("udp", dlt=DLT_EN10MB).filter(packet)`."""

    def __init__(self, filter: bytes | str, dlt: int = DLT_RAW) -> None:
        try:
            program = compile_text(_text(filter), dlt, 65535, lib.FFPF_FORM_DEAD)
        except FfpfError as error:
            raise OSError(str(error)) from error
        self._program = ffi.gc(program, lib.ffpf_bpf_prog_destroy)

    def filter(self, buf: bytes) -> bool:
        """Whether the octets, as a whole packet, pass."""
        return bool(lib.ffpf_bpf_run(self._program, ffi.from_buffer(buf), len(buf), len(buf), ffi.NULL))


class pcap:  # noqa: N801 (pypcap's name)
    """A capture of an interface or savefile; an iterator of (timestamp, octets)."""

    def __init__(
        self,
        name: str | None = None,
        snaplen: int = 65535,
        promisc: bool = True,
        timeout_ms: int | None = None,
        immediate: bool = False,
        timestamp_in_ns: bool = False,
        buffer_size: int = 0,
    ) -> None:
        self.name = name if name is not None else lookupdev()
        self._wait = timeout_ms / 1000 if timeout_ms else None
        self._in_ns = timestamp_in_ns
        self._nonblock = False
        self._ready: Iterator[tuple[float, bytes]] = iter(())
        self._error = ""
        try:
            self._capture = _open(self.name, snaplen=snaplen, promisc=promisc, immediate=immediate,
                                  delay=self._wait or _DELAY, buffer_size=buffer_size)  # fmt: skip
        except (FfpfError, OSError, ValueError) as error:
            raise OSError(str(error)) from error

    # ---- facts and settings ----

    @property
    def filter(self) -> str:
        """The filter in force."""
        return self._capture.filter

    @property
    def fd(self) -> int:
        """To select on, as fileno()."""
        return self.fileno()

    @property
    def dloff(self) -> int:
        """Octets of the link header."""
        return dltoff.get(self.datalink(), 0)

    def datalink(self) -> int:
        """DLT_ value."""
        return self._capture.link_type

    def fileno(self) -> int:
        """A descriptor to select on."""
        return self._capture.fileno()

    def geterr(self) -> str:
        """The words of the last error; empty when there was none."""
        return self._error

    def _checked(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except FfpfError as error:
            self._error = str(error)
            raise OSError(self._error) from error

    def setfilter(self, value: bytes | str, optimize: int = 1) -> None:
        """Sets the filter; packets that were not read yet are filtered anew. `optimize` is not looked at: it always
        is."""
        self._checked(lambda: self._capture.set_filter(_text(value)))

    def setdirection(self, direction: int) -> bool:
        """PCAP_D_IN, PCAP_D_OUT or PCAP_D_INOUT; whether it could be set."""
        try:
            self._capture.set_direction(_DIRECTIONS[direction])
        except (NotSupported, KeyError) as error:
            self._error = str(error)
            return False
        return True

    def getnonblock(self) -> bool:
        """Whether reading does not wait."""
        return self._nonblock and self._capture.live

    def setnonblock(self, nonblock: bool = True) -> None:
        """Reading does not wait, or does again; of a savefile it never does."""
        self._nonblock = bool(nonblock)

    def stats(self) -> tuple[int, int, int]:
        """Packets received, dropped, and dropped by the interface. Raises OSError for savefiles."""
        if not self._capture.live:
            self._error = "Statistics aren't available from savefiles"
            raise OSError(self._error)
        counted = self._capture.statistics
        return counted.seen + counted.waiting, counted.dropped, counted.interface_drops

    def sendpacket(self, buf: bytes) -> int:
        """Sends a packet on the interface; octets sent."""
        return int(self._checked(lambda: self._capture.send(buf)))

    # ---- reading ----

    def _batch(self, size: int = 4096) -> list[tuple[float, bytes]] | None:
        """What is there, waiting as was asked for; None at the end, empty when nothing came in time."""
        timeout = 0.0 if self._nonblock else self._wait
        batch = self._checked(lambda: self._capture.read_batch(size, timeout=timeout))
        if batch is None:
            return None
        stamps = batch.times if self._in_ns else self._seconds(batch["ts_ns"])
        octets = batch.octet_bytes
        return [
            (stamp, octets[start:end])
            for stamp, start, end in zip(stamps, batch.starts, batch.ends, strict=True)
        ]  # fmt: skip

    @staticmethod
    def _seconds(ns: Any) -> list[float]:
        # as there: whole seconds, and the rest, put together as a float
        seconds = ns // 1_000_000_000
        found: list[float] = (seconds + (ns - seconds * 1_000_000_000) / 1e9).tolist()
        return found

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[float, bytes]:
        """The next packet. When timeout_ms, or non-blocking mode, ends the wait: None, as there, which types hide."""
        for packet in self._ready:
            return packet
        batch = self._batch()
        if batch is None:
            raise StopIteration
        self._ready = iter(batch)
        return next(self._ready, None)  # type: ignore[return-value]

    def readpkts(self) -> list[tuple[float, bytes]]:
        """All packets that are there: [(timestamp, octets), ...]; of a savefile the rest of it."""
        packets = list(self._ready)
        try:
            while batch := self._batch():
                packets += batch
                if self._capture.live:
                    break
        except OSError:
            if not packets:
                raise
        return packets

    def dispatch(self, cnt: int, callback: Callable[..., object], *args: object) -> int:
        """Calls callback(timestamp, octets, *args) for at most cnt packets that are there (0 or less: all of them);
        how many."""
        done = 0
        while cnt <= 0 or done < cnt:
            packets = list(self._ready) or self._batch()
            if not packets:
                break
            done += self._call(packets, cnt - done if cnt > 0 else 0, callback, args)
            if self._capture.live:
                break
        return done

    def loop(self, cnt: int, callback: Callable[..., object], *args: object) -> None:
        """The same until the end, or cnt packets (0 or less: all), waiting for them."""
        done = 0
        while cnt <= 0 or done < cnt:
            packets = list(self._ready)
            if not packets:
                batch = self._batch()
                if batch is None:
                    return
                packets = batch
            done += self._call(packets, cnt - done if cnt > 0 else 0, callback, args)

    def _call(
        self, packets: list[tuple[float, bytes]], limit: int, callback: Callable[..., object], args: tuple[object, ...]
    ) -> int:
        """Gives at most `limit` packets (0: all) to the callback; the others, and those behind one that fails, wait."""
        rest = iter(packets)
        self._ready = rest
        done = 0
        for stamp, octets in rest:
            callback(stamp, octets, *args)
            done += 1
            if done == limit:
                break
        return done

    def close(self) -> None:
        """Closes the capture."""
        self._ready = iter(())
        self._capture.close()

    def __del__(self) -> None:
        # scripts for pypcap leave closing to it
        if "_capture" in self.__dict__:
            self._capture.close()


def ex_name(foo: bytes) -> bytes:
    """The name as the C library takes it."""
    return foo


def findalldevs() -> list[str]:
    """Names of the interfaces, and "any"."""
    names = [name for _, name in socket.if_nameindex() if name != "lo"]
    up = [name for name in names if _is_up(name)]
    return [*up, "any", "lo", *(name for name in names if name not in up)]


def _is_up(name: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        flags = ioctl(any_socket, _SIOCGIFFLAGS, name.encode()[:15].ljust(40, b"\0"))[16:18]
    return bool(int.from_bytes(flags, sys.byteorder) & 1)


def lookupdev() -> str:
    """The first interface that is not the loopback, else that one. Raises OSError."""
    for name in findalldevs():
        if name != "any":
            return name
    raise OSError("there is no interface")


def lookupnet(dev: bytes | str) -> tuple[bytes, bytes]:
    """Network and netmask of an interface, each four octets in network order. Raises OSError."""
    asked = (dev.encode() if isinstance(dev, str) else dev)[:15].ljust(40, b"\0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        address, mask = (ioctl(any_socket, request, asked)[20:24] for request in (_SIOCGIFADDR, _SIOCGIFNETMASK))
    network = ipaddress.IPv4Network((address, int(ipaddress.IPv4Address(mask)).bit_count()), strict=False)
    return network.network_address.packed, mask


__all__ = [*(name for name in dir(sys.modules[__name__]) if name.startswith(("DLT_", "PCAP_"))), "Capture", "bpf",
           "dltoff", "ex_name", "findalldevs", "lookupdev", "lookupnet", "pcap"]  # fmt: skip
