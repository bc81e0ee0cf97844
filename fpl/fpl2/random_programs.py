# SPDX-License-Identifier: BSD-3-Clause
"""Programs that are accepted, at random, for property tests; a seed gives the same text again.

Signed and unsigned never meet: each expression is made as one of them.
"""

from __future__ import annotations

import random

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
    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

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
        whole = self._one(f"PKT.{self._one(*'BWD')}[{self._index()}]", f"MEM.{self._one(*'BWDQ')}[{self._index()}]",
                          self._register())  # fmt: skip
        return f"{whole}.{letter}{self._one('1', '4', '8')}[{self._one('0', self._register())}]"

    def _leaf(self, signed: bool) -> str:
        letter = "S" if signed else "U"
        place = f"{self._one('PKT', 'MEM')}.{letter}{self._one('8', '16', '32', '64')}[{self._index()}]"
        if signed:
            return self._one(self._number(), place, self._part(letter), f"{self._register()}.S64[0]")
        hashed = f"HASH({self._small()}, {self._chance.randint(1, 16)}, {self._chance.randint(1, 300)})"
        return self._one(self._number(), place, self._part(letter), self._register(), self._chance.choice(FIELDS),
                         f"MEM[{self._index()}]", hashed)  # fmt: skip

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
        target = self._one(register, f"MEM[{index}]", f"MEM.U{self._one('8', '16', '32', '64')}[{index}]",
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
