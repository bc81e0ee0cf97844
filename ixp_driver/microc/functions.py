# SPDX-License-Identifier: BSD-3-Clause
"""Second pass: the parser's tree becomes a Program of ir.py.

`static inline` functions become part of whoever calls them, and those that are called once; all others are there once,
called by BAL, and return by RTN. Nothing calls itself: there is no stack. Every context begins with main().
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pycparser import c_ast

from ixp_driver.microc.builder import Builder, Type, Value
from ixp_driver.microc.intrinsics import Intrinsics
from ixp_driver.microc.ir import Call, CompileError, Function, Jump, Leave, Program, Return, Stop, V
from ixp_driver.microc.names import Imported, Scopes, Variable, type_of


@dataclass
class _Frame:
    """What RETURN means here. exit None: of a function that is called."""

    name: str
    result: Variable | None
    exit: str | None
    labels: dict[str, str] = field(default_factory=dict)  # of goto
    wanted: set[str] = field(default_factory=set)
    there: set[str] = field(default_factory=set)


class Lower(Intrinsics):
    def __init__(self, runtime: c_ast.FileAST) -> None:
        self._ir = Program(Function("main", V(0)), {}, [], 1)
        self.scopes = Scopes()
        self.scopes.open()
        self._definitions: dict[str, c_ast.FuncDef] = {}
        self._calls: dict[str, int] = {}
        self._made: dict[str, tuple[list[Variable], Variable | None]] = {}
        self._within: list[str] = []
        self._frames: list[_Frame] = []
        self._loops: list[tuple[str, str]] = []  # labels of continue and break
        self._library = {item.decl.name: item for item in runtime.ext if isinstance(item, c_ast.FuncDef)}

    def program(self, file: c_ast.FileAST) -> Program:
        self.out = Builder(self._ir, self._ir.main)
        for item in file.ext:
            self._at_top(item)
        _count(file, self._calls)
        main = self._definitions.get("main")
        if main is None:
            raise CompileError("there is no main()")
        self._frames.append(_Frame("main", None, self.out.label("done")))
        self._within.append("main")
        self._body(main)
        self.out.start(str(self._frames[0].exit))
        self.out.block.body.append(Leave("KILL", 0))
        self.out.end(Stop())
        return self._ir

    def _at_top(self, item: c_ast.Node) -> None:
        if isinstance(item, c_ast.FuncDef):
            if item.decl.name in self._definitions:
                raise self.wrong(item, f"{item.decl.name} is defined twice")
            self._definitions[item.decl.name] = item
        elif isinstance(item, c_ast.Decl) and isinstance(item.type, c_ast.FuncDecl):
            return
        elif isinstance(item, c_ast.Decl):
            self._declared(item, top=True)
        elif not isinstance(item, (c_ast.Typedef, c_ast.Pragma)):
            raise self.wrong(item, "microengine C has no such declaration")

    def _declared(self, item: c_ast.Decl, *, top: bool = False) -> None:
        if isinstance(item.type, c_ast.Enum):
            self._enum(item.type)
            return
        kind = type_of(item.type)
        if kind is None:
            raise self.wrong(item, f"{item.name} is void")
        if top and "extern" in item.storage:
            if kind != Type(32, False) or "const" not in item.quals or item.init:
                raise self.wrong(item, "what the loader fills in is `extern const uint32_t`, and nothing else")
            self.scopes.define(item.name, Imported(item.name))
            return
        init = self.value(item.init) if item.init else None
        if "const" in item.quals and init is not None and init.number is not None:
            self.scopes.define(item.name, init.number)
            return
        variable = self._variable(kind)
        self.scopes.define(item.name, variable)
        if top:
            if init is not None:
                raise self.wrong(item, "a file's variables are 0 at first")
            self._ir.shared += [variable.low] + ([variable.high] if variable.high else [])
        elif init is not None:
            self.assigned(variable, init)

    def _enum(self, enum: c_ast.Enum) -> None:
        number = 0
        for each in enum.values.enumerators if enum.values else ():
            if each.value:
                known = self.value(each.value).number
                if known is None:
                    raise self.wrong(each, f"{each.name} is no number that is known here")
                number = known
            self.scopes.define(each.name, number)
            number += 1

    def _variable(self, kind: Type) -> Variable:
        return Variable(kind, self.out.fresh(), self.out.fresh() if kind.wide else None)

    # ---- functions ----

    def call(self, name: str, values: list[Value]) -> Value | None:
        definition = self._definitions.get(name) or self._library.get(name)
        if definition is None:
            raise CompileError(f"there is no function {name}")
        if name in self._within:
            raise CompileError(f"{name} calls itself: a microengine has no stack")
        params = definition.decl.type.args.params if definition.decl.type.args else []
        params = [each for each in params if not isinstance(each, c_ast.Typename)]
        if len(params) != len(values):
            raise CompileError(f"{name} takes {len(params)} arguments")
        self._within.append(name)
        inlined = "inline" in definition.decl.funcspec or self._calls.get(name, 0) == 1
        found = (self._inlined if inlined else self._called)(name, definition, params, values)
        self._within.pop()
        return found

    def _inlined(
        self, name: str, definition: c_ast.FuncDef, params: list[c_ast.Decl], values: list[Value]
    ) -> Value | None:
        result, scopes, loops = self._result(definition), self.scopes, self._loops
        self.scopes, self._loops = scopes.of_file(), []
        self.scopes.open()
        for param, value in zip(params, values, strict=True):
            variable = self._parameter(param)
            self.assigned(variable, value)
        self._frames.append(_Frame(name, result, self.out.label(f"end_{name}")))
        self._body(definition)
        self.out.start(str(self._frames.pop().exit))
        self.scopes, self._loops = scopes, loops
        return self.read(result) if result else None

    def _called(
        self, name: str, definition: c_ast.FuncDef, params: list[c_ast.Decl], values: list[Value]
    ) -> Value | None:
        if name not in self._made:
            self._made[name] = self._made_of(name, definition, params)
        variables, result = self._made[name]
        for variable, value in zip(variables, values, strict=True):
            self.assigned(variable, value)
        function = self._ir.functions[name]
        self.out.block.body.append(Call(name, function.takes, function.gives, function.link))
        if result is None:
            return None
        found = self.read(result)
        return self.copied(found)

    def _made_of(
        self, name: str, definition: c_ast.FuncDef, params: list[c_ast.Decl]
    ) -> tuple[list[Variable], Variable | None]:
        outer = self.out, self.scopes, self._frames, self._loops
        function = Function(name, self._ir.fresh())
        self._ir.functions[name] = function
        self.out = Builder(self._ir, function)
        self.scopes, self._loops = self.scopes.of_file(), []
        self.scopes.open()
        result, variables = self._result(definition), [self._parameter(param) for param in params]
        function.takes, function.gives = _halves(variables), _halves([result] if result else [])
        self._frames = [_Frame(name, result, None)]
        self._body(definition)
        self.out.end(Return())
        self.out, self.scopes, self._frames, self._loops = outer
        return variables, result

    def _result(self, definition: c_ast.FuncDef) -> Variable | None:
        kind = type_of(definition.decl.type.type)
        return self._variable(kind) if kind else None

    def _parameter(self, param: c_ast.Decl) -> Variable:
        kind = type_of(param.type)
        if kind is None:
            raise self.wrong(param, "a parameter that is void")
        variable = self._variable(kind)
        self.scopes.define(param.name, variable)
        return variable

    # ---- statements ----

    def _body(self, definition: c_ast.FuncDef) -> None:
        self._statement(definition.body)
        frame = self._frames[-1]
        for name in frame.wanted - frame.there:
            raise self.wrong(definition, f"there is no label {name} in {frame.name}")

    def _statement(self, node: c_ast.Node | None) -> None:
        if node is None or isinstance(node, c_ast.EmptyStatement):
            return
        method = getattr(self, f"_on_{type(node).__name__}", None)
        try:
            if method:
                method(node)
            elif isinstance(node, (c_ast.Assignment, c_ast.UnaryOp, c_ast.FuncCall, c_ast.Cast)):
                self.maybe(node)
            else:
                raise self.wrong(node, "microengine C has no such statement")
        except CompileError as error:
            raise error if ": " in str(error) else self.wrong(node, str(error)) from None

    def _on_Compound(self, node: c_ast.Compound) -> None:  # noqa: N802  (the parser's names of its nodes)
        self.scopes.open()
        for each in node.block_items or ():
            self._statement(each)
        self.scopes.close()

    def _on_Decl(self, node: c_ast.Decl) -> None:  # noqa: N802
        self._declared(node)

    def _on_DeclList(self, node: c_ast.DeclList) -> None:  # noqa: N802
        for each in node.decls:
            self._declared(each)

    def _on_If(self, node: c_ast.If) -> None:  # noqa: N802
        yes, no, end = (self.out.label(what) for what in ("then", "else", "fi"))
        self.condition(node.cond, yes, no)
        self.out.start(yes)
        self._statement(node.iftrue)
        self.out.end(Jump(end))
        self.out.start(no)
        self._statement(node.iffalse)
        self.out.start(end)

    def _on_While(self, node: c_ast.While) -> None:  # noqa: N802
        head, body, end = (self.out.label(what) for what in ("while", "round", "left"))
        self.out.start(head)
        self.condition(node.cond, body, end)
        self._round(node.stmt, body, head, end)
        self.out.end(Jump(head))
        self.out.start(end)

    def _on_DoWhile(self, node: c_ast.DoWhile) -> None:  # noqa: N802
        body, test, end = (self.out.label(what) for what in ("do", "test", "left"))
        self._round(node.stmt, body, test, end)
        self.out.start(test)
        self.condition(node.cond, body, end)
        self.out.start(end)

    def _on_For(self, node: c_ast.For) -> None:  # noqa: N802
        head, body, step, end = (self.out.label(what) for what in ("for", "round", "step", "left"))
        self.scopes.open()
        self._statement(node.init)
        self.out.start(head)
        if node.cond:
            self.condition(node.cond, body, end)
        self._round(node.stmt, body, step, end)
        self.out.start(step)
        self._statement(node.next)
        self.out.end(Jump(head))
        self.out.start(end)
        self.scopes.close()

    def _round(self, body: c_ast.Node, label: str, again: str, end: str) -> None:
        self._loops.append((again, end))
        self.out.start(label)
        self._statement(body)
        self._loops.pop()

    def _on_Break(self, node: c_ast.Break) -> None:  # noqa: N802
        self._leave(node, 1)

    def _on_Continue(self, node: c_ast.Continue) -> None:  # noqa: N802
        self._leave(node, 0)

    def _leave(self, node: c_ast.Node, which: int) -> None:
        if not self._loops:
            raise self.wrong(node, "this stands in no loop")
        self._go(self._loops[-1][which])

    def _go(self, label: str) -> None:
        self.out.end(Jump(label))
        self.out.start(self.out.label("dead"))

    def _on_Goto(self, node: c_ast.Goto) -> None:  # noqa: N802
        self._frames[-1].wanted.add(node.name)
        self._go(self._label(node.name))

    def _on_Label(self, node: c_ast.Label) -> None:  # noqa: N802
        self._frames[-1].there.add(node.name)
        self.out.start(self._label(node.name))
        self._statement(node.stmt)

    def _label(self, name: str) -> str:
        return self._frames[-1].labels.setdefault(name, self.out.label(name))

    def _on_Return(self, node: c_ast.Return) -> None:  # noqa: N802
        frame = self._frames[-1]
        if (node.expr is None) != (frame.result is None):
            raise self.wrong(node, f"{frame.name} gives " + ("a value" if frame.result else "none"))
        if frame.result:
            self.assigned(frame.result, self.value(node.expr))
        if frame.exit:
            self._go(frame.exit)
        else:
            self.out.end(Return())
            self.out.start(self.out.label("dead"))


def _count(node: c_ast.Node, calls: dict[str, int]) -> None:
    """How often each function is called, as it is written."""
    if isinstance(node, c_ast.FuncCall) and isinstance(node.name, c_ast.ID):
        calls[node.name.name] = calls.get(node.name.name, 0) + 1
    for _name, child in node.children():
        _count(child, calls)


def _halves(variables: list[Variable]) -> tuple[V, ...]:
    return tuple(half for variable in variables for half in (variable.low, variable.high) if half is not None)
