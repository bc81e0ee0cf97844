# SPDX-License-Identifier: BSD-3-Clause
"""What makes native code fast, and must change nothing: forks with their tails, guards of one comparison."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpl.fpl2 import bounds, check, compile_native, tails, tree
from fpl.fpl2.packets import ethernet, ip4, ip6, tcp, udp
from fpl.fpl2.reference import Machine
from fpl.fpl2.testing import Native

TEXT = (
    "MEM[0] = L3; MEM[1] = L4 + VLAN_ID; MEM[2] += IP_SRC ^ TCP_FLAGS; RETURN TCP_DPORT + UDP_SPORT * IS_IP6 + IP_TTL;"
)
TAGS = ((), ((0x8100, 5),), ((0x88A8, 7), (0x8100, 6)), ((0x9100, 1),) * 5)
PAYLOADS = (
    (0x0800, ip4(6, tcp(1, 80), options=bytes(4))),
    (0x86DD, ip6(0, b"\x11\0" + bytes(6) + udp(5, 6))),
    (0x0800, ip4(17, udp(5, 6), fragment=9)),
    (0x0806, bytes(28)),
)
FRAMES = [ethernet(payload, kind, tags) for tags in TAGS for kind, payload in PAYLOADS]


def copies(program: tree.Program) -> int:
    """How often the number of the program's last statement stands there."""
    return sum(isinstance(node, tree.Return) for node in tree.within(program))


def test_tails_stand_in_all_ways_and_mean_the_same() -> None:
    checked = check(TEXT, mbuf_bytes=16)
    forked = tails.unshared(checked.program, checked.prologue)
    assert (copies(checked.program), copies(forked)) == (1, 4)
    native = Native(compile_native(checked).octets)
    for frame in FRAMES:
        for cut in range(len(frame) + 1):
            rooms = [bytearray(16) for _ in range(3)]
            packet = frame[:cut]
            results = {
                Machine(packet, {}, rooms[0]).run(checked.program),
                Machine(packet, {}, rooms[1]).run(forked),
                native.run(packet, {}, rooms[2]),
            }
            assert len(results) == 1, (frame.hex(), cut)
            assert rooms[0] == rooms[1] == rooms[2], (frame.hex(), cut)


def test_programs_that_would_be_long_are_left() -> None:
    checked = check("R[1] += TCP_DPORT; " * 150 + "RETURN R[1];")
    assert tails.unshared(checked.program, checked.prologue) == checked.program
    assert tails.unshared(check("RETURN 1;").program, 0) == check("RETURN 1;").program
    tunnel = check("RETURN INNER.TCP_DPORT == 80;")
    assert tails.unshared(tunnel.program, tunnel.prologue) == tunnel.program
    hosts = check(f"RETURN TCP_DPORT == 80 && IP_SRC IN {{{', '.join(f'10.0.{n}.1' for n in range(250))}}};")
    assert copies(tails.unshared(hosts.program, hosts.prologue)) == 4, "a set is one term"


OFFSETS = (
    "PKT.U8[{n}]", "PKT.U16[PKT.U8[0] + {n}]", "PKT.U8[(PKT.U8[1] & 15) * 4 + {n}]", "PKT.W[PKT.U8[2] << 2]",
    "PKT.U32[R[0] + {n}]", "PKT.U32[R[0] - 4 + {n}]", "PKT.U8[{n} - PKT.U8[0]]", "PKT.U64[PKT.S8[0] + {n}]",
    "PKT.U16[PKT.U32[0] * PKT.U32[4] + {n}]", "PKT.U8[0xffffffffffffffff + {n}]", "PKT.D[{n} % 9]", "PKT.U8[{n} << 60]",
    "PKT.U8[-1 & {n}]", "PKT.U8[PKT.S16[2] & 31]", "PKT.B[L4 + {n}]", "PKT.B[L3 + {n}]",
)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(OFFSETS), st.integers(0, 40) | st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1),
       st.binary(max_size=40))  # fmt: skip
def test_guards_hold_at_any_offset(offset: str, number: int, register: int, packet: bytes) -> None:
    checked = check(f"R[0] = {register}; RETURN {offset.format(n=number)} + 1;")
    expected = Machine(packet, {}, bytearray()).run(checked.program)
    assert Native(compile_native(checked).octets).run(packet, {}, bytearray()) == expected


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("17", 17), ("PKT.U8[0] + 3", 258), ("(PKT.U8[0] & 15) * 4", 60), ("R[0] & 7", 7), ("R[0] + 7", None),
        ("PKT.S8[0]", None), ("PKT.S8[0] & 3", 3), ("PKT.U32[0] * PKT.U32[4]", None), ("PKT.U16[0] << 2", 0x3FFFC),
        ("1 - PKT.U8[0]", None), ("LEN + 1", 1 << 32), ("PKT.U64[0]", None), ("PKT.U8[0] << PKT.U8[1]", None),
    ],
)  # fmt: skip
def test_bounds(text: str, most: int | None) -> None:
    statement = check(f"RETURN {text};").program[-1]
    assert isinstance(statement, tree.Return)
    assert bounds.most(statement.value) == most
