# SPDX-License-Identifier: BSD-3-Clause
"""A program run straight from its tree, statement by statement; what values are is for whoever runs it to say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from fpl.fpl2 import meaning, tree
from fpl.fpl2.check import Loop, loop_of


class DoneError(Exception):
    """RETURN, or what ends a filter: with which result."""

    def __init__(self, result: int) -> None:
        super().__init__(result)
        self.result = result


class LeftError(Exception):
    """BREAK."""


class Statements(ABC):
    def run(self, program: Sequence[tree.Statement]) -> int:
        """The result."""
        try:
            self._block(program)
        except DoneError as done:
            return min(done.result, meaning.RESULT_MAX)
        return 0

    def _block(self, statements: Sequence[tree.Statement]) -> None:
        for statement in statements:
            self._statement(statement)

    def _statement(self, statement: tree.Statement) -> None:
        if isinstance(statement, tree.If):
            self._block(statement.then if self._holds(statement.test) else statement.otherwise)
        elif isinstance(statement, tree.Assign):
            self._assign(statement)
        elif isinstance(statement, tree.For):
            self._for(statement)
        elif isinstance(statement, tree.Return):
            raise DoneError(self._number(statement.value))
        elif isinstance(statement, tree.Call):
            self._number(statement.extern)
        elif isinstance(statement, tree.Break):
            raise LeftError

    def _begun(self, statement: tree.For) -> Loop:
        """Its register is what it is in the first round."""
        if statement.first:
            self._assign(statement.first)
        return loop_of(statement)

    def _round(self, statement: tree.For) -> bool:
        """One round of a loop; whether it was not left."""
        try:
            self._block(statement.body)
        except LeftError:
            return False
        return True

    @abstractmethod
    def _assign(self, statement: tree.Assign) -> None: ...

    @abstractmethod
    def _for(self, statement: tree.For) -> None: ...

    @abstractmethod
    def _holds(self, expr: tree.Expr) -> bool: ...

    @abstractmethod
    def _number(self, expr: tree.Expr) -> int:
        """Its value, modulo 2^64."""
