# SPDX-License-Identifier: BSD-3-Clause
"""Which sources there are in the kernel, and what the hook of each is made with."""

from __future__ import annotations

import os
import socket
from typing import Any

from pyffpf._core import ffi, lib
from pyffpf.daemon import netfilter
from pyffpf.daemon.device import hardware_type
from pyffpf.daemon.engine import EngineError, Resolved, interface_key, interface_number, lane_bytes
from pyffpf.daemon.kernel_files import call
from pyffpf.daemon.protocol import Code, RefusedError

ANY = "any"
DLT_EN10MB, DLT_LINUX_SLL2 = 1, 276
DLT_IP = (12, 228, 229)  # RAW, IPV4, IPV6
CELL_BYTES = 64
FORMS = {
    lib.FFPF_KERNEL_FORM_CONTEXT: "context",
    lib.FFPF_KERNEL_FORM_PROBED: "probed",
    lib.FFPF_KERNEL_FORM_PLAIN: "plain",
}
# Descriptors that a source has or not, by its kind.
OPTIONAL_FDS = frozenset({lib.FFPF_KERNEL_FD_SOCKET, lib.FFPF_KERNEL_FD_LINK_IP, lib.FFPF_KERNEL_FD_LINK_IP6})


def resolve(name: str) -> Resolved:
    """Interfaces of this network namespace, `any`, and places in its netfilter. RefusedError for what there is not."""
    if name == ANY:
        return Resolved(ANY, ANY)
    if netfilter.is_netfilter(name):
        return netfilter.resolve(name)
    try:
        ifindex = socket.if_nametoindex(name)
        return Resolved(interface_key(ifindex), socket.if_indextoname(ifindex))
    except (OSError, ValueError) as error:
        raise RefusedError(Code.NO_SUCH_DEVICE, f"{name}: No such device exists") from error


def create(resolved: Resolved, pbuf_bytes: int) -> Any:
    """struct ffpf_kernel *, the caller's to close. Netfilter has nothing to fall back to: where the kernel refuses the
    hook the client is told."""
    made = ffi.new("struct ffpf_kernel **")
    source = _wanted(resolved)
    contexts = lib.FFPF_KERNEL_CONTEXTS if source.kind == lib.FFPF_KERNEL_NETFILTER else 1
    source.cpus = min(os.sysconf("SC_NPROCESSORS_CONF") * contexts, lib.FFPF_FLOW_LANES_MAX)
    source.cells_log2 = (lane_bytes(pbuf_bytes, source.cpus) // CELL_BYTES).bit_length() - 1
    try:
        call(lib.ffpf_kernel_create, made, source)
    except EngineError as error:
        if source.kind != lib.FFPF_KERNEL_NETFILTER:
            raise
        raise RefusedError(Code.NOT_SUPPORTED, f"{resolved.name}: {netfilter.NEEDS}: {error}") from error
    return made[0]


def _wanted(resolved: Resolved) -> Any:
    """struct ffpf_kernel_source, as far as the name decides it."""
    source = ffi.new("struct ffpf_kernel_source *")
    source.snap_len = 0  # the most
    if resolved.name == ANY:
        source.cooked, source.link_type = 1, DLT_LINUX_SLL2
        return source
    if netfilter.is_netfilter(resolved.key):
        spot = netfilter.spot(resolved)
        source.kind, source.place = lib.FFPF_KERNEL_NETFILTER, spot.hook
        source.families, source.link_type = spot.family.bits, spot.family.link_type
        return source
    link = ffi.new("struct link_type *")
    call(lib.ffpf_link_type_of, link, resolved.name.encode(), hardware_type(resolved.name))
    if link.cooked:
        raise RefusedError(Code.NOT_SUPPORTED, f"{resolved.name}: ffpfd does not capture from this link type")
    source.ifindex, source.link_type = interface_number(resolved.key), link.dlt
    return source


def kind(kernel: Any) -> str:
    """As status shows it."""
    in_netfilter = lib.ffpf_kernel_source(kernel).kind == lib.FFPF_KERNEL_NETFILTER
    return netfilter.KIND if in_netfilter else "kernel"


def form(kernel: Any) -> str:
    """Of the hook, as status shows it."""
    return FORMS.get(lib.ffpf_kernel_source(kernel).form, "")


def refusal(kernel: Any) -> str:
    """Why the kernel took no better form; "" where it did."""
    return str(ffi.string(lib.ffpf_kernel_refusal(kernel)).decode(errors="replace"))


def link_of(link_type: int) -> int:
    """How packets of a source begin for nodes of graphs, by the link type of their records: FFPF_NODE_*."""
    if link_type == DLT_EN10MB:
        return int(lib.FFPF_NODE_ETHERNET)
    if link_type == DLT_LINUX_SLL2:
        return int(lib.FFPF_NODE_COOKED)
    return int(lib.FFPF_NODE_RAW if link_type in DLT_IP else lib.FFPF_NODE_OTHER)


def nodes_library() -> bytes:
    """Bitcode of what filter classes do in the kernel."""
    size = ffi.new("size_t *")
    octets = lib.ffpf_kernel_nodes_bitcode(size)
    return bytes(ffi.buffer(octets, size[0]))
