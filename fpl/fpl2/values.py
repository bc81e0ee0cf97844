# SPDX-License-Identifier: BSD-3-Clause
"""Of the fourth pass, lower.py: places and values, as lines of LLVM IR. Every value is an i64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fpl.fpl2 import bounds, meaning, sets, tables, tree
from fpl.fpl2.check import SCAN_MAX, Cost
from fpl.fpl2.emit import Guards, Lines
from fpl.fpl2.externals import key_of
from fpl.fpl2.scope import FACTS
from fpl.fpl2.strings import is_letter

OWN_FACTS = [name for name in FACTS if name not in ("LEN", "CAPLEN")]
BINARY = {"+": "add", "-": "sub", "*": "mul", "&": "and", "|": "or", "^": "xor"}
RELATIONS = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
LINEAR_MAX = 4  # ranges that are compared with one after the other
_Made = Callable[[], str]


class Values:
    TABLES = True  # constants may lie beside the code
    KEPT = ""  # how registers are loaded and stored: "volatile " where LLVM may not keep them elsewhere

    def __init__(self, mbuf_bytes: int, cost: Cost) -> None:
        self._out = Lines()
        self._guards = self._guards_of(mbuf_bytes)
        self._externals = [key_of(name) for name in cost.externals]
        self._calls = cost.calls
        self._leave: list[str] = []  # labels behind the loops that we are in
        self._constants: list[str] = []
        self._tables: dict[str, str] = {}  # names of constants, by what they are

    def _guards_of(self, mbuf_bytes: int) -> Guards:
        return Guards(self._out, mbuf_bytes)

    def _test(self, expr: tree.Expr) -> str:
        return self._out.let(f"icmp ne i64 {self._value(expr)}, 0")

    # ---- places ----

    def _narrow(self, value: str, bits: int) -> str:
        return value if bits == 64 else self._out.let(f"trunc i64 {value} to i{bits}")

    def _register(self, place: tree.Register) -> str:
        if isinstance(place.index, tree.Number):
            return f"%r{place.index.value}"
        return self._guards.register(self._value(place.index))

    def _scaled(self, index: tree.Expr, scale: int) -> str:
        value = self._value(index)
        return value if scale == 1 else self._out.let(f"mul i64 {value}, {scale}")

    def _memory(self, place: tree.Memory) -> str:
        return self._guards.memory(self._scaled(place.index, place.scale), place.kind.bits // 8)

    def _load(self, place: tree.Register | tree.Memory | tree.Packet) -> str:
        """The whole, without its sub-field, zero-extended."""
        out = self._out
        if isinstance(place, tree.Register):
            return out.let(f"load {self.KEPT}i64, ptr {self._register(place)}, align 8")
        bits = place.kind.bits
        if isinstance(place, tree.Other):
            return self._extern(place.call())
        if isinstance(place, tree.Memory):
            raw = out.let(f"load i{bits}, ptr {self._memory(place)}, align {bits // 8}")
            return raw if bits == 64 else out.let(f"zext i{bits} {raw} to i64")
        return self._packet(place)

    def _packet(self, place: tree.Packet) -> str:
        out, bits = self._out, place.kind.bits
        offset = self._offset(place)
        inside = self._guards.inside(offset, bits // 8)
        if not place.soft:
            self._guards.require(inside)
            return self._octets(offset, bits)
        here, there, end = out.label("soft"), out.label("read"), out.label("had")
        out.goto(here)
        out.block(here)
        out.branch(inside, there, end, self._guards.LIKELY)
        out.block(there)
        value = self._octets(offset, bits)
        out.goto(end)
        out.block(end)
        return out.let(f"phi i64 [ 0, %{here} ], [ {value}, %{there} ]")

    def _offset(self, place: tree.Packet) -> str:
        """Of the first octet, and what is known of it told to the guards."""
        largest, parts = bounds.most(place.index), bounds.split(place.index)
        if parts and place.scale == 1:
            base = self._load(parts[0])
            offset = self._out.let(f"add i64 {base}, {parts[1]}")
            self._guards.is_sum(offset, base, parts[1])
            return offset
        offset = self._scaled(place.index, place.scale)
        if largest is not None:
            self._guards.is_small(offset)
        return offset

    def _octets(self, offset: str, bits: int) -> str:
        out = self._out
        pointer = self._guards.packet(offset)
        raw = out.let(f"load i{bits}, ptr {pointer}, align 1")
        if bits > 8:
            raw = out.let(f"call i{bits} @llvm.bswap.i{bits}(i{bits} {raw})")
        return raw if bits == 64 else out.let(f"zext i{bits} {raw} to i64")

    def _part_shift(self, whole: int, sub: tree.Sub) -> str:
        """meaning.part_shift, as i64."""
        if isinstance(sub.index, tree.Number):
            return str(meaning.part_shift(whole, sub.kind.bits, sub.index.value))
        index = self._out.let(f"and i64 {self._value(sub.index)}, {whole // sub.kind.bits - 1}")
        return self._out.let(f"sub i64 {whole - sub.kind.bits}, {self._out.let(f'mul i64 {index}, {sub.kind.bits}')}")

    def _extended(self, value: str, kind: tree.Kind) -> str:
        """From zero-extended to what the kind says."""
        if not kind.signed or kind.bits == 64:
            return value
        up = self._out.let(f"shl i64 {value}, {64 - kind.bits}")
        return self._out.let(f"ashr i64 {up}, {64 - kind.bits}")

    def _place(self, place: tree.Register | tree.Memory | tree.Packet) -> str:
        out = self._out
        whole = self._load(place)
        if not place.sub:
            return whole if isinstance(place, tree.Register) else self._extended(whole, place.kind)
        kind = place.sub.kind
        shift = self._part_shift(64 if isinstance(place, tree.Register) else place.kind.bits, place.sub)
        part = out.let(f"lshr i64 {whole}, {shift}")
        if kind.bits < 64:
            part = out.let(f"and i64 {part}, {wrapped((1 << kind.bits) - 1)}")
        return self._extended(part, kind)

    # ---- values ----

    @staticmethod
    def _relation(op: str, signed: bool) -> str:
        name = RELATIONS[op]
        return name if op in ("==", "!=") else f"{'s' if signed else 'u'}{name}"

    def _operate(self, op: str, left: str, right: str, signed: bool) -> str:
        out = self._out
        if op in BINARY:
            return out.let(f"{BINARY[op]} i64 {left}, {right}")
        if op in RELATIONS:
            return out.flag(out.let(f"icmp {self._relation(op, signed)} i64 {left}, {right}"))
        if op in ("<<", ">>"):
            count = out.let(f"and i64 {right}, 63")
            name = "shl" if op == "<<" else "ashr" if signed else "lshr"
            return out.let(f"{name} i64 {left}, {count}")
        self._guards.divisor(right)
        if not signed:
            return out.let(f"{'udiv' if op == '/' else 'urem'} i64 {left}, {right}")
        return self._signed_division(op, left, right)

    def _signed_division(self, op: str, left: str, right: str) -> str:
        """By magnitudes: no processor's own meaning of the smallest number divided by -1, nor an instruction that eBPF
        lacks."""
        out = self._out
        signs = [out.let(f"ashr i64 {value}, 63") for value in (left, right)]
        sizes = [
            out.let(f"sub i64 {out.let(f'xor i64 {value}, {sign}')}, {sign}")
            for value, sign in zip((left, right), signs, strict=True)
        ]
        result = out.let(f"{'udiv' if op == '/' else 'urem'} i64 {sizes[0]}, {sizes[1]}")
        sign = out.let(f"xor i64 {signs[0]}, {signs[1]}") if op == "/" else signs[0]
        return out.let(f"sub i64 {out.let(f'xor i64 {result}, {sign}')}, {sign}")

    def _value(self, expr: tree.Expr) -> str:
        out = self._out
        if isinstance(expr, tree.Number):
            return str(wrapped(expr.value))
        if isinstance(expr, tree.Fact):
            return self._fact(expr.name)
        if isinstance(expr, (tree.Register, tree.Memory, tree.Packet)):
            return self._place(expr)
        if isinstance(expr, tree.Unary):
            value = self._value(expr.operand)
            if expr.op == "!":
                return out.flag(out.let(f"icmp eq i64 {value}, 0"))
            return out.let(f"sub i64 0, {value}" if expr.op == "-" else f"xor i64 {value}, -1")
        if isinstance(expr, tree.Binary):
            return self._binary(expr)
        if isinstance(expr, tree.When):
            return self._choice(expr.test, lambda: self._value(expr.value), "0", on=True)
        if isinstance(expr, tree.Member):
            return self._member(expr)
        if isinstance(expr, tree.Hash):
            return self._hash(expr)
        if isinstance(expr, tree.Contains):
            return self._contains(expr)
        assert isinstance(expr, tree.Extern)
        return self._extern(expr)

    def _fact(self, name: str) -> str:
        if name in ("LEN", "CAPLEN"):
            return "%wire.wide" if name == "LEN" else self._guards.captured()
        out = self._out
        pointer = out.let(f"getelementptr i32, ptr %facts, i64 {OWN_FACTS.index(name)}")
        return out.let(f"zext i32 {out.let(f'load i32, ptr {pointer}, align 4')} to i64")

    def _choice(self, test: tree.Expr, other: _Made, fixed: str, *, on: bool) -> str:
        """other() where the test is `on`, else the fixed value."""
        out = self._out
        condition = self._test(test)
        asked, more, end = out.label("asked"), out.label("more"), out.label("chosen")
        out.goto(asked)
        out.block(asked)
        out.branch(condition, *((more, end) if on else (end, more)))
        out.block(more)
        value = other()
        last = out.label("last")
        out.goto(last)
        out.block(last)
        out.goto(end)
        out.block(end)
        return out.let(f"phi i64 [ {fixed}, %{asked} ], [ {value}, %{last} ]")

    def _binary(self, expr: tree.Binary) -> str:
        if expr.op in ("&&", "||"):
            return self._choice(expr.left, lambda: self._out.flag(self._test(expr.right)), str(int(expr.op == "||")),
                                on=expr.op == "&&")  # fmt: skip
        left, right = self._value(expr.left), self._value(expr.right)
        signed = (
            meaning.is_signed(expr.left) if expr.op in ("<<", ">>") else meaning.meets_signed(expr.left, expr.right)
        )
        return self._operate(expr.op, left, right, signed)

    def _member(self, expr: tree.Member) -> str:
        out, when = self._out, expr.value
        if isinstance(when, tree.When) and sets.leaves_out_zero(expr.elements):
            asked = replace(expr, value=when.value)  # of a header that is not there nothing need be looked up
            return self._choice(when.test, lambda: self._member(asked), str(int(expr.negated)), on=True)
        value = self._value(expr.value)
        single = sorted({e.low.value for e in expr.elements if isinstance(e.low, tree.Number) and e.high == e.low})
        spans, others = sets.known(expr.elements)
        if self.TABLES:
            single, spans = tables.in_one(single, spans)
        found = self._one_of(value, single) if single else "false"
        if spans:
            found = out.let(f"or i1 {found}, {self._within(value, spans)}")
        for element in others:
            signed = meaning.is_signed(expr.value) or meaning.is_signed(element.low) or meaning.is_signed(element.high)
            low, high = self._value(element.low), self._value(element.high)
            above = out.let(f"icmp {self._relation('>=', signed)} i64 {value}, {low}")
            below = out.let(f"icmp {self._relation('<=', signed)} i64 {value}, {high}")
            found = out.let(f"or i1 {found}, {out.let(f'and i1 {above}, {below}')}")
        return out.flag(out.let(f"xor i1 {found}, {'true' if expr.negated else 'false'}"))

    def _within(self, value: str, spans: list[sets.Ends]) -> str:
        """i1: in one of these, which are in order: a search, so that a long set costs its logarithm."""
        out = self._out
        if len(spans) <= LINEAR_MAX:
            found = "false"
            for low, high in spans:
                beyond = out.let(f"sub i64 {value}, {low}")
                found = out.let(f"or i1 {found}, {out.let(f'icmp ule i64 {beyond}, {high - low}')}")
            return found
        half = len(spans) // 2
        below, above, end = out.label("below"), out.label("above"), out.label("found")
        out.branch(out.let(f"icmp ult i64 {value}, {spans[half][0]}"), below, above)
        results = []
        for label, part in ((below, spans[:half]), (above, spans[half:])):
            out.block(label)
            found, last = self._within(value, part), out.label("last")
            out.goto(last)
            out.block(last)
            out.goto(end)
            results.append(f"[ {found}, %{last} ]")
        out.block(end)
        return out.let(f"phi i1 {', '.join(results)}")

    def _one_of(self, value: str, numbers: list[int]) -> str:
        """i1, by a table, or by a switch, of which LLVM makes a search."""
        out, table = self._out, tables.table_of(numbers) if self.TABLES else None
        if table is not None:
            return self._looked_up(value, table)
        asked, yes, end = out.label("among"), out.label("in"), out.label("known")
        out.goto(asked)
        out.block(asked)
        cases = " ".join(f"i64 {wrapped(number)}, label %{yes}" for number in numbers)
        out.say(f"switch i64 {value}, label %{end} [ {cases} ]")
        out.block(yes)
        out.goto(end)
        out.block(end)
        return out.let(f"phi i1 [ false, %{asked} ], [ true, %{yes} ]")

    def _looked_up(self, value: str, table: tables.Table) -> str:
        out, kind = self._out, f"i{table.bits}"
        words = ", ".join(f"{kind} {wrapped(word)}" for word in table.words)
        constant = f"internal constant [{len(table.words)} x {kind}] [{words}]"
        name = self._tables.setdefault(constant, f"@set.{len(self._tables)}")

        def word(at: str) -> str:
            loaded = out.let(f"load {kind}, ptr {out.let(f'getelementptr {kind}, ptr {name}, i64 {at}')}, align 4")
            return loaded if table.bits == 64 else out.let(f"zext {kind} {loaded} to i64")

        folded = value if table.bits == 32 else out.let(f"xor i64 {value}, {out.let(f'lshr i64 {value}, 32')}")
        h = out.let(f"mul i64 {folded}, {wrapped(table.multiplier)}")
        moved = word(out.let(f"lshr i64 {h}, {64 - table.bucket_bits}"))
        mixed = out.let(f"xor i64 {out.let(f'lshr i64 {h}, {tables.LOW_BITS}')}, {moved}")
        slot = out.let(f"add i64 {out.let(f'and i64 {mixed}, {table.slots - 1}')}, {table.buckets}")
        return out.let(f"icmp eq i64 {word(slot)}, {value}")

    def _hash(self, expr: tree.Hash) -> str:
        out = self._out
        assert isinstance(expr.length, tree.Number)
        assert isinstance(expr.size, tree.Number)
        start = self._value(expr.start)
        self._guards.require(self._guards.inside(start, expr.length.value))
        pointer = self._guards.packet(start)
        value = str(meaning.HASH_START - (1 << 32))
        for at in range(expr.length.value):
            octet = out.let(f"load i8, ptr {out.let(f'getelementptr i8, ptr {pointer}, i64 {at}')}, align 1")
            mixed = out.let(f"xor i32 {value}, {out.let(f'zext i8 {octet} to i32')}")
            value = out.let(f"mul i32 {mixed}, {meaning.HASH_FACTOR}")
        for shift, factor in meaning.MIX:
            mixed = out.let(f"xor i32 {value}, {out.let(f'lshr i32 {value}, {shift}')}")
            value = out.let(f"mul i32 {mixed}, {factor if factor < 1 << 31 else factor - (1 << 32)}")
        wide = out.let(f"zext i32 {value} to i64")
        return out.let(f"urem i64 {wide}, {expr.size.value}")

    def _scanned(self, expr: tree.Contains) -> tuple[str, str]:
        """Where CONTAINS begins to look, and how many octets are there for it."""
        out = self._out
        start, captured = self._value(expr.value), self._guards.captured()
        end = out.let(f"add i64 {start}, {SCAN_MAX}")
        cut = out.let(f"icmp ult i64 {end}, {captured}")
        inside = out.let(f"icmp ule i64 {start}, {captured}")
        end = out.let(f"select i1 {cut}, i64 {end}, i64 {captured}")
        return start, out.let(f"select i1 {inside}, i64 {out.let(f'sub i64 {end}, {start}')}, i64 0")

    def _contains(self, expr: tree.Contains) -> str:
        """One loop over the places where it could begin, compared octet by octet."""
        out, octets = self._out, expr.octets
        start, room = self._scanned(expr)
        before, head, look, on, found = (out.label(name) for name in ("scan", "place", "look", "on", "scanned"))
        out.goto(before)
        out.block(before)
        out.goto(head)
        out.block(head)
        at, following = f"%{out.fresh()}", f"%{out.fresh()}"
        out.say(f"{at} = phi i64 [ 0, %{before} ], [ {following}, %{on} ]")
        last = out.let(f"add i64 {at}, {len(octets)}")
        out.branch(out.let(f"icmp ule i64 {last}, {room}"), look, found)
        out.block(look)
        place = out.let(f"getelementptr i8, ptr %packet, i64 {out.let(f'add i64 {start}, {at}')}")
        hits: list[str] = []
        for i, octet in enumerate(octets):
            here = out.let(f"load i8, ptr {out.let(f'getelementptr i8, ptr {place}, i64 {i}')}, align 1")
            if expr.any_case and is_letter(octet):
                here = out.let(f"or i8 {here}, 32")
            same = out.let(f"icmp eq i8 {here}, {octet - 256 if octet > 127 else octet}")
            nearer = out.label("same") if i + 1 < len(octets) else found
            hits.append(self._current(look, i))
            out.branch(same, nearer, on)
            if i + 1 < len(octets):
                out.block(nearer)
                self._last_block = nearer
        out.block(on)
        out.say(f"{following} = add i64 {at}, 1")
        out.goto(head)
        out.block(found)
        return out.let(f"phi i64 [ 0, %{head} ], [ 1, %{hits[-1]} ]")

    def _current(self, first: str, at: int) -> str:
        return first if at == 0 else self._last_block

    def _extern(self, expr: tree.Extern) -> str:
        out, key = self._out, key_of(expr.name)
        call = self._calls[key]
        read_at, write_at = self._value(expr.read_at), self._value(expr.write_at)
        for expression, offset, octets in ((expr.read_at, read_at, call.reads), (expr.write_at, write_at, call.writes)):
            if octets and not isinstance(expression, tree.Number):
                self._guards.region(offset, octets)
        pointer = out.let(f"getelementptr ptr, ptr %externals, i64 {self._externals.index(key)}")
        use = out.let(f"load ptr, ptr {pointer}, align 8")
        function = out.let(f"load ptr, ptr {use}, align 8")
        return out.let(f"call i64 {function}(ptr {use}, ptr %packet, i32 %captured, ptr %memory, i64 {read_at}, "
                       f"i64 {write_at})")  # fmt: skip


def wrapped(value: int) -> int:
    """As LLVM writes a 64-bit constant."""
    return value - (1 << 64) if value >> 63 else value
