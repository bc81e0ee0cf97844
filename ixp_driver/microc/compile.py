# SPDX-License-Identifier: BSD-3-Clause
"""The door: microengine C to an object that an engine can be loaded with.

compile_text(text)        -> Object
compile_file(path)        -> Object; what it includes lies beside it
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pycparser import c_ast
from pycparser.c_parser import CParser, ParseError

from ixp_driver.microc.allocate import Allocator
from ixp_driver.microc.assemble import Assembler, legalise
from ixp_driver.microc.functions import Lower
from ixp_driver.microc.ir import CompileError, Move, Program
from ixp_driver.microc.names import PRELUDE
from ixp_driver.microc.optimise import optimise
from ixp_driver.microc.preprocess import Files, Preprocessor
from ixp_driver.microengine import isa, objects

RUNTIME = "runtime.c"
HOPELESS = 4  # times as many instructions as the store has words, before the first is optimised away


@dataclass(frozen=True)
class Object:
    """words: microwords, imports not filled in; symbols: functions by the word that they begin with."""

    words: tuple[int, ...]
    imports: tuple[tuple[str, int], ...]
    symbols: dict[str, int]
    registers: int  # of each context, that are in use
    kept: int  # values that are in memory, because registers are too few

    @property
    def octets(self) -> bytes:
        """As ixp_object_parse() of object.h takes them."""
        return objects.written(self.words, self.imports)


def _no_files(name: str) -> str:
    raise FileNotFoundError(name)


def parse(text: str, name: str = "<microc>", files: Files = _no_files) -> c_ast.FileAST:
    try:
        return CParser().parse(PRELUDE + Preprocessor(files).text(text, name), name)
    except ParseError as error:
        raise CompileError(str(error)) from None


@lru_cache(maxsize=1)
def _runtime() -> c_ast.FileAST:
    folder = Path(__file__).parent
    return parse((folder / RUNTIME).read_text(), RUNTIME, lambda name: (folder / name).read_text())


def lower(text: str, name: str = "<microc>", files: Files = _no_files) -> Program:
    return Lower(_runtime()).program(parse(text, name, files))


def _bounded(program: Program, most: int) -> None:
    """Each of these becomes a word at least: what is far too long is not worked on for long."""
    words = sum(not isinstance(ins, Move) for function in program.all() for block in function.blocks
                for ins in block.body)  # fmt: skip
    if words > most:
        raise CompileError(f"it becomes more than {most} microwords; an engine's store has {isa.STORE_WORDS}")


def compile_text(text: str, name: str = "<microc>", files: Files = _no_files) -> Object:
    """Raises CompileError: what is wrong, and where; or what the engine has too few of."""
    program = lower(text, name, files)
    _bounded(program, HOPELESS * isa.STORE_WORDS)
    optimise(program)
    _bounded(program, isa.STORE_WORDS)
    legalise(program)
    places = Allocator(program).places()
    made = Assembler(program, places).assembled()
    return Object(tuple(made.words), tuple(made.imports), made.symbols, len(set(places.gpr.values())),
                  len(set(places.slot.values())))  # fmt: skip


def compile_file(path: Path) -> Object:
    return compile_text(path.read_text(), path.name, lambda name: (path.parent / name).read_text())
