# SPDX-License-Identifier: BSD-3-Clause
"""Names of places in netfilter, which are sources of the kernel's engine.

    netfilter:HOOK[,FAMILY]     prerouting, input, forward, output, postrouting; inet (both, as without), ip, ip6

Packets have no link header there, and begin with that of IP.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyffpf._core import lib
from pyffpf.daemon.engine import Resolved
from pyffpf.daemon.protocol import Code, RefusedError

PREFIX = "netfilter:"
KIND = "netfilter"
HOOKS = ("prerouting", "input", "forward", "output", "postrouting")  # as NF_INET_* counts them: linux/netfilter.h
FAMILY_DEFAULT = "inet"
NEEDS = "netfilter sources need Linux 6.4, and ffpfd CAP_NET_ADMIN (daemon.netfilter = true)"


@dataclass(frozen=True)
class Family:
    bits: int
    link_type: int  # pcap/dlt.h


FAMILIES = {
    "inet": Family(lib.FFPF_KERNEL_IPV4 | lib.FFPF_KERNEL_IPV6, 12),  # DLT_RAW
    "ip": Family(lib.FFPF_KERNEL_IPV4, 228),  # DLT_IPV4
    "ip6": Family(lib.FFPF_KERNEL_IPV6, 229),  # DLT_IPV6
}


@dataclass(frozen=True)
class Spot:
    """What a name means."""

    hook: int
    family: Family


def is_netfilter(name: str) -> bool:
    return name.startswith(PREFIX)


def _split(name: str) -> tuple[str, str]:
    hook, _, family = name.removeprefix(PREFIX).partition(",")
    return hook, family or FAMILY_DEFAULT


def resolve(name: str) -> Resolved:
    """One source for all ways to write its name. RefusedError when there is no such place."""
    hook, family = _split(name)
    if hook not in HOOKS or family not in FAMILIES or name.endswith(","):
        raise RefusedError(
            Code.NO_SUCH_DEVICE,
            f"{name}: No such device exists; there are {PREFIX}HOOK and {PREFIX}HOOK,FAMILY with one of "
            f"{', '.join(HOOKS)} and one of {', '.join(FAMILIES)}",
        )
    own = PREFIX + hook + ("" if family == FAMILY_DEFAULT else f",{family}")
    return Resolved(own, own)


def spot(resolved: Resolved) -> Spot:
    """Of a name that resolve() gave."""
    hook, family = _split(resolved.key)
    return Spot(HOOKS.index(hook), FAMILIES[family])
