# SPDX-License-Identifier: BSD-3-Clause
"""Third pass: fewer words, the same meaning. Rounds of

propagate   copies, numbers and transfer registers go where they are used; what is known is worked out
thread      who knows how the next block's test ends goes on behind it
merge       blocks that follow each other alone become one; those that nothing reaches are gone
prune       what nobody reads is not made

Nothing crosses a block with two ways into it.
"""

from __future__ import annotations

from dataclasses import replace

from ixp_driver.microc.builder import FOLDED, WORD, Builder
from ixp_driver.microc.flow import Liveness, predecessors, touched
from ixp_driver.microc.ir import (
    Alu,
    Bit,
    Block,
    Byte,
    Call,
    Cond,
    Csr,
    Function,
    Import,
    Ins,
    Jump,
    Leave,
    Move,
    Operand,
    Program,
    Ref,
    Stop,
    V,
    X,
    reads,
    targets,
    writes,
)

ROUNDS = 6
CARRIED = {"ADDC": "ADD", "SUBC": "SUB"}
Known = dict[object, Operand]  # of V and of imports' names


def optimise(program: Program) -> None:
    size = 0
    for _ in range(ROUNDS):
        clobbers, before = touched(program), size
        for function in program.all():
            _cut(function)
            known = _propagate(function, clobbers)
            _thread(function, known)
            _merge(function)
            _prune(program, function)
        size = sum(1 + len(block.body) for function in program.all() for block in function.blocks)
        if size == before:
            break
    for function in program.all():
        _merge(function)
        _join_same(function)
        _without_zero_tests(function)


def _join_same(function: Function) -> None:
    """Blocks that do the same, and go on alike, are one."""
    while True:
        first: dict[str, str] = {}
        alias: dict[str, str] = {}
        for block in function.blocks:
            key = f"{block.body}{block.end}"
            if block is not function.blocks[0] and key in first:
                alias[block.label] = first[key]
            first.setdefault(key, block.label)
        if not alias:
            return
        for block in function.blocks:
            end = block.end
            if isinstance(end, Jump):
                block.end = Jump(alias.get(end.target, end.target))
            elif isinstance(end, (Cond, Bit, Byte)):
                block.end = replace(end, yes=alias.get(end.yes, end.yes), no=alias.get(end.no, end.no))
        _merge(function)


def _without_zero_tests(function: Function) -> None:
    """`v = a & b; v - 0` sets Z and N by its first half: nothing that folds numbers may come behind this."""
    for block in function.blocks:
        if not isinstance(block.end, Cond) or block.end.op not in ("EQ", "NE", "MI", "PL") or not block.body:
            continue
        last = block.body[-1]
        if not isinstance(last, Alu) or last.op != "SUB" or last.dst is not None or last.b != 0:
            continue
        for ins in reversed(block.body[:-1]):
            if isinstance(ins, (Alu, Call)) or last.a in set(writes(ins)):
                if isinstance(ins, Alu) and ins.dst == last.a and isinstance(last.a, V):
                    block.body.pop()
                break


def _cut(function: Function) -> None:
    """Behind a KILL or HALT there is nothing."""
    for block in function.blocks:
        for at, ins in enumerate(block.body):
            if isinstance(ins, Leave):
                del block.body[at + 1 :]
                block.end = Stop()
                break


# ---- propagate ----


def _propagate(function: Function, clobbers: dict[str, int]) -> dict[str, Known]:
    """What is known at the end of each block."""
    before = predecessors(function)
    ends: dict[str, Known] = {}
    for block in function.blocks:
        one = before[block.label]
        start = ends.get(one[0].label) if len(one) == 1 and block is not function.blocks[0] else None
        known = dict(start or {})
        body: list[Ins] = []
        for at, ins in enumerate(block.body):
            following = block.body[at + 1] if at + 1 < len(block.body) else None
            carries = isinstance(following, Alu) and following.op in CARRIED
            body.append(_replaced(ins, known, keep=carries))
            if carries:
                block.body[at + 1], keep = _without_carry(body[-1], following)
                if not keep and isinstance(body[-1], Alu):
                    body[-1] = _folded(body[-1])
            _learn(body[-1], known, clobbers)
        block.body = body
        _replace_end(block, known)
        ends[block.label] = known
    return ends


def _at(operand: Operand, known: Known) -> Operand:
    return known.get(operand, operand) if isinstance(operand, V) else operand


def _without_carry(ins: Ins, following: Ins | None) -> tuple[Ins, bool]:
    """What follows a sum of low halves; whether it still needs its carry."""
    assert isinstance(following, Alu)
    if not isinstance(ins, Alu):
        return following, True
    plus = ins.op == "ADD"
    if ins.b == 0:
        carried = not plus
    elif isinstance(ins.a, int) and isinstance(ins.b, int):
        carried = ins.a + ins.b > WORD if plus else ins.a >= ins.b
    else:
        return following, True
    if carried != plus:  # nothing is carried, or borrowed
        return Alu(CARRIED[following.op], following.dst, following.a, following.b), False
    if following.dst is not None and isinstance(following.b, int):
        return Alu(CARRIED[following.op], following.dst, following.a, following.b + 1 & WORD), False
    return following, True


def _replaced(ins: Ins, known: Known, *, keep: bool = False) -> Ins:
    """keep: its condition codes are needed."""
    if isinstance(ins, Alu):
        made = Alu(ins.op, ins.dst, _at(ins.a, known), _at(ins.b, known), _at(ins.n, known))
        if made.op == "DSHR_BY" and isinstance(made.n, X):
            made.n = ins.n
        return made if keep else _folded(made)
    if isinstance(ins, Move):
        return Move(ins.dst, _at(ins.src, known))
    if isinstance(ins, Ref):
        return replace(ins, base=_at(ins.base, known), offset=_at(ins.offset, known))
    if isinstance(ins, Csr) and ins.write:
        return replace(ins, value=_at(ins.value, known))
    if isinstance(ins, Import) and ins.name in known:
        return Move(ins.dst, known[ins.name])
    return ins


def _folded(ins: Alu) -> Ins:
    dst = ins.dst
    if dst is None:
        return ins
    if ins.op == "DSHR_BY" and isinstance(ins.n, int):
        ins = replace(ins, op="DSHR", n=ins.n & 31)
    if isinstance(ins.a, int) and isinstance(ins.b, int) and isinstance(ins.n, int) and ins.op in FOLDED:
        return Move(dst, FOLDED[ins.op](ins.a, ins.b, ins.n) & WORD)
    by = {"SHL_BY": "B_SHL", "SHR_BY": "B_SHR", "ASR_BY": "B_ASR"}.get(ins.op)
    if by and isinstance(ins.a, int):
        ins = replace(ins, op=by, n=ins.a & 31, a=0)
    same = Builder.same(ins.op, ins.a, ins.b, ins.n)
    return ins if same is None else _Same(ins.op, ins.dst, ins.a, ins.b, ins.n, same)


class _Same(Alu):
    """An Alu whose value is its operand's: a Move, where nobody wants its condition codes."""

    def __init__(self, op: str, dst: V | X | None, a: Operand, b: Operand, n: Operand, same: Operand) -> None:
        super().__init__(op, dst, a, b, n)
        self.same = same


def _learn(ins: Ins, known: Known, clobbers: dict[str, int]) -> None:
    written = set(writes(ins))
    if isinstance(ins, Call):
        gone = clobbers[ins.function]
        for key, value in list(known.items()):
            if isinstance(value, X) or any(isinstance(each, V) and gone >> each.number & 1 for each in (key, value)):
                del known[key]
    elif isinstance(ins, Ref) and ins.brings:
        covered = ins.covered()
        for key, value in list(known.items()):
            if isinstance(value, X) and value.number in covered:
                del known[key]
    if written:
        for key, value in list(known.items()):
            if key in written or value in written:
                del known[key]
    if isinstance(ins, Move) and isinstance(ins.dst, V):
        if ins.src != ins.dst:
            known[ins.dst] = ins.src
    elif isinstance(ins, _Same) and isinstance(ins.dst, V) and ins.same != ins.dst:
        known[ins.dst] = ins.same
    elif isinstance(ins, Import):
        known[ins.name] = ins.dst


def _replace_end(block: Block, known: Known) -> None:
    end = block.end
    if isinstance(end, (Bit, Byte)):
        a = _at(end.a, known)
        block.end = replace(end, a=a) if not isinstance(a, int) else Jump(_decided(block, [], known) or end.yes)
    elif isinstance(end, Cond):
        target = _decided(block, block.body, known)
        if target:
            block.end = Jump(target)


def _decided(block: Block, body: list[Ins], known: Known) -> str | None:
    """Where a block's end leads, if the last thing before it is known numbers alone."""
    end = block.end
    if isinstance(end, (Bit, Byte)):
        a = _at(end.a, known)
        if not isinstance(a, int):
            return None
        holds = bool(a >> end.bit & 1) if isinstance(end, Bit) else (a >> 8 * end.byte & 255) == end.value
        return end.yes if holds else end.no
    if not isinstance(end, Cond) or not body or not isinstance(body[-1], Alu):
        return None
    last = body[-1]
    a, b = _at(last.a, known), _at(last.b, known)
    if not isinstance(a, int) or not isinstance(b, int):
        return None
    if last.op == "OR_SHL" and last.n == 0 and end.op in ("EQ", "NE"):
        return end.yes if ((a | b) == 0) == (end.op == "EQ") else end.no
    if last.op != "SUB":
        return None
    signed = [x - (x >> 31 << 32) for x in (a, b)]
    known_to = {"EQ": a == b, "NE": a != b, "CS": a >= b, "CC": a < b, "LT": signed[0] < signed[1],
                "GE": signed[0] >= signed[1]}.get(end.op)  # fmt: skip
    return None if known_to is None else end.yes if known_to else end.no


# ---- thread, merge ----


def _thread(function: Function, known: dict[str, Known]) -> None:
    blocks = {block.label: block for block in function.blocks}

    def beyond(target: str, facts: Known) -> str:
        for _ in range(len(blocks)):
            block = blocks[target]
            if not block.body and isinstance(block.end, Jump):
                following = block.end.target
            elif all(isinstance(ins, Alu) and ins.dst is None for ins in block.body) and len(block.body) < 2:
                following = _decided(block, block.body, facts) or target
            else:
                return target
            if following == target:
                return target
            target = following
        return target

    for block in function.blocks:
        facts, end = known[block.label], block.end
        if isinstance(end, Jump):
            block.end = Jump(beyond(end.target, facts))
        elif isinstance(end, (Cond, Bit, Byte)):
            block.end = replace(end, yes=beyond(end.yes, facts), no=beyond(end.no, facts))
            if block.end.yes == block.end.no:
                block.end = Jump(block.end.yes)


def skip_empty(function: Function) -> None:
    """Blocks that do nothing are passed by."""
    nothing: dict[str, Known] = {block.label: {} for block in function.blocks}
    _thread(function, nothing)
    _merge(function)


def _merge(function: Function) -> None:
    blocks = {block.label: block for block in function.blocks}
    reached, waiting = set[str](), [function.blocks[0].label]
    while waiting:
        label = waiting.pop()
        if label not in reached:
            reached.add(label)
            waiting += targets(blocks[label].end)
    function.blocks = [block for block in function.blocks if block.label in reached]
    before, first = predecessors(function), function.blocks[0]
    gone = set[str]()
    for block in function.blocks:
        if block.label in gone:
            continue
        while isinstance(block.end, Jump) and block.end.target != block.label:
            following = blocks[block.end.target]
            if len(before[following.label]) != 1 or following is first:
                break
            block.body += following.body
            block.end = following.end
            gone.add(following.label)
            for target in targets(block.end):
                before[target] = [block if each is following else each for each in before[target]]
    function.blocks = [block for block in function.blocks if block.label not in gone]


# ---- prune ----


def _prune(program: Program, function: Function) -> None:
    live_at = Liveness(program, function)
    for block in function.blocks:
        live = live_at.out[block.label]
        for operand in (block.end.a,) if isinstance(block.end, (Bit, Byte)) else ():
            live |= 1 << operand.number if isinstance(operand, V) else 0
        flags = isinstance(block.end, Cond)
        kept: list[Ins] = []
        for ins in reversed(block.body):
            needed, ins = _needed(ins, live, flags)
            if not needed:
                continue
            if isinstance(ins, Alu):
                flags = ins.op in ("ADDC", "SUBC")
            live = live_at.before(ins, live)
            kept.append(ins)
        block.body = kept[::-1]
        _straight_to_transfer(block, live_at.out[block.label])


def _needed(ins: Ins, live: int, flags: bool) -> tuple[bool, Ins]:
    """Whether it is, and as what."""
    if isinstance(ins, Alu):
        used = isinstance(ins.dst, X) or (isinstance(ins.dst, V) and bool(live >> ins.dst.number & 1))
        if isinstance(ins, _Same) and not flags and ins.dst is not None:
            return used, Move(ins.dst, ins.same)
        if flags and not used:
            return True, Alu(ins.op, None, ins.a, ins.b, ins.n)
        return used, ins
    if isinstance(ins, (Move, Import)):
        dst = ins.dst
        return isinstance(dst, X) or (bool(live >> dst.number & 1) and ins != Move(dst, dst)), ins
    return True, ins


def _straight_to_transfer(block: Block, live: int) -> None:
    """`v = a + b; $3 = v` becomes `$3 = a + b` where v is of no other use."""
    at = 0
    while at < len(block.body):
        ins = block.body[at]
        if isinstance(ins, Move) and isinstance(ins.dst, X) and isinstance(ins.src, V):
            made = _only_maker(block, at, ins.src, live)
            if made is not None:
                made.dst = ins.dst
                del block.body[at]
                continue
        at += 1


def _only_maker(block: Block, at: int, v: V, live: int) -> Alu | Move | None:
    if live >> v.number & 1 or (isinstance(block.end, (Bit, Byte)) and block.end.a == v):
        return None
    for ins in block.body[at + 1 :]:
        if v in reads(ins):
            return None
        if v in writes(ins):
            break
    for place in range(at - 1, -1, -1):
        ins = block.body[place]
        if v in writes(ins):
            return ins if isinstance(ins, (Alu, Move)) and not isinstance(ins, _Same) else None
        if v in reads(ins) or isinstance(ins, (Ref, Call)):
            return None
    return None
