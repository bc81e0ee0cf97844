# SPDX-License-Identifier: BSD-3-Clause
"""Fields of a packet that the kernel finds, by name: numbers of csrc/kernel/node_layout.h."""

from __future__ import annotations

# enum ffpf_node_field
NUMBERS = (
    "len", "ifindex", "eth.type", "vlan.id", "vlan.priority", "ip.version", "ip.len", "ip.ttl", "ip.dscp", "ip.proto",
    "ip.fragment", "sport", "dport", "port", "tcp.sport", "tcp.dport", "tcp.port", "tcp.seq", "tcp.ack", "tcp.flags",
    "tcp.window", "tcp.len", "udp.sport", "udp.dport", "udp.port", "udp.len", "icmp.type", "icmp.code",
)  # fmt: skip
# enum ffpf_node_key
_KEYS = ("flow", "pair", "ip.src", "ip.dst", "ip.addr", "eth.src", "eth.dst")
KEYS = {name: number for number, name in enumerate(_KEYS, 64)}
