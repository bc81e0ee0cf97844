# SPDX-License-Identifier: BSD-3-Clause
"""Programs that are accepted, at random, for property tests; a seed gives the same text again.

Signed and unsigned never meet: each expression is made as one of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

NUMBERS = (255, 256, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
FIELDS = (
    "PKT.IP_PROTO", "PKT.TCP_DPORT", "PKT.IP_SRC", "L4", "PKT.UDP_LEN", "LEN", "CAPLEN", "IFINDEX", "VLAN_TCI",
    "IS_TCP", "PKT.IP6_SRC_LOW", "PKT.VLAN_ID", "SPORT", "ETH_SRC", "TCP_MSS", "INNER.IP_PROTO",
)  # fmt: skip
STRINGS = ('GET"', 'get"i', 'a"', '\\x00\\x00"', '0"i')
ADDRESSES = (
    "== 10.0.0.1", "!= 1011:1213::", "IN {10.0.0.0/30, 1:203::/32, ::5}", "NOT IN {::/1, 1.2.3.4..255.0.0.1}", "== DST",
)  # fmt: skip
RELATIONS = ("==", "!=", "<", "<=", ">", ">=")
ASSIGNMENTS = ("=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=")
LOOP_REGISTERS = (6, 7)


class Programs:
    def __init__(self, seed: int, *, memory: bool = True) -> None:
        self._chance, self._memory = random.Random(seed), memory

    def program(self) -> str:
        return f"{self._block(2, ())}\nRETURN {self._expression(False, 2)};"

    def _one(self, *choices: str) -> str:
        return self._chance.choice(choices)

    def _number(self) -> str:
        return str(self._chance.choice(NUMBERS) if self._chance.random() < 0.2 else self._chance.randrange(21))

    def _register(self) -> str:
        return f"R[{self._chance.randrange(6)}]"

    def _small(self) -> str:
        return str(self._chance.randrange(70))

    def _index(self) -> str:
        return self._one(self._small(), self._register(), f"{self._register()} + {self._small()}")

    # ---- expressions ----

    def _part(self, letter: str) -> str:
        whole = self._one(f"PKT.{self._one(*'BWD')}[{self._index()}]",
                          f"MEM.{self._one(*'BWDQ')}[{self._index()}]" if self._memory else self._register(),
                          self._register())  # fmt: skip
        return f"{whole}.{letter}{self._one('1', '4', '8')}[{self._one('0', self._register())}]"

    def _leaf(self, signed: bool) -> str:
        letter = "S" if signed else "U"
        where = self._one("PKT", "MEM" if self._memory else "PKT")
        place = f"{where}.{letter}{self._one('8', '16', '32', '64')}[{self._index()}]"
        if signed:
            return self._one(self._number(), place, self._part(letter), f"{self._register()}.S64[0]")
        hashed = f"HASH({self._small()}, {self._chance.randint(1, 16)}, {self._chance.randint(1, 300)})"
        return self._one(self._number(), place, self._part(letter), self._register(), self._chance.choice(FIELDS),
                         f"MEM[{self._index()}]" if self._memory else self._register(), hashed)  # fmt: skip

    def _any(self, depth: int) -> str:
        return self._expression(self._chance.random() < 0.3, depth)

    def _expression(self, signed: bool, depth: int) -> str:
        kind = self._chance.randrange(10 if not signed else 5) if depth else 0
        if kind < 2:
            return self._leaf(signed)
        if kind == 2:
            op = self._one("+", "-", "*", "/", "%", "&", "|", "^")
            return f"({self._expression(signed, depth - 1)} {op} {self._expression(signed, depth - 1)})"
        if kind == 3:
            return f"({self._expression(signed, depth - 1)} {self._one('<<', '>>')} {self._any(depth - 1)})"
        if kind == 4:
            return f"({self._one('-', '~')} {self._expression(signed, depth - 1)})"
        if kind < 7:
            both = self._chance.random() < 0.3
            left, right = (self._expression(both, depth - 1) for _ in range(2))
            return f"({left} {self._chance.choice(RELATIONS)} {right})"
        if kind == 7:
            return f"({self._any(depth - 1)} {self._one('&&', '||')} {self._any(depth - 1)})"
        if kind == 8:
            low, high = sorted((self._chance.randrange(300), self._chance.randrange(300)))
            value = self._expression(False, depth - 1)
            return f"({value} {self._one('IN', 'NOT IN')} {{{low}..{high}, {self._number()}, 6, {self._register()}}})"
        place = self._one(self._small(), self._register(), "PAYLOAD")
        searched = f'({place} {self._one("CONTAINS", "NOT CONTAINS", "STARTS WITH")} "{self._one(*STRINGS)})'
        address = f"({self._one('SRC', 'IP6_DST', 'PKT.U128[22]')} {self._one(*ADDRESSES)})"
        return self._one(f"(!{self._any(depth - 1)})", searched, address)

    # ---- statements ----

    def _assigned(self, in_loop: bool) -> str:
        register = self._register() if in_loop else self._one(self._register(), "R[R[0] & 3]")
        index = self._one(self._small(), self._register())
        places = [f"MEM[{index}]", f"MEM.U{self._one('8', '16', '32', '64')}[{index}]"] if self._memory else []
        target = self._one(register, *places,
                           f"{register}.U{self._one('1', '4', '8', '16')}[0]")  # fmt: skip
        if self._chance.random() < 0.2:
            return f"{target}{self._one('++', '--')};"
        return f"{target} {self._chance.choice(ASSIGNMENTS)} {self._expression(False, 2)};"

    def _statement(self, depth: int, loops: tuple[int, ...]) -> str:
        kind = self._chance.randrange(10)
        free = [register for register in LOOP_REGISTERS if register not in loops]
        if kind < 2 and depth:
            return (f"IF {self._expression(False, 2)} THEN {self._block(depth - 1, loops)} "
                    f"ELSE {self._block(depth - 1, loops)} FI")  # fmt: skip
        if kind < 4 and depth and free:
            n = free[0]
            body = self._block(depth - 1, (*loops, n))
            step = self._one("+= 1", "-= 1", "+= 3")
            test = f"R[{n}] {self._one('<', '<=', '>', '>=', '!=')} {self._expression(False, 1)}"
            return f"FOR (R[{n}] = {self._number()}; {test}; R[{n}] {step}) MAX {self._chance.randint(1, 6)} {body} ROF"
        if kind == 4 and loops:
            return "BREAK;"
        if kind == 5:
            return f"RETURN {self._expression(False, 1)};"
        return self._assigned(bool(loops))

    def _block(self, depth: int, loops: tuple[int, ...]) -> str:
        return "\n".join(self._statement(depth, loops) for _ in range(self._chance.randint(1, 3)))


HEADERS = (
    "ETH_TYPE", "ETH_SRC", "ETH_DST", "ETH_MULTICAST", "VLAN_ID", "VLAN_INNER_ID", "VLAN_PCP", "VLAN_TAGS", "IS_IP",
    "IS_IP6", "IS_ARP", "ARP_OP", "IP_SRC", "IP_DST", "IP_TTL", "IP_PROTO", "IP_FRAG", "IP_LEN", "IP_IHL", "IP_DSCP",
    "IP6_SRC_LOW", "IP6_HOPS", "LEN", "IFINDEX", "PKTTYPE", "VLAN_PRESENT", "VLAN_TCI", "PKT.B[0]", "PKT.W[6]",
    "PKT.W[7]", "PKT.D[2]", "PKT.D[3]", "PKT.Q[1]", "PKT.U16[23]", "PKT.U32[28]", "PKT.B[23].U4[0]", "PKT.U8[50]",
    "(IS_IP && UDP_DPORT)", "(IS_IP && TCP_DPORT)", "DPORT",
)  # fmt: skip


class Filters:
    """Programs without memory whose tests are mostly such as a table's; numbers are those that packets have."""

    def __init__(self, seed: int, values: Callable[[str], Sequence[int]]) -> None:
        """values: of a field, in some packets."""
        self._chance, self._values = random.Random(seed), values

    def program(self) -> str:
        condition = self._condition(2)
        kind = self._chance.randrange(5)
        if kind == 0:
            return f"IF {condition} THEN RETURN {self._chance.randrange(3)}; FI RETURN {self._condition(1)};"
        if kind == 1:
            field = self._chance.choice(HEADERS)
            return f"R[1] = {field}; IF {condition} THEN R[1] += 2; FI RETURN R[1] == {self._number(field)};"
        if kind == 2:
            limit = self._chance.randrange(4)
            return f"FOR (R[0] = 0; R[0] < {limit}; R[0]++) IF (PKT.B[R[0]] == 0) THEN BREAK; FI ROF RETURN R[0] > 0;"
        return f"RETURN {condition};"

    def _number(self, field: str) -> int:
        number = self._chance.choice(self._values(field)) + self._chance.choice((0, 0, 0, 1, -1))
        return max(0, number) if self._chance.random() < 0.9 else self._chance.choice(NUMBERS)

    def _atom(self) -> str:
        field, mask = self._chance.choice(HEADERS), self._chance.choice((1, 3, 0xF0, 0xFF00, 0xFFFF0000))
        one, other = self._number(field), self._number(field)
        among = f"{{{min(one, other)}..{max(one, other)}, {self._number(field)}}}"
        relation = self._chance.choice(("==", *RELATIONS))
        return self._chance.choice((
            f"({field} {self._chance.choice(('IN', 'NOT IN'))} {among})",
            f"(({field} & {mask}) {relation} {one & mask})",
            f"(({field} >> {self._chance.randrange(9)}) == {one >> 4})", f"({field} {relation} {one})",
            f"({field} + {self._chance.randrange(3)} {relation} {one})", f"(!{field})", f"({field} == {one})",
            f"({self._chance.choice(('SRC', 'DST', 'IP6_DST'))} {self._chance.choice(ADDRESSES[:4])})",
        ))  # fmt: skip

    def _condition(self, depth: int) -> str:
        if not depth or self._chance.random() < 0.4:
            return self._atom()
        return f"({self._condition(depth - 1)} {self._chance.choice(('&&', '||'))} {self._condition(depth - 1)})"
