# SPDX-License-Identifier: BSD-3-Clause
"""The tables as a program.

takes    a Store (store.py): where its arrays lie, and for each field its trie and its class outside
gives    body for ir.module():
             verdict = always
             for each field that a rule line still alive asks for: class; alive &= ~dead[class]
             for each rule line alive, word by word: verdict[home] |= live & ~(miss[class of field 0] | miss[...] | ...)

An index that comes out of the map is masked where it is used: the verifier believes nothing that LLVM knows. And the
verifier is to know nothing that differs from way to way, else it follows each way to the end: what one field leaves
for the next lies in memory, `work` of this CPU, and lengths are loaded anew for each field.
"""

from __future__ import annotations

from collections.abc import Sequence

from fpl.classify import ir, layout
from fpl.classify.store import (
    ASKED_AT_ONCE,
    ASKS_PADDED,
    BLOCK,
    DE_BRUIJN,
    GROUPS_A_LINE,
    INNER,
    NO_FIELD,
    Size,
    Store,
)
from fpl.classify.symbolic import Field, Source

# `work`, a value of an array map, one per CPU
WORK_ALIVE = 0  # u64[S]: rule lines that may yet say yes
WORK_SUMMARY = 64  # u32: which of them is being worked off
WORK_LINE = 68  # u32: the line that is, while it asks for more fields; WORK_GROUP: from which on; 0: it does not
WORK_GROUP = 72  # u32
WORK_MISSED = 80  # u64[8]: by word of a line, what fields before have missed of it; 0 from line to line
WORK_ROWS = 144  # u32[256]: by field, where the rule lines of its class begin in `miss`; [NO_FIELD] stays 0
WORK_BYTES = WORK_ROWS + 4 * 256
TURNS = 64 * GROUPS_A_LINE + 2  # of the loop over lines, for each summary: each group of fields, and the next summary


class _Program:
    def __init__(self, store: Store, order: Sequence[Field], fd: int) -> None:
        self._store, self._order, self._size, self._fd = store, order, store.size, fd
        self.lines: list[str] = []

    @property
    def _summaries(self) -> range:
        return range(self._size.summaries)

    def _say(self, text: str) -> None:
        self.lines += [f"  {line.strip()}" for line in text.strip().splitlines()]

    def _block(self, label: str) -> None:
        self.lines.append(f"{label}:")

    def _load(self, name: str, kind: str, offset: int | str) -> None:
        """%name: from the store."""
        self._say(f"%{name}.p = getelementptr i8, ptr %tables, i64 {offset}")
        self._say(f"%{name} = load {kind}, ptr %{name}.p, align {8 if kind == 'i64' else 4}")

    def body(self) -> list[str]:
        self.lines += ir.map_value("tables", self._fd)
        for word in range(layout.WORDS):
            self._load(f"always{word}", "i64", 8 * word)
            self._say(f"%v{word}.p = getelementptr i64, ptr %scratch, i64 {word}")
            self._say(f"store i64 %always{word}, ptr %v{word}.p, align 8")
        for i in self._summaries:
            self._load(f"alive{i}", "i64", self._size.alive + 8 * i)
            self._keep(f"keep{i}", "i64", f"%alive{i}", WORK_ALIVE + 8 * i)
        self._say("br label %field0")
        fields = list(self._store.fields)
        for number, field in enumerate(self._order):
            self._field(number, fields.index(field), field)
        self._block(f"field{len(self._order)}")
        self._say("br label %fields")
        self._block("fields")
        self._words()
        return self.lines

    def _field(self, number: int, index: int, field: Field) -> None:
        """Leaves in `work` where the class's rule lines lie, and what is alive."""
        n, known = f"f{number}", self._store.fields[field]
        self._block(f"field{number}")
        asked = "0"
        for i in self._summaries:
            self._load(f"{n}.uses{i}", "i64", self._size.uses + 8 * (index * self._size.summaries + i))
            self._kept(f"{n}.alive{i}", "i64", WORK_ALIVE + 8 * i)
            self._say(f"%{n}.both{i} = and i64 %{n}.uses{i}, %{n}.alive{i}")
            self._say(f"%{n}.asked{i} = or i64 %{n}.both{i}, {asked}")
            asked = f"%{n}.asked{i}"
        self._say(f"%{n}.idle = icmp eq i64 {asked}, 0")
        self._say(f"br i1 %{n}.idle, label %{n}.skip, label %{n}.ask")
        self._block(f"{n}.skip")
        self._keep(f"{n}.none", "i32", "0", WORK_ROWS + 4 * index)
        self._say(f"br label %{n}.next")
        self._block(f"{n}.ask")
        values: list[tuple[str, str]] = []
        self._value(n, field, known.outside, values)
        for level in reversed(range(known.levels)):
            self._level(n, known.levels - 1, level, known.root, values)
        self._block(f"{n}.found")
        self._say(f"%{n}.class = phi i32 " + ", ".join(f"[ {value}, %{label} ]" for value, label in values))
        self._say(f"%{n}.row = mul i32 %{n}.class, {self._size.row_bytes}")
        self._keep(f"{n}.row", "i32", f"%{n}.row", WORK_ROWS + 4 * index)
        stride = 8 * self._size.summaries
        self._say(f"""
            %{n}.dead.row = mul i32 %{n}.class, {stride}
            %{n}.dead.in = and i32 %{n}.dead.row, {stride * (self._size.classes - 1)}
            %{n}.dead.wide = zext i32 %{n}.dead.in to i64
            %{n}.dead.p = getelementptr i8, ptr %tables, i64 %{n}.dead.wide""")
        for i in self._summaries:
            self._say(f"""
                %{n}.dead{i}.p = getelementptr i8, ptr %{n}.dead.p, i64 {self._size.dead + 8 * i}
                %{n}.dead{i} = load i64, ptr %{n}.dead{i}.p, align 8""")
            self._say(f"%{n}.not{i} = xor i64 %{n}.dead{i}, -1")
            self._kept(f"{n}.now{i}", "i64", WORK_ALIVE + 8 * i)
            self._say(f"%{n}.left{i} = and i64 %{n}.now{i}, %{n}.not{i}")
            self._keep(f"{n}.left{i}", "i64", f"%{n}.left{i}", WORK_ALIVE + 8 * i)
        self._say(f"br label %{n}.next")
        self._block(f"{n}.next")
        self._say(f"br label %field{number + 1}")

    def _indexed(self, name: str, index: str, count: int, offset: int) -> None:
        """%name (i64): word `index` of an array of `count` words at an offset of the store."""
        self._say(f"""
            %{name}.in = and i32 {index}, {count - 1}
            %{name}.wide = zext i32 %{name}.in to i64
            %{name}.octet = shl i64 %{name}.wide, 3
            %{name}.at = add i64 %{name}.octet, {offset}""")
        self._load(name, "i64", f"%{name}.at")

    def _volatile(self, name: str, kind: str, base: str, offset: int) -> None:
        self._say(f"""
            %{name}.p = getelementptr i8, ptr {base}, i64 {offset}
            %{name} = load volatile {kind}, ptr %{name}.p, align {8 if kind == "i64" else 4}""")

    def _kept(self, name: str, kind: str, offset: int) -> None:
        """%name: from `work`."""
        self._volatile(name, kind, "%work", offset)

    def _keep(self, name: str, kind: str, value: str, offset: int) -> None:
        self._say(f"""
            %{name}.w = getelementptr i8, ptr %work, i64 {offset}
            store volatile {kind} {value}, ptr %{name}.w, align {8 if kind == "i64" else 4}""")

    def _value(self, n: str, field: Field, outside: int, values: list[tuple[str, str]]) -> None:
        """%n.value: the field; where the packet does not reach it, the class is `outside`."""
        source = field.source
        if source.is_packet:
            self._packet(n, source)
            values += [(str(outside), label) for label in self._outside_from]
        elif source.kind == "length":
            self._volatile(f"{n}.raw", "i32", "%scratch", layout.SCRATCH_WIRE_LEN)
        else:
            self.lines += ir.scratch_load(f"{n}.raw", source.offset)
        self._say(f"%{n}.masked = and i32 %{n}.raw, {ir.signed(field.mask)}")
        self._say(f"%{n}.value = lshr i32 %{n}.masked, {field.shift}")

    def _packet(self, n: str, source: Source) -> None:
        self._outside_from = [f"{n}.ask"]
        self._volatile(f"{n}.data_len", "i32", "%scratch", layout.SCRATCH_DATA_LEN)
        if source.base < 0:
            self._say(f"""
                %{n}.reaches = icmp uge i32 %{n}.data_len, {source.end}
                br i1 %{n}.reaches, label %{n}.load, label %{n}.found""")
            self._block(f"{n}.load")
            self._say(f"%{n}.at = getelementptr i8, ptr %data, i64 {source.offset}")
        else:
            self._say(f"""
                %{n}.has = icmp uge i32 %{n}.data_len, {source.base + 1}
                br i1 %{n}.has, label %{n}.head, label %{n}.found""")
            self._block(f"{n}.head")
            self._outside_from.append(f"{n}.head")
            self._say(f"%{n}.base.p = getelementptr i8, ptr %data, i64 {source.base}")
            self.lines += ir.packet_load(f"{n}.base", f"%{n}.base.p", 1)
            self._say(f"""
                %{n}.low = and i32 %{n}.base, 15
                %{n}.len = shl i32 %{n}.low, 2
                %{n}.end = add i32 %{n}.len, {source.offset + source.size}
                %{n}.reaches = icmp uge i32 %{n}.data_len, %{n}.end
                br i1 %{n}.reaches, label %{n}.load, label %{n}.found""")
            self._block(f"{n}.load")
            self._say(f"""
                %{n}.wide = zext i32 %{n}.len to i64
                %{n}.head.p = getelementptr i8, ptr %data, i64 %{n}.wide
                %{n}.at = getelementptr i8, ptr %{n}.head.p, i64 {source.offset}""")
        self.lines += ir.packet_load(f"{n}.raw", f"%{n}.at", source.size)

    def _level(self, n: str, first: int, level: int, root: int, values: list[tuple[str, str]]) -> None:
        """One step down the trie, from the block that %n.e<level + 1> leads to."""
        if level == first:
            self._say(f"br label %{n}.level{level}")
        self._block(f"{n}.level{level}")
        self._say(f"""
            %{n}.shifted{level} = lshr i32 %{n}.value, {8 * level}
            %{n}.octet{level} = and i32 %{n}.shifted{level}, 255""")
        if level == first:
            self._say(f"%{n}.cell{level} = add i32 %{n}.octet{level}, {root * BLOCK}")
        else:
            self._say(f"%{n}.block{level} = shl i32 %{n}.e{level + 1}, 8")
            self._say(f"%{n}.cell{level} = or i32 %{n}.block{level}, %{n}.octet{level}")
        self._say(f"""
            %{n}.in{level} = and i32 %{n}.cell{level}, {self._size.blocks * BLOCK - 1}
            %{n}.wide{level} = zext i32 %{n}.in{level} to i64
            %{n}.off{level} = shl i64 %{n}.wide{level}, 2
            %{n}.at{level} = add i64 %{n}.off{level}, {self._size.trie}""")
        self._load(f"{n}.e{level}", "i32", f"%{n}.at{level}")
        values.append((f"%{n}.e{level}", f"{n}.level{level}"))
        if level == 0:
            self._say(f"br label %{n}.found")
        else:
            self._say(f"%{n}.leaf{level} = icmp ult i32 %{n}.e{level}, {ir.signed(INNER)}")
            self._say(f"br i1 %{n}.leaf{level}, label %{n}.found, label %{n}.level{level - 1}")

    def _words(self) -> None:
        """All lines alive. The verifier follows each turn of the loop, and must find nothing in registers that differs
        between two ways to the same turn.
        """
        n = self._size.summaries
        self._keep("first", "i32", "0", WORK_SUMMARY)
        self._keep("none", "i32", "0", WORK_GROUP)
        self._say("br label %loop")
        self._block("loop")
        self._say("%turn = phi i32 [ 0, %fields ], [ %turned, %judged ], [ %turned, %gather ], [ %turned, %further ]")
        self._kept("group.kept", "i32", WORK_GROUP)
        self._say(f"""
            %turned = add i32 %turn, 1
            %late = icmp uge i32 %turn, {TURNS * n}
            br i1 %late, label %done, label %go
            go:
            %goes.on = icmp ne i32 %group.kept, 0
            br i1 %goes.on, label %same, label %other""")
        self._block("same")
        self._kept("line.kept", "i32", WORK_LINE)
        self._say("br label %ask")
        self._block("other")
        self._kept("summary.any", "i32", WORK_SUMMARY)
        self._say(f"""
            %summary = and i32 %summary.any, {n - 1}
            %summary.wide = zext i32 %summary to i64
            %left.p = getelementptr i64, ptr %work, i64 %summary.wide
            %left = load volatile i64, ptr %left.p, align 8
            %empty = icmp eq i64 %left, 0
            br i1 %empty, label %further, label %one""")
        self._block("further")
        self._say("%summary.next = add i32 %summary, 1")
        self._keep("second", "i32", "%summary.next", WORK_SUMMARY)
        self._say(f"""
            %all = icmp eq i32 %summary.next, {n}
            br i1 %all, label %done, label %loop""")
        self._block("one")
        self._say(f"""
            %minus = sub i64 0, %left
            %lowest = and i64 %left, %minus
            %rest = xor i64 %left, %lowest
            store volatile i64 %rest, ptr %left.p, align 8
            %spread = mul i64 %lowest, {DE_BRUIJN}
            %place = lshr i64 %spread, 58
            %ctz.at = add i64 %place, {self._size.ctz}
            %ctz.p = getelementptr i8, ptr %tables, i64 %ctz.at
            %ctz = load i8, ptr %ctz.p, align 1
            %bit = zext i8 %ctz to i32
            %above = shl i32 %summary, 6
            %number.any = or i32 %above, %bit
            br label %ask""")
        self._asks()
        self._judge()

    def _asks(self) -> None:
        """Four of the fields that a rule line asks for: where what their classes miss of it lies. Behind the last four
        comes the verdict; what those before missed is kept.
        """
        self._block("ask")
        self._say(f"""
            %line.any = phi i32 [ %line.kept, %same ], [ %number.any, %one ]
            %group.any = phi i32 [ %group.kept, %same ], [ 0, %one ]
            %number = and i32 %line.any, {self._size.lines - 1}
            %group.in = and i32 %group.any, {ASKS_PADDED - ASKED_AT_ONCE | ASKED_AT_ONCE}
            %group = zext i32 %group.in to i64
            %column = mul i32 %number, {self._size.line_bytes}
            %line.wide = zext i32 %number to i64
            %asked.first = mul i64 %line.wide, {ASKS_PADDED}
            %asked.at = add i64 %asked.first, {self._size.asks}
            %asked.p = getelementptr i8, ptr %tables, i64 %asked.at
            %group.p = getelementptr i8, ptr %asked.p, i64 %group""")
        for i in range(ASKED_AT_ONCE):
            self._say(f"""
                %ask{i}.p = getelementptr i8, ptr %group.p, i64 {i}
                %ask{i} = load i8, ptr %ask{i}.p, align 1
                %ask{i}.wide = zext i8 %ask{i} to i64
                %ask{i}.off = shl i64 %ask{i}.wide, 2
                %row{i}.at = getelementptr i8, ptr %work, i64 %ask{i}.off
                %row{i}.p = getelementptr i8, ptr %row{i}.at, i64 {WORK_ROWS}
                %row{i} = load volatile i32, ptr %row{i}.p, align 4
                %cell{i} = add i32 %row{i}, %column
                %cell{i}.in = and i32 %cell{i}, {self._size.classes * self._size.row_bytes - self._size.line_bytes}
                %cell{i}.wide = zext i32 %cell{i}.in to i64
                %miss{i}.at = add i64 %cell{i}.wide, {self._size.miss}
                %miss{i}.p = getelementptr i8, ptr %tables, i64 %miss{i}.at""")
        self._say(f"""
            %next.p = getelementptr i8, ptr %group.p, i64 {ASKED_AT_ONCE}
            %next = load i8, ptr %next.p, align 1
            %end = icmp eq i8 %next, {NO_FIELD - 256}
            br i1 %end, label %judge, label %gather""")
        self._block("gather")
        for word in range(self._size.width):
            missed = self._missed(f"g{word}", word)
            self._keep(f"g{word}.missed", "i64", missed, WORK_MISSED + 8 * word)
        self._say(f"%group.next = add i32 %group.in, {ASKED_AT_ONCE}")
        self._keep("g.line", "i32", "%number", WORK_LINE)
        self._keep("g.group", "i32", "%group.next", WORK_GROUP)
        self._say("br label %loop")

    def _judge(self) -> None:
        self._block("judge")
        self._indexed("home", "%number", self._size.lines, self._size.home)
        self._say(f"""
            %live.off = zext i32 %column to i64
            %live.at = add i64 %live.off, {self._size.live}
            %live.p = getelementptr i8, ptr %tables, i64 %live.at
            %verdict = and i64 %home, {layout.WORDS // self._size.width - 1}
            %v.at = mul i64 %verdict, {self._size.line_bytes}
            %v.p = getelementptr i8, ptr %scratch, i64 %v.at""")
        for word in range(self._size.width):
            missed = self._missed(f"j{word}", word)
            self._say(f"""
                %live{word}.p = getelementptr i64, ptr %live.p, i64 {word}
                %live{word} = load i64, ptr %live{word}.p, align 8
                %hit{word} = xor i64 {missed}, -1
                %bits{word} = and i64 %hit{word}, %live{word}
                %v{word}.to = getelementptr i64, ptr %v.p, i64 {word}
                %v{word}.old = load i64, ptr %v{word}.to, align 8
                %v{word}.new = or i64 %v{word}.old, %bits{word}
                store i64 %v{word}.new, ptr %v{word}.to, align 8""")
        self._kept("was.more", "i32", WORK_GROUP)
        self._say("""
            %was.one = icmp eq i32 %was.more, 0
            br i1 %was.one, label %judged, label %clean""")
        self._block("clean")
        for word in range(self._size.width):
            self._keep(f"clean{word}", "i64", "0", WORK_MISSED + 8 * word)
        self._keep("clean.group", "i32", "0", WORK_GROUP)
        self._say("br label %judged")
        self._block("judged")
        self._say("br label %loop")

    def _missed(self, name: str, word: int) -> str:
        """What the fields of this turn and those before miss of a word."""
        self._kept(f"{name}.before", "i64", WORK_MISSED + 8 * word)
        missed = f"%{name}.before"
        for i in range(ASKED_AT_ONCE):
            self._say(f"""
                %{name}.m{i}.p = getelementptr i64, ptr %miss{i}.p, i64 {word}
                %{name}.m{i} = load i64, ptr %{name}.m{i}.p, align 8
                %{name}.missed{i} = or i64 {missed}, %{name}.m{i}""")
            missed = f"%{name}.missed{i}"
        return missed


def body(store: Store, order: Sequence[Field], fd: int) -> list[str]:
    """fd: what the program has for the store's descriptor."""
    return _Program(store, order, fd).body()


def shape(size: Size, store: Store, order: Sequence[Field]) -> tuple[object, ...]:
    """Two stores of one shape have one program, but for the map's descriptor."""
    fields = list(store.fields)
    known = [(fields.index(f), store.fields[f].root, store.fields[f].levels) for f in order]
    return (size, tuple(order), tuple(known))
