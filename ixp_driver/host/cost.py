# SPDX-License-Identifier: BSD-3-Clause
"""What a packet costs the host in each copy mode, as far as the PCI bus matters (paper, section 4.3).

The driver counts what crosses the bus for it (struct ffpf_ixp_accesses, ixp.h); an application's own accesses are loads
from mapped memory, which nobody can count, so they are a parameter. Both are weighed by latencies that are stated: the
emulated board has no bus. The defaults are those of a 32-bit bus at 66 MHz (15 ns a data phase, PCI Local Bus
Specification 2.2), with a round trip of 600 ns for a read of the host's processor through its bridge.

                    what the application's filter reads    what the application reads of a packet that passes
    zero copy       the window                             the window
    all             host memory                            host memory, behind one burst for every packet
    interesting     the window                             host memory, behind one burst for each that passes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MODES = ("zero copy", "all", "interesting")
WORD_BYTES = 4
RECORD_BYTES = 48  # FFPF_RECORD_DATA
CELL_BYTES = 64  # FFPF_CELL_BYTES


@dataclass(frozen=True)
class Pci:
    """Latencies in nanoseconds: stated, not measured."""

    read_ns: float = 600.0  # one word, or two, that the processor waits for
    burst_ns: float = 600.0  # the first word of several in a row
    burst_word_ns: float = 15.0  # each further word of 32 bits
    write_ns: float = 60.0  # posted: the processor goes on
    host_ns: float = 5.0  # an access to the host's own memory, mostly cached


@dataclass(frozen=True)
class Load:
    """An application's packets. Accesses: loads of a word or less, each its own."""

    octets: float = 256.0  # of a packet, on average
    filter_accesses: float = 4.0  # of its filter, of every packet
    share: float = 1.0  # of packets that pass the filter
    accesses: float = 0.0  # of the application, of each packet that passes


def driver_ns(counted: Mapping[str, float], pci: Pci) -> float:
    """What the driver did by itself; counted: fields of struct ffpf_ixp_accesses, or those for each packet."""
    return (
        counted["reads"] * pci.read_ns
        + counted["bursts"] * pci.burst_ns
        + (counted["burst_words"] - counted["bursts"]) * pci.burst_word_ns
        + counted["writes"] * pci.write_ns
    )


def copy_ns(octets: float, pci: Pci) -> float:
    """One burst of a packet with its record's header, in whole cells."""
    cells = -(-(RECORD_BYTES + octets) // CELL_BYTES)
    return pci.burst_ns + (cells * CELL_BYTES / WORD_BYTES - 1) * pci.burst_word_ns


def packet_ns(mode: str, driver: Mapping[str, float], load: Load, pci: Pci) -> float:
    """A packet of the flow, whether it passes or not. driver: counted for each packet, without copies."""
    own = driver_ns(driver, pci)
    if mode == "zero copy":
        return own + (load.filter_accesses + load.share * load.accesses) * pci.read_ns
    if mode == "all":
        return own + copy_ns(load.octets, pci) + (load.filter_accesses + load.share * load.accesses) * pci.host_ns
    if mode == "interesting":
        there = copy_ns(load.octets, pci) + load.accesses * pci.host_ns
        return own + load.filter_accesses * pci.read_ns + load.share * there
    raise ValueError(f"{mode!r} is no copy mode: {', '.join(MODES)}")


def crossover(octets: float, pci: Pci) -> float:
    """Accesses of a packet from which on copying it once, if it passes, costs less than leaving it on the board: the
    same for any filter, and any share."""
    return copy_ns(octets, pci) / (pci.read_ns - pci.host_ns)


def crossover_all(load: Load, pci: Pci) -> float:
    """The same for copying all packets, before their filter has looked at them."""
    saved = load.filter_accesses * (pci.read_ns - pci.host_ns)
    return max(0.0, (copy_ns(load.octets, pci) - saved) / (load.share * (pci.read_ns - pci.host_ns)))
