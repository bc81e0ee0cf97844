# SPDX-License-Identifier: BSD-3-Clause
"""One packet, and how it is decoded."""

from __future__ import annotations

import ctypes
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pyffpf.batch import Batch

# Link type (DLT_*) to the class that begins with it: module, class.
DPKT = {
    0: ("dpkt.loopback", "Loopback"),
    1: ("dpkt.ethernet", "Ethernet"),
    9: ("dpkt.ppp", "PPP"),
    12: ("dpkt.ip", "IP"),
    101: ("dpkt.ip", "IP"),
    113: ("dpkt.sll", "SLL"),
    228: ("dpkt.ip", "IP"),
    229: ("dpkt.ip6", "IP6"),
    276: ("dpkt.sll2", "SLL2"),
}


def decode(octets: bytes, link_type: int, how: str = "dpkt") -> Any:
    """Octets as an object of dpkt or scapy; see Packet.decode."""
    if how == "scapy":
        # What its own readers do: the class that is registered for the link type, else raw octets.
        conf = import_module("scapy.config").conf
        import_module("scapy.layers.all")
        return conf.l2types.get(link_type, conf.raw_layer)(octets)
    if how != "dpkt":
        raise ValueError(f"there is no decoder {how!r}: dpkt or scapy")
    if link_type not in DPKT:
        raise ValueError(f"dpkt has no class for link type {link_type}")
    module, name = DPKT[link_type]
    if name == "IP" and octets[:1] and octets[0] >> 4 == 6:
        module, name = DPKT[229]
    return getattr(import_module(module), name)(octets)


# Made with the interpreter's lock, which cffi's calls let go of: pyffpf/_packet.h.
_core = ctypes.PyDLL(str(import_module("pyffpf._core").__file__))
_core.pyffpf_packet_type.argtypes = []
_core.pyffpf_packet_type.restype = ctypes.py_object
_core.pyffpf_packets.argtypes = [ctypes.py_object, ctypes.py_object, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32]
_core.pyffpf_packets.restype = ctypes.py_object

T = TypeVar("T")


def _of_core(described: type[T]) -> type[T]:
    """The core's type of packets, with what the class has beside it: what is made in Python costs twice as much."""
    made: Any = _core.pyffpf_packet_type()
    for name, value in vars(described).items():
        if name not in vars(made) and name not in ("__dict__", "__weakref__", "__annotations__"):
            setattr(made, name, value)
    made.__doc__ = described.__doc__
    kept: type[T] = made
    return kept


def packets(batch: Batch, first: int, n: int) -> list[Packet]:
    """Packets of n rows of a batch, which has them."""
    found: list[Packet] = _core.pyffpf_packets(Packet, batch, batch.rows.ctypes.data, first, n)
    return found


def _packet(batch: Batch, row: int) -> Packet:
    return packets(batch, row, 1)[0]


@_of_core
class Packet:
    """A packet of a batch: a row number, and what the batch knows of it. Everything is looked up when it is asked for.

    It keeps its batch's memory alive; who keeps few packets of many takes `bytes(packet)`.
    """

    _batch: Batch
    _row: int
    ts_ns: int  # nanoseconds since 1970, UTC
    data: bytes  # the captured octets, link header first; a copy
    caplen: int  # octets captured
    len: int  # octets on the wire

    def __reduce__(self) -> Any:
        return _packet, (self._batch, self._row)

    @property
    def ts(self) -> float:
        """Seconds since 1970, UTC; a float has about 200 ns of them left."""
        return self.ts_ns / 1e9

    @property
    def time(self) -> datetime:
        """The same, to microseconds, as a datetime in UTC."""
        seconds, ns = divmod(self.ts_ns, 1_000_000_000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=ns // 1000)

    def __bytes__(self) -> bytes:
        return self.data

    def __len__(self) -> int:
        return self.caplen

    @property
    def ifindex(self) -> int:
        """The kernel's number of the interface, or that of an interface of a pcapng section; 0 unknown."""
        return int(self._batch.rows["ifindex"][self._row])

    @property
    def result(self) -> int:
        """Classification result: what the filter returned; 4294967295 without a filter."""
        return int(self._batch.rows["result"][self._row])

    @property
    def vlan(self) -> int | None:
        """TCI of the tag that the kernel took out (for a live capture, put back in where it has a place); or None."""
        value = int(self._batch.rows["vlan"][self._row])
        return value & 0xFFFF if value else None

    @property
    def outgoing(self) -> bool:
        """Whether this machine sent it (live captures only)."""
        return int(self._batch.rows["pkt_type"][self._row]) == 4

    @property
    def link_type(self) -> int:
        """DLT_ value."""
        return self._batch.link_type

    def decode(self, how: str = "dpkt") -> Any:
        """The packet as an object of dpkt or, with how="scapy", scapy, made now. Neither is a dependency of ours.

        Raises ImportError when the package is not there, ValueError when dpkt has no class for the link type, and what
        they raise on octets that they do not understand.
        """
        return decode(self.data, self._batch.link_type, how)

    def __repr__(self) -> str:
        return f"<Packet {self.time.isoformat()} {self.caplen} of {self.len} octets>"
