# SPDX-License-Identifier: BSD-3-Clause
"""The disassembler.

takes    Object, whose instructions need not mean anything
gives    text; of what assemble.py made, it makes the same object again
"""

from __future__ import annotations

from fpl.fpl1.isa import FACTS, OPS, Form, Insn, kind_name
from fpl.fpl1.object import Area, Object


def disassemble(program: Object) -> str:
    labels = _labels(program)
    areas = {area.first: area for area in program.areas}
    lines = [f".steps {program.steps}"]
    if program.data_bytes:
        lines.append(f".memory {program.data_bytes}")
    at = 0
    while at < len(program.code):
        if at in labels:
            lines.append(f"{labels[at]}:")
        area = areas.get(at)
        if area is not None and _is_empty(program, area, labels):
            lines.append(f"        .area a{program.areas.index(area)} {area.slots}, {labels[area.target]}")
            at = area.end
            continue
        lines.append(f"        {_insn(program, program.code[at], labels)}")
        at += 1
    return "\n".join([*lines, ""])


def _is_empty(program: Object, area: Area, labels: dict[int, str]) -> bool:
    """Written as an area: nothing was added, and nothing leads into it."""
    same = all(insn == Insn(0x04, k=area.end) for insn in program.code[area.first : area.end])
    return same and area.target in labels and not any(area.first < place < area.end for place in labels)


def _labels(program: Object) -> dict[int, str]:
    inside = {at for area in program.areas for at in range(area.first, area.end)}
    places = {area.target for area in program.areas}
    for at, insn in enumerate(program.code):
        op = OPS.get(insn.op)
        if (op and op.form in (Form.JUMP, Form.CASE) and at not in inside) or (
            op and at in inside and insn != Insn(0x04, k=_area_of(program, at).end)
        ):
            places.add(insn.k)
    return {at: f"l{at}" for at in sorted(places) if at < len(program.code)}


def _area_of(program: Object, at: int) -> Area:
    return next(area for area in program.areas if area.first <= at < area.end)


def _insn(program: Object, insn: Insn, labels: dict[int, str]) -> str:
    op = OPS.get(insn.op)
    if op is None:
        return f"// no operation: {insn.to_bytes().hex(' ')}"
    target = labels.get(insn.k, str(insn.k))
    signed = insn.k - (1 << 32) if insn.k >> 31 else insn.k
    name = program.externals[insn.k] if op.form is Form.CALL and insn.k < len(program.externals) else str(insn.k)
    fact = FACTS[insn.a] if op.form is Form.FACT and insn.a < len(FACTS) else str(insn.a)
    words = {
        Form.PLAIN: op.name,
        Form.NUMBER: f"{op.name} {signed if op.name == 'pushs' else insn.k}",
        Form.JUMP: f"{op.name} {target}",
        Form.CASE: f"{op.name} {insn.b}, {target}",
        Form.LOCAL: f"{op.name} {insn.a}",
        Form.FACT: f"{op.name} {fact}",
        Form.PACKET: f"{op.name} {insn.k}",
        Form.MEMORY: f"{op.name} {insn.k}",
        Form.PART: f"{op.name}.{kind_name(insn.a)} {insn.b}",
        Form.KIND: f"{op.name}.{kind_name(insn.a)}",
        Form.HASH: f"{op.name} {insn.b}, {insn.k or 1 << 32}",
        Form.CALL: f"{op.name} {name}",
    }
    return words[op.form]
