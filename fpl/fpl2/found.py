# SPDX-License-Identifier: BSD-3-Clause
"""What the prologue finds in a packet before a program runs: where headers are, behind whatever may lie before them.

It is made of parts, programs in FPL-2 themselves, and those alone stand before a program that find what its names need.
All that they find is in registers behind R[15], which programs cannot name: a bank for the packet, one for the packet
in it (INNER.), and one for the packet in that. Parts read the packet softly: beyond what was captured there is 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fpl.fpl2 import tree

FOUND = {
    "L2": "where the Ethernet header begins", "ETHERNET": "1: there is one",
    "L3": "where the network header begins", "L2TYPE": "which it is, as an EtherType",
    "VLAN_TAGS": "how many tags there are, up to four", "VLAN_OUTER": "the first tag", "VLAN_INNER": "the second",
    "L4": "where the transport header begins; 0: there is none", "L4PROTO": "which it is, behind extension headers",
    "EXTENSIONS": "bits of IPv6's extension headers", "FRAGMENT6": "where the one for fragments is",
    "IP_OPTIONS": "bits of IPv4's options, by number",
    "L5": "where the payload begins; 0: there is no transport header",
    "OPTION_MSS": "where this option of TCP is", "OPTION_SCALE": "likewise", "OPTION_SACK": "likewise",
    "OPTION_TIMES": "likewise",
    "DNS_AT": "where the DNS message begins", "DNS_ASKED": "where its first question's type is",
}  # fmt: skip
SCRATCH = ("STEP_COUNT", "AT", "END")  # what parts count and look with
BANKS = 3
HIDDEN = len(SCRATCH) + BANKS * len(FOUND)  # registers behind R[15]
LINKS = {"ethernet": 1, "raw": 12, "sll": 113, "sll2": 276}  # DLT_* values
Used = set[tuple[int, str]]  # names of FOUND, by bank

_PLACES = {name: place for place, name in enumerate(FOUND)}


def register(name: str, bank: int) -> int:
    """Which one; name: of FOUND or SCRATCH."""
    if name in SCRATCH:
        return tree.REGISTERS + SCRATCH.index(name)
    return tree.REGISTERS + len(SCRATCH) + bank * len(FOUND) + _PLACES[name]


@dataclass(frozen=True)
class Part:
    """A program of this folder. inner: what it finds is in the next bank."""

    file: str
    finds: tuple[str, ...]
    inner: bool = False


_LINK = ("L2", "ETHERNET", "L3", "L2TYPE", "VLAN_TAGS", "VLAN_OUTER", "VLAN_INNER")
_PARTS = (  # in the order in which they run
    Part("prologue_ip.fpl", ("L4", "L4PROTO", "EXTENSIONS", "FRAGMENT6")),
    Part("prologue_ip_options.fpl", ("IP_OPTIONS",)),
    Part("prologue_payload.fpl", ("L5",)),
    Part("prologue_tcp_options.fpl", ("OPTION_MSS", "OPTION_SCALE", "OPTION_SACK", "OPTION_TIMES")),
    Part("prologue_dns.fpl", ("DNS_AT",)),
    Part("prologue_dns_question.fpl", ("DNS_ASKED",)),
    Part("prologue_tunnel.fpl", ("L2", "ETHERNET", "L3", "L2TYPE"), inner=True),
)


def parts(link: str) -> Iterable[tuple[int, Part]]:
    """All there are, with the bank of the packet that they look at, in the order in which they run."""
    for bank in range(BANKS):
        yield bank, Part(f"prologue_{'ethernet' if bank else link}.fpl", _LINK)
        yield from ((bank, part) for part in _PARTS if not part.inner or bank + 1 < BANKS)


def finds(bank: int, part: Part) -> Used:
    return {(bank + part.inner, name) for name in part.finds}
