# SPDX-License-Identifier: BSD-3-Clause
r"""The assembler.

takes    text, in this grammar (statements end with the line, or at ';'; comments begin with // or #):

             program    = { { label ":" } [ statement ] end }
             statement  = ".memory" number | ".steps" number | ".set" name number
                        | ".area" name number "," label          an area: slots, and where `case` leads from there
                        | operation [ operand { "," operand } ]
             (the operand of call is the rest of the statement: a function's name, and its arguments)
             number     = [ "-" ] term { ("+" | "-") term }
             term       = ( 42 | 0x2a | 0b101010 | 10.0.0.1 | a name of .set or .area )

         operations are those of isa.py, in any case, with their operands in the order that FORMS has;
         `ret 5` is retk 5, and `push` takes any number of 64 bits.
gives    Object, verified; or FplError, whose text is the report

Labels and names are apart from each other by case, too. A name of .area stands for the area's number,
before it, too.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from dataclasses import dataclass

from fpl.fpl1.isa import BY_NAME, FACTS, KINDS, LOCALS, Form, Insn, Op, kind_bits
from fpl.fpl1.object import NAME_BYTES, Area, Object
from fpl.fpl1.verify import VerifyError, verify
from fpl.fpl2.report import FplError, Source

ALL = (1 << 64) - 1
U32 = (1 << 32) - 1
FORMS = {
    Form.PLAIN: "nothing", Form.NUMBER: "a number", Form.JUMP: "a label", Form.CASE: "a number and a label",
    Form.LOCAL: "a local, 0 to 63", Form.FACT: f"one of {', '.join(FACTS)}", Form.PACKET: "an offset",
    Form.MEMORY: "an offset", Form.PART: "the bits of the whole: 8, 16, 32 or 64", Form.KIND: "nothing",
    Form.HASH: "octets and the size of the table", Form.CALL: "the name of an external function, and its arguments",
}  # fmt: skip
_STATEMENT = re.compile(r"[^;\n]+")
_COMMENT = re.compile(r"(//|#)[^\n]*")
_LABEL = re.compile(r"\s*([A-Za-z_]\w*)\s*:")
_WORD = re.compile(r"\s*(\.?[A-Za-z_][\w.]*)")
_TERM = re.compile(r"\s*([+-])?\s*(\d+\.\d+\.\d+\.\d+|0[xX][0-9a-fA-F]+|0[bB][01]+|\d+|[A-Za-z_]\w*)")
_AREA_NAME = re.compile(r"(?:\s*[A-Za-z_]\w*\s*:)*\s*\.area\s+([A-Za-z_]\w*)", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Text:
    """A piece of the program and where it begins."""

    words: str
    at: int

    def stripped(self) -> Text:
        return Text(self.words.strip(), self.at + len(self.words) - len(self.words.lstrip()))


def _split(text: Text) -> list[Text]:
    """At the commas."""
    pieces, at = [], text.at
    for words in text.words.split(","):
        pieces.append(Text(words, at).stripped())
        at += len(words) + 1
    return pieces


@dataclass(frozen=True)
class _Line:
    """An operation as it was written. kind: of part, put, ext."""

    op: Op
    kind: int
    operands: list[Text]
    at: int


class _Assembler:
    def __init__(self, source: Source, memory_bytes: int) -> None:
        self._source = source
        self.program = Object([], data_bytes=memory_size(memory_bytes))
        self._labels: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._externals: dict[str, int] = {}
        self._pending: list[tuple[int, Text]] = []  # an instruction, and the label that it jumps to
        self._areas: list[tuple[int, int, Text]] = []
        self._places: list[int] = []  # by instruction, where in the text it stands

    def _error(self, message: str, at: int, hint: str = "") -> FplError:
        return self._source.error(message, at, hint)

    def run(self) -> Object:
        # Comments become blanks: places stay what they are.
        plain = _COMMENT.sub(lambda found: " " * len(found[0]), self._source.text)
        statements = [Text(found[0], found.start()) for found in _STATEMENT.finditer(plain)]
        self._name_areas(statements)
        for statement in statements:
            self._statement(statement)
        self._resolve()
        self._verify(len(plain.rstrip()))
        return self.program

    def _name_areas(self, statements: list[Text]) -> None:
        """Their numbers may be used before they stand in the text."""
        for statement in statements:
            if found := _AREA_NAME.match(statement.words):
                if found[1] in self._numbers:
                    raise self._error(f"the name {found[1]} is there already", statement.at + found.start(1))
                self._numbers[found[1]] = len(self._numbers)

    # ---- statements ----

    def _statement(self, text: Text) -> None:
        while found := _LABEL.match(text.words):
            self._label(found[1], text.at + found.start(1))
            text = Text(text.words[found.end() :], text.at + found.end())
        text = text.stripped()
        if not text.words:
            return
        word = _WORD.match(text.words)
        if word is None:
            raise self._error(f"{text.words.split()[0]!r} is no operation", text.at)
        rest = text.words[word.end() :]
        behind = Text(rest, text.at + word.end())
        whole = word[1].lower() == "call"  # the name of a function, and its arguments
        operands = [] if not rest.strip() else [behind.stripped()] if whole else _split(behind)
        if word[1].startswith("."):
            self._directive(word[1].lower(), operands, text)
        else:
            self._operation(word[1].lower(), operands, text.at)

    def _label(self, name: str, at: int) -> None:
        if name in self._labels:
            raise self._error(f"the label {name} is there already", at)
        self._labels[name] = len(self.program.code)

    def _directive(self, word: str, operands: list[Text], text: Text) -> None:
        takes = {".memory": 1, ".steps": 1, ".set": 1, ".area": 2}
        if word not in takes:
            raise self._error(f"{word} is no directive", text.at, f"Known: {', '.join(takes)}.")
        if len(operands) != takes[word]:
            usage = {".set": ".set NAME NUMBER", ".area": ".area NAME SLOTS, LABEL"}
            raise self._error(f"{word} takes something else", text.at, usage.get(word, f"{word} NUMBER"))
        if word in (".memory", ".steps"):
            value = self._number(operands[0])
            if word == ".memory":
                self.program.data_bytes = max(self.program.data_bytes, memory_size(max(value, 0)))
            else:
                self.program.steps = value
            return
        name, number = self._named(operands[0], word)
        if word == ".set":
            self._numbers[name] = self._number(number)
            return
        slots = self._number(number)
        if not 0 < slots <= 4096:
            raise self._error("an area has 1 to 4096 instructions", number.at)
        self._areas.append((len(self.program.code), slots, operands[1]))
        end = len(self.program.code) + slots
        for _ in range(slots):
            self._emit(Insn(BY_NAME["jmp"].code, k=end), text.at)

    def _named(self, operand: Text, word: str) -> tuple[str, Text]:
        """NAME NUMBER, the name not in use; of areas that is known."""
        found = _NAME.match(operand.words)
        if found is None:
            raise self._error(f"{word} begins with a name", operand.at)
        if word == ".set" and found[0] in self._numbers:
            raise self._error(f"the name {found[0]} is there already", operand.at)
        return found[0], Text(operand.words[found.end() :], operand.at + found.end()).stripped()

    def _operation(self, word: str, operands: list[Text], at: int) -> None:
        name, kind = word, 0
        stem, _, suffix = word.partition(".")
        if stem in ("part", "put", "ext") and suffix in KINDS:
            name, kind = stem, KINDS[suffix]
        elif word == "ret" and operands:
            name = "retk"
        elif word.endswith(".s64") and word[:-3] + "u64" in BY_NAME:
            name = word[:-3] + "u64"
        op = BY_NAME.get(name)
        if op is None or (op.form in (Form.PART, Form.KIND) and suffix not in KINDS):
            close = difflib.get_close_matches(word, [*BY_NAME, *(f"part.{each}" for each in KINDS)], 2)
            raise self._error(f"{word} is no operation", at, f"Is it {' or '.join(close)}?" if close else "")
        self._operands(_Line(op, kind, operands, at))

    def _emit(self, insn: Insn, at: int) -> None:
        self.program.code.append(insn)
        self._places.append(at)

    # ---- operands ----

    def _operands(self, line: _Line) -> None:
        form, op, given = line.op.form, line.op, line.operands
        count = {Form.PLAIN: 0, Form.KIND: 0, Form.CASE: 2, Form.HASH: 2}.get(form, 1)
        least = 0 if op.name.split(".")[0].endswith("x") and form in (Form.PACKET, Form.MEMORY) else count
        if not least <= len(given) <= count:
            raise self._error(f"{op.name} takes {FORMS[form]}", line.at)
        code = op.code
        if form is Form.PLAIN or form is Form.KIND:
            self._emit(Insn(code, line.kind), line.at)
        elif form in (Form.JUMP, Form.CASE):
            value = self._bounded(given[0], 0, 0xFFFF, "case compares with 0 to 65535") if form is Form.CASE else 0
            self._pending.append((len(self.program.code), given[-1]))
            self._emit(Insn(code, b=value), line.at)
        elif form is Form.LOCAL:
            self._emit(Insn(code, self._bounded(given[0], 0, LOCALS - 1, "locals are 0 to 63")), line.at)
        elif form is Form.FACT:
            self._emit(Insn(code, self._fact(given[0])), line.at)
        elif form is Form.CALL:
            self._emit(Insn(code, k=self._external(given[0])), line.at)
        elif form is Form.PART:
            self._emit(Insn(code, line.kind, self._whole(given[0], line.kind)), line.at)
        elif form is Form.HASH:
            octets = self._bounded(given[0], 1, 64, "a hash is of 1 to 64 octets")
            size = self._bounded(given[1], 1, U32 + 1, "the table of a hash has 1 to 2^32 places")
            self._emit(Insn(code, b=octets, k=size & U32), line.at)
        elif op.name in ("push", "pushs"):
            self._push(op, given[0], line.at)
        else:
            value = self._bounded(given[0], 0, U32, "it does not fit into 32 bits") if given else 0
            self._emit(Insn(code, k=value), line.at)

    def _push(self, op: Op, operand: Text, at: int) -> None:
        value = self._bounded(operand, -(1 << 63), ALL, "it does not fit into 64 bits")
        if op.name == "pushs" or -(1 << 31) <= value < 0:
            if not -(1 << 31) <= value <= U32:
                raise self._error("pushs takes a number of 32 bits", operand.at)
            self._emit(Insn(BY_NAME["pushs"].code, k=value & U32), at)
            return
        self._emit(Insn(op.code, k=value & U32), at)
        if value & ALL > U32:
            self._emit(Insn(BY_NAME["high"].code, k=(value & ALL) >> 32), at)

    def _fact(self, operand: Text) -> int:
        if operand.words.upper() not in FACTS:
            raise self._error(f"{operand.words} is not known of a packet", operand.at, f"Known: {', '.join(FACTS)}.")
        return FACTS.index(operand.words.upper())

    def _external(self, operand: Text) -> int:
        words = operand.words
        if not _NAME.match(words) or len(words) >= NAME_BYTES or not (words.isascii() and words.isprintable()):
            raise self._error("call takes the name of an external function, and its arguments", operand.at,
                              f"{NAME_BYTES - 1} octets at most.")  # fmt: skip
        return self._externals.setdefault(operand.words, len(self._externals))

    def _whole(self, operand: Text, kind: int) -> int:
        whole = self._number(operand)
        if whole not in (8, 16, 32, 64) or whole < kind_bits(kind):
            raise self._error(f"a part of {kind_bits(kind)} bits is not in {whole}", operand.at,
                              "The whole has 8, 16, 32 or 64 bits.")  # fmt: skip
        return whole

    def _bounded(self, operand: Text, least: int, most: int, message: str) -> int:
        value = self._number(operand)
        if not least <= value <= most:
            raise self._error(message, operand.at)
        return value

    def _number(self, operand: Text) -> int:
        value, at, words = 0, 0, operand.words
        while at < len(words) or not words:
            found = _TERM.match(words, at)
            if found is None or (at and not found[1]):
                raise self._error(f"{words!r} is no number", operand.at)
            term = self._term(found[2], operand.at + found.start(2))
            value += -term if found[1] == "-" else term
            at = found.end() + len(words[found.end() :]) - len(words[found.end() :].lstrip())
        return value

    def _term(self, word: str, at: int) -> int:
        if word.count(".") == 3:
            try:
                return int(ipaddress.IPv4Address(word))
            except ValueError:
                raise self._error(f"{word} is no address", at) from None
        if word[0].isdigit():
            if len(word) > 1 and word[0] == "0" and word[1].isdigit():
                raise self._error(f"{word} begins with 0", at, "Octal numbers are not known; write 0x for hex.")
            return int(word, 0)
        if word not in self._numbers:
            close = difflib.get_close_matches(word, self._numbers, 2)
            raise self._error(f"{word} is no number", at, f"Is it {' or '.join(close)}?" if close else
                              "Names of numbers are made with .set, before they are used.")  # fmt: skip
        return self._numbers[word]

    # ---- at the end ----

    def _place(self, label: Text) -> int:
        if label.words not in self._labels:
            close = difflib.get_close_matches(label.words, self._labels, 2)
            raise self._error(f"there is no label {label.words}", label.at,
                              f"Is it {' or '.join(close)}?" if close else "")  # fmt: skip
        return self._labels[label.words]

    def _resolve(self) -> None:
        code = self.program.code
        for at, label in self._pending:
            code[at] = Insn(code[at].op, code[at].a, code[at].b, self._place(label))
        self.program.areas = [Area(first, slots, self._place(label)) for first, slots, label in self._areas]
        self.program.externals = list(self._externals)

    def _verify(self, end: int) -> None:
        try:
            verify(self.program)
        except VerifyError as error:
            known = 0 <= error.at < len(self._places)
            hint = "Begin with .memory OCTETS." if error.message == "there is no memory" else ""
            raise self._error(error.message, self._places[error.at] if known else end if not self.program.code else 0,
                              hint) from None  # fmt: skip


def memory_size(asked: int) -> int:
    """Octets that a memory gets: a power of two, at least 8; 0 stays 0."""
    return 0 if asked == 0 else max(8, 1 << (asked - 1).bit_length())


def assemble(text: str, name: str = "<fpl-1>", memory_bytes: int = 0) -> Object:
    """memory_bytes: what the program's memory has at least, whatever its text says. Raises FplError."""
    return _Assembler(Source(text, name), memory_bytes).run()
