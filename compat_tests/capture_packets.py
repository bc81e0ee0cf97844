# SPDX-License-Identifier: BSD-3-Clause
"""Builds packets: Ethernet, tags, IPv4, IPv6, TCP, UDP, tunnels, and the link layers that are not Ethernet.

All functions return the packet's octets in network byte order with right lengths and checksums.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Sequence

ETH_IP = 0x0800
ETH_ARP = 0x0806
ETH_VLAN = 0x8100
ETH_IP6 = 0x86DD
ETH_QINQ = 0x88A8
ETH_QINQ_OLD = 0x9100
TEB = 0x6558  # transparent Ethernet bridging, in GRE
PROTO_TCP, PROTO_UDP, PROTO_GRE, PROTO_IPIP, PROTO_FRAGMENT, PROTO_ICMP6 = 6, 17, 47, 4, 44, 58
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

MAC_A = bytes.fromhex("020000000001")
MAC_B = bytes.fromhex("020000000002")


def checksum(data: bytes) -> int:
    """RFC 1071."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(payload: bytes, kind: int = ETH_IP, *, src: bytes = MAC_A, dst: bytes = MAC_B, least: int = 60) -> bytes:
    """A frame without its check sequence, padded to `least` octets."""
    frame = dst + src + struct.pack(">H", kind) + payload
    return frame + bytes(max(0, least - len(frame)))


def tagged(frame: bytes, tags: Sequence[tuple[int, int]]) -> bytes:
    """Puts (TPID, TCI) tags, outermost first, behind the addresses."""
    return frame[:12] + b"".join(struct.pack(">HH", *tag) for tag in tags) + frame[12:]


def ipv4(
    payload: bytes, proto: int, src: str, dst: str, *, ident: int = 1, fragment: int = 0x4000, options: bytes = b""
) -> bytes:
    """fragment: flags and offset in eights, as in the header; 0x4000 is DF."""
    header_len = 20 + len(options)
    total = header_len + len(payload)
    words = (0x40 | header_len // 4, 0, total & 0xFFFF, ident, fragment, 64, proto, 0)
    header = struct.pack(">BBHHHBBH", *words) + socket.inet_aton(src) + socket.inet_aton(dst) + options
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + payload


def ipv6(payload: bytes, proto: int, src: str, dst: str) -> bytes:
    """proto may be that of the first extension header, which payload begins with."""
    addresses = socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst)
    return struct.pack(">IHBB", 6 << 28, len(payload) & 0xFFFF, proto, 64) + addresses + payload


def pseudo_header(src: str, dst: str, proto: int, length: int) -> bytes:
    if ":" in src:
        packed = socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst)
        return packed + struct.pack(">II", length, proto)
    return socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack(">HH", proto, length & 0xFFFF)


def tcp(payload: bytes, src: str, dst: str, sport: int, dport: int, *, flags: int = ACK, seq: int = 1) -> bytes:
    segment = struct.pack(">HHIIBBHHH", sport, dport, seq, 1, 0x50, flags, 65535, 0, 0) + payload
    total = checksum(pseudo_header(src, dst, PROTO_TCP, len(segment)) + segment)
    return segment[:16] + struct.pack(">H", total) + segment[18:]


def udp(payload: bytes, src: str, dst: str, sport: int, dport: int) -> bytes:
    length = len(payload) + 8
    datagram = struct.pack(">HHHH", sport, dport, length & 0xFFFF, 0) + payload
    total = checksum(pseudo_header(src, dst, PROTO_UDP, length) + datagram) or 0xFFFF
    return datagram[:6] + struct.pack(">H", total) + datagram[8:]


def tcp4(payload: bytes, src: str = "10.0.0.1", dst: str = "192.0.2.1", sport: int = 40000, dport: int = 80,
         flags: int = ACK) -> bytes:  # fmt: skip
    """An IPv4 packet without a link header."""
    return ipv4(tcp(payload, src, dst, sport, dport, flags=flags), PROTO_TCP, src, dst)


def udp4(payload: bytes, src: str = "10.0.0.1", dst: str = "192.0.2.53", sport: int = 40000, dport: int = 53) -> bytes:
    return ipv4(udp(payload, src, dst, sport, dport), PROTO_UDP, src, dst)


def tcp6(payload: bytes, src: str = "2001:db8::1", dst: str = "2001:db8::2", flags: int = ACK) -> bytes:
    return ipv6(tcp(payload, src, dst, 40000, 80, flags=flags), PROTO_TCP, src, dst)


def arp(src: str = "10.0.0.1", dst: str = "10.0.0.2") -> bytes:
    """A request, Ethernet included."""
    body = struct.pack(">HHBBH", 1, ETH_IP, 6, 4, 1) + MAC_A + socket.inet_aton(src) + bytes(6) + socket.inet_aton(dst)
    return ethernet(body, ETH_ARP, dst=b"\xff" * 6)


def fragments(packet: bytes, size: int) -> list[bytes]:
    """An IPv4 packet without options, cut into payloads of `size` octets, a multiple of 8."""
    header, payload = packet[:20], packet[20:]
    pieces = []
    for at in range(0, len(payload), size):
        more = 0x2000 if at + size < len(payload) else 0
        src, dst = socket.inet_ntoa(header[12:16]), socket.inet_ntoa(header[16:20])
        pieces.append(ipv4(payload[at : at + size], header[9], src, dst, ident=77, fragment=more | at // 8))
    return pieces


def ipv6_extensions(rng: random.Random) -> list[bytes]:
    """TCP behind hop-by-hop, routing, fragment and destination headers, and ICMPv6."""
    src, dst = "2001:db8::1", "2001:db8::2"
    segment = tcp(rng.randbytes(40), src, dst, 40000, 80)
    hop = bytes([PROTO_TCP, 0, 1, 4, 0, 0, 0, 0])
    routing = bytes([PROTO_TCP, 0, 0, 0, 0, 0, 0, 0])
    fragment = struct.pack(">BBHI", PROTO_TCP, 0, 0, 99)
    later = struct.pack(">BBHI", PROTO_TCP, 0, 5 << 3, 99)
    destination = bytes([PROTO_TCP, 0, 1, 4, 0, 0, 0, 0])
    echo = struct.pack(">BBHHH", 128, 0, 0, 7, 1) + rng.randbytes(16)
    echo = echo[:2] + struct.pack(">H", checksum(pseudo_header(src, dst, PROTO_ICMP6, len(echo)) + echo)) + echo[4:]
    chain = bytes([43]) + hop[1:] + bytes([PROTO_TCP]) + routing[1:] + segment
    bodies = [(0, hop + segment), (43, routing + segment), (44, fragment + segment), (44, later + segment[:24]),
              (60, destination + segment), (0, chain), (PROTO_ICMP6, echo)]  # fmt: skip
    return [ethernet(ipv6(body, proto, src, dst), ETH_IP6) for proto, body in bodies]


def tunnels(rng: random.Random) -> list[bytes]:
    """VXLAN, GRE (IP and Ethernet inside), IP in IP, 6in4."""
    inner = tcp4(rng.randbytes(100), "172.16.0.1", "172.16.0.2", 1234, 80)
    frame = ethernet(inner)
    vxlan = struct.pack(">II", 0x08000000, 4242 << 8) + frame
    gre_ip = struct.pack(">HH", 0, ETH_IP) + inner
    gre_eth = struct.pack(">HHI", 0x2000, TEB, 99) + frame
    return [
        ethernet(udp4(vxlan, "10.0.0.1", "10.0.0.2", 50000, 4789)),
        ethernet(ipv4(gre_ip, PROTO_GRE, "10.0.0.1", "10.0.0.2")),
        ethernet(ipv4(gre_eth, PROTO_GRE, "10.0.0.1", "10.0.0.2")),
        ethernet(ipv4(inner, PROTO_IPIP, "10.0.0.1", "10.0.0.2")),
        ethernet(ipv4(tcp6(b"six in four"), 41, "10.0.0.1", "10.0.0.2")),
    ]


def sll(payload: bytes, kind: int = ETH_IP, *, packet_type: int = 0, hatype: int = 1) -> bytes:
    """Linux cooked capture."""
    return struct.pack(">HHH", packet_type, hatype, 6) + MAC_A + bytes(2) + struct.pack(">H", kind) + payload


def sll2(payload: bytes, kind: int = ETH_IP, *, ifindex: int = 3, packet_type: int = 4, hatype: int = 1) -> bytes:
    """Linux cooked capture, version 2."""
    return struct.pack(">HHIHBB", kind, 0, ifindex, hatype, packet_type, 6) + MAC_A + bytes(2) + payload


def radiotap(payload: bytes) -> bytes:
    """A data frame of IEEE 802.11 to an access point, with LLC and SNAP, behind a radiotap header with a rate."""
    dot11 = struct.pack("<HH", 0x0108, 0) + MAC_B + MAC_A + MAC_B + bytes(2)
    return struct.pack("<BBHIBx", 0, 0, 10, 1 << 2, 108) + dot11 + bytes.fromhex("aaaa030000000800") + payload


def ppp(payload: bytes, proto: int = 0x0021) -> bytes:
    """PPP in HDLC-like framing."""
    return struct.pack(">BBH", 0xFF, 0x03, proto) + payload


def malformed(rng: random.Random) -> list[bytes]:
    """Frames that lie about themselves: lengths beyond the packet, header lengths of nonsense, cut everywhere."""
    good = ethernet(tcp4(b"payload of some length"))
    frames = [good[:cut] for cut in range(1, len(good), 3)]
    for at in (14, 16, 17, 20, 23, 26, 46):
        frames.append(good[:at] + bytes([rng.randrange(256)]) + good[at + 1 :])
    frames.append(ethernet(bytes([0x4F]) + tcp4(b"x")[1:]))  # header length beyond the packet
    frames.append(ethernet(bytes([0x41]) + tcp4(b"x")[1:]))  # header length below the least
    frames.append(ethernet(tcp6(b"x")[:4] + b"\xff\xff" + tcp6(b"x")[6:], ETH_IP6))
    frames.extend(rng.randbytes(rng.randrange(1, 200)) for _ in range(20))
    return frames
