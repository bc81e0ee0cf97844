# SPDX-License-Identifier: BSD-3-Clause
"""Pass 2: a decision graph to rules.

takes    Node (symbolic.py)
gives    Rule*  ::= ((Field, Intervals), ...)    the packet is accepted when, for one of the rules, every field lies in
                                                 the packet and its value in the intervals

A way through the graph that accepts is a rule. Tests on one field that follow each other are one step with several
exits, so a chain of hundred tests is no hundred ways. Rules may overlap, and that makes them few: behind a test whose
one exit accepts, the others need not say that the test failed, only that its field was there; rules that differ in one
field only are one rule.
"""

from __future__ import annotations

from collections import defaultdict
from heapq import heappop, heappush

from fpl.classify import intervals
from fpl.classify.intervals import Intervals
from fpl.classify.symbolic import Field, Leaf, Need, Node, NotTable, Source, Test

Rule = tuple[tuple[Field, Intervals], ...]
RULES_MAX = 24
RULE_FIELDS_MAX = 24
WAYS_MAX = 4000
Sets = dict[Field, Intervals]


def full(field: Field) -> Intervals:
    return ((0, field.top),)


def _exits(start: Test) -> list[tuple[Node, Intervals]]:
    """Where values of start's field lead to, past all tests on it that follow."""
    field, top = start.field, start.field.top
    reached: dict[int, tuple[Node, Intervals]] = {id(start): (start, full(field))}
    queue: list[tuple[int, int]] = [(start.rank, id(start))]
    out: list[tuple[Node, Intervals]] = []

    def reach(node: Node, values: Intervals) -> None:
        if not values:
            return
        if id(node) in reached:
            reached[id(node)] = (node, intervals.union(reached[id(node)][1], values))
        else:
            reached[id(node)] = (node, values)
            heappush(queue, (node.rank, id(node)))

    while queue:
        node, values = reached[heappop(queue)[1]]
        if isinstance(node, Test) and node.field == field:
            reach(node.yes, intervals.intersection(values, node.values))
            reach(node.no, intervals.difference(values, node.values, top))
        elif isinstance(node, Need) and node.source == field.source:
            reach(node.then, values)
        else:
            out.append((node, values))
    return out


class _Ways:
    """All ways to a leaf that accepts. Each knows its sets twice: as they are, to tell ways that no packet takes, and
    as wide as they may be, for the rule.
    """

    def __init__(self) -> None:
        self.rules: list[tuple[Sets, frozenset[Source]]] = []
        self.results: set[int] = set()
        self._exits: dict[int, list[tuple[Node, Intervals]]] = {}

    def walk(self, root: Node) -> None:
        stack: list[tuple[Node, Sets, Sets, frozenset[Source]]] = [(root, {}, {}, frozenset())]
        steps = 0
        while stack:
            steps += 1
            if steps > WAYS_MAX:
                raise NotTable("too many ways through the program")
            node, exact, wide, needs = stack.pop()
            if isinstance(node, Leaf):
                if node.result:
                    self.results.add(node.result)
                    self.rules.append((wide, needs))
            elif isinstance(node, Need):
                stack.append((node.then, exact, wide, needs | {node.source}))
            elif isinstance(node, Test):
                self._branch(node, exact, wide, needs, stack)

    def _branch(
        self,
        node: Test,
        exact: Sets,
        wide: Sets,
        needs: frozenset[Source],
        stack: list[tuple[Node, Sets, Sets, frozenset[Source]]],
    ) -> None:
        field = node.field
        exits = self._exits.get(id(node))
        if exits is None:
            exits = self._exits[id(node)] = _exits(node)
        accepted: Intervals = ()
        for after, values in exits:
            if isinstance(after, Leaf) and after.result:
                accepted = intervals.union(accepted, values)
        exact_before, wide_before = exact.get(field, full(field)), wide.get(field, full(field))
        for after, values in reversed(exits):
            if isinstance(after, Leaf) and not after.result:
                continue
            possible = intervals.intersection(exact_before, values)
            if possible:
                widened = intervals.intersection(wide_before, intervals.union(values, accepted))
                stack.append((after, {**exact, field: possible}, {**wide, field: widened}, needs))


def _rule(sets: Sets, needs: frozenset[Source]) -> Rule:
    """Without what says nothing: whole sets, where another field reaches further."""
    said = {field: values for field, values in sets.items() if values != full(field)}
    reach = [field.source for field in said if field.source.is_packet]
    left: list[Source] = []
    for source in sorted(needs, key=lambda s: (s.base, -s.end)):
        if not any(other.implies(source) for other in [*reach, *left]):
            left.append(source)
    left = [s for s in left if not any(other is not s and other.implies(s) for other in left)]
    for source in left:
        said[Field(source, source.full)] = full(Field(source, source.full))
    return tuple(said.items())


def _merged(rules: list[Rule]) -> list[Rule]:
    """Rules that differ in one field only become one, until there are none."""
    changed = True
    while changed:
        changed = False
        for field in dict.fromkeys(field for rule in rules for field, _ in rule):
            groups: dict[tuple[bool, frozenset[tuple[Field, Intervals]]], list[Rule]] = defaultdict(list)
            for rule in rules:
                rest = frozenset(item for item in rule if item[0] != field)
                groups[(any(item[0] == field for item in rule), rest)].append(rule)
            out: list[Rule] = []
            for (has_field, _), group in groups.items():
                if len(group) > 1:
                    changed = True
                if not has_field or len(group) == 1:
                    out.append(group[0])
                    continue
                values = intervals.normal(piece for rule in group for f, v in rule if f == field for piece in v)
                out.append(tuple((f, values if f == field else v) for f, v in group[0]))
            rules = out
    return rules


def rules_of(root: Node) -> list[Rule]:
    """Raises NotTable when the results differ, or there are too many rules, or too many fields in one."""
    ways = _Ways()
    ways.walk(root)
    if len(ways.results) > 1:
        raise NotTable("it returns several values")
    rules = _merged([_rule(sets, needs) for sets, needs in ways.rules])
    if len(rules) > RULES_MAX:
        raise NotTable(f"{len(rules)} rules")
    if any(len(rule) > RULE_FIELDS_MAX for rule in rules):
        raise NotTable(f"more than {RULE_FIELDS_MAX} fields in one rule")
    return rules
