# SPDX-License-Identifier: BSD-3-Clause
"""Of microengine.py: places and values, as microengine C.

What has effects, or may end the filter, is said before a value in lines of its own: references to memory, guards, and
what stands behind && and ||.
"""

from __future__ import annotations

from collections.abc import Callable

from fpl.fpl2 import meaning, sets, tree
from fpl.fpl2.check import SCAN_MAX
from fpl.fpl2.meaning import ALL
from fpl.fpl2.microengine_lines import Lines, NotForBoardError, Value, number
from fpl.fpl2.ranges import WORD, Ranges
from fpl.fpl2.strings import is_letter

HALF = 0xFFFF
SEARCHED_FROM = 8  # ranges: so many are searched, fewer compared with in a row


class Values(Lines):
    def __init__(self, ranges: Ranges, mbuf_bytes: int) -> None:
        super().__init__()
        self.ranges, self._mbuf = ranges, mbuf_bytes

    # ---- values ----

    def value(self, expr: tree.Expr) -> Value:
        if isinstance(expr, tree.Number):
            return number(expr.value)
        if isinstance(expr, tree.Fact):
            return self._fact(expr.name)
        if isinstance(expr, (tree.Register, tree.Memory, tree.Packet)):
            return self._place(expr)
        if isinstance(expr, tree.Unary):
            return self._unary(expr)
        if isinstance(expr, tree.Binary):
            return self._binary(expr)
        if isinstance(expr, tree.When):
            return self._chosen(expr.test, lambda: self.value(expr.value), self.ranges.largest(expr))
        if isinstance(expr, tree.Member):
            return self._member(expr)
        if isinstance(expr, tree.Hash):
            return self._hash(expr)
        if isinstance(expr, tree.Contains):
            return self._contains(expr)
        raise NotForBoardError("a microengine calls no external functions")

    def word(self, expr: tree.Expr) -> str:
        """The value modulo 2^32: what only needs its operands so far is worked out by 32 bits."""
        if isinstance(expr, tree.Binary) and expr.op in ("+", "-", "*", "&", "|", "^"):
            left, right = self._both(lambda: self._as_word(expr.left), lambda: self._as_word(expr.right))
            return f"({left.text} {expr.op} {right.text})"
        if isinstance(expr, tree.Binary) and expr.op == "<<" and isinstance(expr.right, tree.Number):
            count = expr.right.value & 63
            return f"({self.word(expr.left)} << {count})" if count < 32 else self.value(expr).word
        if isinstance(expr, tree.Unary) and expr.op in ("-", "~"):
            return f"(0u - {self.word(expr.operand)})" if expr.op == "-" else f"(~{self.word(expr.operand)})"
        if isinstance(expr, tree.Number):
            return number(expr.value & WORD).text
        return self.value(expr).word

    def test(self, expr: tree.Expr) -> str:
        """As a condition."""
        return self.value(expr).text

    def _fact(self, name: str) -> Value:
        if name == "CAPLEN":
            return Value("captured", WORD)
        key = ("fact", name)
        if key not in self.facts.loaded:
            self.facts.loaded[key] = self.let(f"fact_{name.lower()}()", self.ranges.largest(tree.Fact(0, name)))
        return self.facts.loaded[key]

    def _unary(self, expr: tree.Unary) -> Value:
        if expr.op == "!":
            return Value(f"(!{self.test(expr.operand)})", 1)
        value = self.value(expr.operand)
        return Value(f"(0ull - {value.double})" if expr.op == "-" else f"(~{value.double})", ALL)

    def _chosen(self, test: tree.Expr, other: Callable[[], Value], most: int) -> Value:
        """other() where the test holds, else 0."""
        condition = self.test(test)
        name = self.fresh()
        self.say(f"uint{64 if most > WORD else 32}_t {name} = 0;")
        with self.braces(f"if ({condition}) {{"):
            value = other()
            self.say(f"{name} = {value.text};")
        return Value(name, most)

    def _logical(self, expr: tree.Binary) -> Value:
        left = self.test(expr.left)
        lines, facts = self.lines, self.facts
        self.lines, self.facts = [], facts.copy()
        right, extra = self.test(expr.right), self.lines
        self.lines, self.facts = lines, facts
        if not extra:
            return Value(f"({left} {expr.op} {right})", 1)
        name = self.fresh()
        self.say(f"uint32_t {name} = {int(expr.op == '||')};")
        with self.braces(f"if ({'!' if expr.op == '||' else ''}({left})) {{"):
            self.lines += [f"\t{line}" for line in extra]
            self.say(f"{name} = {right} != 0;")
        return Value(name, 1)

    def _binary(self, expr: tree.Binary) -> Value:
        if expr.op in ("&&", "||"):
            return self._logical(expr)
        if self.ranges.largest(expr) <= WORD and expr.op in ("&", "+", "*", "|", "^"):
            low, other = self._both(lambda: self._as_word(expr.left), lambda: self._as_word(expr.right))
            return Value(f"({low.text} {expr.op} {other.text})", self.ranges.largest(expr))
        signed = (
            meaning.is_signed(expr.left) if expr.op in ("<<", ">>") else meaning.meets_signed(expr.left, expr.right)
        )
        left, right = self._both(lambda: self.value(expr.left), lambda: self.value(expr.right))
        return self.operate(expr.op, left, right, signed, self.ranges.largest(expr))

    def _as_word(self, expr: tree.Expr) -> Value:
        return Value(self.word(expr), WORD)

    def _both(self, left: Callable[[], Value], right: Callable[[], Value]) -> tuple[Value, Value]:
        """Two operands. The first is worked out before what the second says in lines of its own: else all terms of a
        long sum would be kept until its end."""
        first, lines = left(), self.lines
        self.lines = []
        second, extra = right(), self.lines
        self.lines = lines
        if extra:
            first = self.simple(first)
        self.lines += extra
        return first, second

    def operate(self, op: str, left: Value, right: Value, signed: bool, most: int) -> Value:
        """most: of the result."""
        if op in ("/", "%"):
            right = self.divisor(right)
        elif op in ("<<", ">>"):
            return _shifted(op, left, right, signed, most)
        if op in ("==", "!=", "<", "<=", ">", ">="):
            return Value(_compared(op, left, right, signed), 1)
        if signed and op in ("/", "%"):
            return Value(f"(uint64_t)((int64_t){left.double} {op} (int64_t){right.double})", ALL)
        if not left.wide and not right.wide and (most <= WORD or op in ("/", "%")):
            return Value(f"({left.text} {op} {right.text})", most)
        return Value(f"({left.double} {op} {right.double})", most)

    def divisor(self, value: Value) -> Value:
        """Ends the filter where it is 0."""
        if not value.most:
            self.reject("1u")
            return number(1)  # which is not reached
        if value.text[0].isdigit():
            return value
        value = self.simple(value)
        self.reject(f"{value.text} == 0")
        return value

    # ---- places ----

    def register_name(self, index: int) -> str:
        return f"r{index}"

    def whole(self, place: tree.Register | tree.Memory | tree.Packet) -> Value:
        """Without its part, not extended."""
        if isinstance(place, tree.Register):
            return self._register(place)
        if isinstance(place, tree.Memory):
            return self.memory(place.kind.bits, self.address(place), hold=False)
        return self._packet(place)

    def _register(self, place: tree.Register) -> Value:
        known = place.index.value if isinstance(place.index, tree.Number) else None
        if known is not None and (known >= tree.REGISTERS or not self.ranges.indexed):
            most = self.ranges.registers.get(known)
            return number(0) if most is None else Value(self.register_name(known), most)
        low, high = self.fresh(), self.fresh()
        self.say(f"uint32_t {low}, {high};")
        self.say(f"sram_read_n({self.register_address(place)}, &{low}, &{high});")
        return self.let(f"pair({high}, {low})", ALL)

    def register_address(self, place: tree.Register) -> str:
        if isinstance(place.index, tree.Number):
            return f"file + {8 * place.index.value}u"
        return f"file + ((({self.word(place.index)}) & {tree.REGISTERS - 1}u) << 3)"

    def address(self, place: tree.Memory) -> str:
        octets, scale = place.kind.bits // 8, place.scale
        if isinstance(place.index, tree.Number):
            return f"mbuf + {place.index.value * scale & self._mbuf - 1 & ~(octets - 1)}u"
        most = self.ranges.largest(place.index) * scale
        text = self.word(place.index)
        if scale > 1:
            text = f"({text} << {scale.bit_length() - 1})"
        mask = (self._mbuf - 1) & ~(octets - 1)
        if most + octets > self._mbuf or scale < min(octets, 4):
            text = f"({text} & {number(mask).text})"
        return f"mbuf + {text}"

    def memory(self, bits: int, address: str, *, hold: bool) -> Value:
        how = "_hold" if hold else ""
        if bits == 64:
            low, high = self.fresh(), self.fresh()
            self.say(f"uint32_t {low}, {high};")
            self.say(f"sram_read_n{how}({address}, &{low}, &{high});")
            return self.let(f"pair({high}, {low})", ALL)
        if bits == 32:
            return self.let(f"sram_read{how}({address})", WORD)
        at = self.simple(Value(address, WORD)).text
        most = (1 << bits) - 1
        return self.let(f"sram_read{how}({at}) >> (({at} & 3) << 3) & {number(most).text}", most)

    def store(self, bits: int, address: str, value: Value | None, word: str) -> None:
        """value: of 64 bits; of fewer, word has what is needed."""
        if bits == 64:
            assert value is not None
            kept = self.simple(Value(value.double, ALL)).text
            self.say(f"sram_write({address}, {kept}, {kept} >> 32);")
        elif bits == 32:
            self.say(f"sram_write({address}, {word});")
        else:
            self.say(f"put_part({address}, {number((1 << bits) - 1).text}, {word});")

    def part_shift(self, whole: int, sub: tree.Sub) -> Value:
        """meaning.part_shift."""
        if isinstance(sub.index, tree.Number):
            return number(meaning.part_shift(whole, sub.kind.bits, sub.index.value))
        bits = sub.kind.bits
        index = f"({self.word(sub.index)} & {whole // bits - 1}u)"
        return self.let(f"{whole - bits}u - ({index} << {bits.bit_length() - 1})", whole - bits)

    def _place(self, place: tree.Register | tree.Memory | tree.Packet) -> Value:
        whole = self.whole(place)
        if not place.sub:
            return whole if isinstance(place, tree.Register) else extended(whole, place.kind)
        kind = place.sub.kind
        bits = 64 if isinstance(place, tree.Register) else place.kind.bits
        if kind.bits == bits:
            return extended(whole, kind)
        part = _shifted(">>", whole, self.part_shift(bits, place.sub), False, whole.most)
        most = (1 << kind.bits) - 1
        return extended(Value(f"({part.word} & {number(most).text})", most), kind)

    # ---- the packet ----

    def _packet(self, place: tree.Packet) -> Value:
        size = place.kind.bits // 8
        base, ahead = self._split(place)
        if isinstance(base, (int, type(None))):
            key = (base, ahead, size, place.soft)
            if key not in self.facts.loaded:
                name = self.register_name(base) if base is not None else ""
                text = f"{name} + {ahead}u" if name and ahead else name or f"{ahead}u"
                if not place.soft:
                    self._require_known(base, name, ahead + size)
                self.facts.loaded[key] = self._load(text, size, place.soft)
            return self.facts.loaded[key]
        offset = self.simple(base)
        if place.soft:
            return self._load(offset.text, size, True)
        self.require(offset, size)
        return self._load(offset.word, size, False)

    def _split(self, place: tree.Packet) -> tuple[int | Value | None, int]:
        """A register, or None for 0, and what is added; or a value, and 0."""
        index: tree.Expr = place.index
        ahead = 0
        if place.scale == 1 and isinstance(place.index, tree.Binary) and place.index.op == "+" and (
            isinstance(place.index.right, tree.Number)):  # fmt: skip
            index, ahead = place.index.left, place.index.right.value
        known = self._known(index)
        if known is not None:
            at = known * place.scale + ahead
            return (None, at) if at < WORD - 8 else (number(at & ALL), 0)
        if place.scale == 1 and isinstance(index, tree.Register) and not index.sub and (
            isinstance(index.index, tree.Number)):  # fmt: skip
            at = index.index.value
            indexed = self.ranges.indexed and at < tree.REGISTERS
            if not indexed and self.ranges.largest(index) + ahead + 8 <= WORD:
                return at, ahead
        whole: tree.Expr = place.index
        if place.scale > 1:
            whole = tree.Binary(0, "*", whole, tree.Number(0, place.scale))
        return self.value(whole), 0

    def _known(self, expr: tree.Expr) -> int | None:
        if isinstance(expr, tree.Number):
            return expr.value
        if isinstance(expr, tree.Register) and isinstance(expr.index, tree.Number) and not expr.sub and (
            expr.index.value not in self.ranges.registers and not (self.ranges.indexed and
                                                                   expr.index.value < tree.REGISTERS)):  # fmt: skip
            return 0
        return None

    def _require_known(self, base: int | None, name: str, end: int) -> None:
        if self.facts.ends.get(base, 0) < end:
            self.reject(f"captured < {name} + {end}u" if name else f"captured < {number(end).text}")
            self.facts.ends[base] = end

    def require(self, offset: Value, size: int) -> None:
        """Ends the filter unless so many octets from there on were captured. offset: simple."""
        if offset.most + size <= WORD:
            self.reject(f"captured < {offset.text} + {size}u")
        else:
            self.reject(f"{offset.text} > captured || captured - {offset.word} < {size}u")

    def _load(self, offset: str, size: int, soft: bool) -> Value:
        if size == 8:
            assert not soft  # the prologue reads no quad words
            return self.let(f"octets8({offset})", ALL)
        most = (1 << 8 * size) - 1
        if soft:
            return self.let(f"soft{8 * size}({offset})", most)
        return self.let(f"octets({offset})" + (f" >> {32 - 8 * size}" if size < 4 else ""), most)

    # ---- sets, hashes, strings ----

    def _member(self, expr: tree.Member) -> Value:
        value = self.simple(self.value(expr.value))
        spans, others = sets.known(expr.elements)
        single = [(e.low.value, e.low.value) for e in expr.elements
                  if isinstance(e.low, tree.Number) and e.high == e.low]  # fmt: skip
        ends = [each for each in sets.merged([*spans, *single]) if each[0] <= value.most]
        tests = [self._searched(value, ends)] if len(ends) > SEARCHED_FROM else [_within(value, each) for each in ends]
        for element in others:
            signed = meaning.is_signed(expr.value) or meaning.is_signed(element.low) or meaning.is_signed(element.high)
            low = self.simple(self.value(element.low))
            high = self.simple(self.value(element.high))
            tests.append(f"({_compared('>=', value, low, signed)} && {_compared('<=', value, high, signed)})")
        found = f"({' || '.join(tests)})" if tests else "0u"
        return Value(f"(!{found})" if expr.negated else found, 1)

    def _searched(self, value: Value, ends: list[sets.Ends]) -> str:
        first, last = ends[0][0], ends[-1][1]
        if not value.wide and last > HALF and last - first <= HALF:  # numbers of 16 bits take one word, not two
            value = self.let(f"{value.text} - {number(first).text}", WORD)
            ends = [(low - first, high - first) for low, high in ends]
        name = self.fresh()
        self.say(f"uint32_t {name} = 0;")
        self._search(name, value, ends)
        return name

    def _search(self, name: str, value: Value, ends: list[sets.Ends]) -> None:
        if len(ends) <= 2:
            self.say(f"{name} = {' || '.join(_within(value, each) for each in ends)};")
            return
        half = len(ends) // 2
        with self.braces(f"if ({_compared('<', value, number(ends[half][0]), False)}) {{", ""):
            self._search(name, value, ends[:half])
        with self.braces("} else {"):
            self._search(name, value, ends[half:])

    def _hash(self, expr: tree.Hash) -> Value:
        assert isinstance(expr.length, tree.Number)
        assert isinstance(expr.size, tree.Number)
        length, size = expr.length.value, expr.size.value
        known = self._known(expr.start)
        if known is not None and known < WORD - length:
            self._require_known(None, "", known + length)
            start, end = number(known).text, number(known + length).text
        else:
            offset = self.simple(self.value(expr.start))
            self.require(offset, length)
            start, end = offset.word, f"{offset.word} + {length}u"
        value = self.let(f"hashed({start}, {end})", WORD)
        return value if size > WORD else Value(f"({value.text} % {number(size).text})", size - 1)

    def _contains(self, expr: tree.Contains) -> Value:
        """Four octets at a time, at each place where it could begin."""
        start = self.simple(self.value(expr.value))
        found, at, end = self.fresh("found"), self.fresh("at"), self.fresh("end")
        size = len(expr.octets)
        self.say(f"uint32_t {found} = 0;")
        with self.braces(f"if ({_compared('<=', start, Value('captured', WORD), False)}) {{"):
            self.say(f"uint32_t {at} = {start.word}, {end} = captured;")
            self.say(f"if ({end} - {at} > {SCAN_MAX}u)")
            self.say(f"\t{end} = {at} + {SCAN_MAX}u;")
            with self.braces(f"while ({at} + {size}u <= {end}) {{"):
                tests = [
                    _piece(at, place, expr.octets[place : place + 4], expr.any_case) for place in range(0, size, 4)
                ]
                with self.braces(f"if ({' && '.join(tests)}) {{"):
                    self.say(f"{found} = 1;")
                    self.say("break;")
                self.say(f"{at}++;")
        return Value(found, 1)


def _piece(at: str, place: int, octets: bytes, any_case: bool) -> str:
    """The comparison of up to four octets."""
    unused = 32 - 8 * len(octets)
    bits = bytes(0x20 if any_case and is_letter(octet) else 0 for octet in octets)
    here = f"octets({at}{f' + {place}u' if place else ''})" + (f" >> {unused}" if unused else "")
    if any(bits):
        here = f"({here} | 0x{int.from_bytes(bits, 'big'):x}u)"
    return f"{here} == 0x{int.from_bytes(octets, 'big'):x}u"


def extended(value: Value, kind: tree.Kind) -> Value:
    """From what a place has to what its kind says."""
    if not kind.signed or kind.bits == 64:
        return value
    if kind.bits in (8, 16, 32):
        return Value(f"(uint64_t)(int64_t)(int{kind.bits}_t){value.word}", ALL)
    up = 32 - kind.bits
    return Value(f"(uint64_t)(int64_t)((int32_t)({value.word} << {up}) >> {up})", ALL)


def _within(value: Value, ends: sets.Ends) -> str:
    low, high = ends
    if low == high:
        return f"{value.text} == {number(low).text}"
    if not low:
        return f"{value.text} <= {number(high).text}" if high < value.most else "1u"
    if high >= value.most:
        return f"{value.text} >= {number(low).text}"
    return f"{value.text} - {number(low).text} <= {number(high - low).text}"


def _compared(op: str, left: Value, right: Value, signed: bool) -> str:
    if signed:
        return f"((int64_t){left.double} {op} (int64_t){right.double})"
    return f"({left.double if right.wide else left.text} {op} {right.double if left.wide else right.text})"


def _shifted(op: str, left: Value, count: Value, signed: bool, most: int) -> Value:
    known = count.text[0].isdigit()
    shift = int(count.text.rstrip("ul"), 0) & 63 if known else 0
    by = str(shift) if known else f"({count.word} & 63)"
    if op == ">>" and signed:
        return Value(f"(uint64_t)((int64_t){left.double} >> {by})", ALL)
    small = shift < 32 if known else count.most < 32
    if not left.wide and most <= WORD and small:
        return Value(f"({left.text} {op} {by})", most)
    text = f"({left.double} {op} {by})"
    return Value(f"((uint32_t){text})" if most <= WORD else text, most)
