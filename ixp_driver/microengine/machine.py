# SPDX-License-Identifier: BSD-3-Clause
"""One microengine in this process, engine.c itself, with plain memories and fixed latencies: what tests and `fplc` run
emitted microcode on. The board has its own bus, with contention.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ixp_driver.microengine import isa

LATENCIES = {"SRAM": 20, "SDRAM": 40, "SCRATCH": 14, "HASH": 30, "FIFO": 20}  # cycles: parameters, nothing measured
FAULT = 0xFFFFFFFF
HASH_FNV = 0  # ../framework/frame.h; the other function is the mix
FNV_FACTOR, MIX = 16777619, ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1))
STOPS = ("none", "HALT", "done", "a word beyond the program", "a word that is no instruction",
         "a reference that cannot be", "a register of control that is not there")  # fmt: skip
_U32 = ctypes.c_uint32


class _Reference(ctypes.Structure):
    _fields_ = [("cycle", ctypes.c_uint64), ("address", _U32)] + [
        (name, ctypes.c_uint8) for name in ("engine", "context", "unit", "command", "count")]  # fmt: skip


_WORDS = ctypes.POINTER(_U32)
_REFER = ctypes.CFUNCTYPE(_U32, ctypes.c_void_p, ctypes.POINTER(_Reference), _WORDS, _WORDS)
_CSR = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.POINTER(_Reference), ctypes.c_uint8, ctypes.c_bool,
                        _WORDS)  # fmt: skip


class _Bus(ctypes.Structure):
    _fields_ = [("board", ctypes.c_void_p), ("reference", _REFER), ("csr", _CSR)]


class _Context(ctypes.Structure):
    _fields_ = [
        ("gpr", _U32 * isa.GPRS), ("in_", _U32 * (2 * isa.TRANSFERS)), ("out", _U32 * (2 * isa.TRANSFERS)),
        ("due", ctypes.c_uint64 * len(isa.UNITS)),
        *((name, ctypes.c_uint16) for name in ("pending", "arrived", "mask", "pc")), ("state", ctypes.c_uint8),
        *((name, ctypes.c_bool) for name in "nzcv"),
    ]  # fmt: skip


class Engine(ctypes.Structure):
    """struct ixp_engine of engine.h."""

    _fields_ = [
        ("store", _U32 * isa.STORE_WORDS), ("words", _U32), ("branch_cycles", _U32), ("number", ctypes.c_uint8),
        ("active", ctypes.c_uint8), ("running", ctypes.c_bool), ("stop", ctypes.c_uint8), ("fault", ctypes.c_uint16),
        ("contexts", _Context * isa.CONTEXTS),
        *((name, ctypes.c_uint64) for name in ("cycle", "instructions", "branches", "stalled", "idle")),
        ("references", ctypes.c_uint64 * len(isa.UNITS)), ("turns", ctypes.c_uint64),
    ]  # fmt: skip
    cycle: int
    instructions: int
    stalled: int
    idle: int
    branches: int
    stop: int
    fault: int


class MachineError(Exception):
    """The engine stopped, or did not in the cycles that it was given."""


@dataclass
class Memories:
    sram: bytearray
    sdram: bytearray
    scratch: bytearray

    def of(self, unit: int) -> bytearray | None:
        return {isa.UNITS["SRAM"]: self.sram, isa.UNITS["SDRAM"]: self.sdram,
                isa.UNITS["SCRATCH"]: self.scratch}.get(unit)  # fmt: skip


class Machine:
    """An engine with its memories. csrs: registers from isa.CSR_BOARD on, plain words that can be read and written."""

    def __init__(self, library: Path, memories: Memories) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.me_run.argtypes = [ctypes.POINTER(Engine), ctypes.c_uint64, ctypes.POINTER(_Bus)]
        self.memories = memories
        self.csrs: dict[int, int] = {}
        self.engine = Engine()
        self._library.ixp_engine_init(ctypes.byref(self.engine), ctypes.c_uint8(0), _U32(2))
        self._bus = _Bus(None, _REFER(self._refer), _CSR(self._csr))

    def load(self, words: tuple[int, ...], imports: tuple[tuple[str, int], ...], values: Mapping[str, int]) -> None:
        """KeyError: an import without a value."""
        filled = list(words)
        for name, at in imports:
            filled[at] |= values[name] & 0xFFFF
            filled[at + 1] |= values[name] >> 16
        self._library.ixp_engine_store(ctypes.byref(self.engine), (_U32 * len(filled))(*filled), _U32(len(filled)))

    def run(self, contexts: int = 1, cycles: int = 10_000_000) -> int:
        """Until it halts, whose code is given."""
        self._library.ixp_engine_start(ctypes.byref(self.engine), _U32(contexts))
        stop = self._library.me_run(ctypes.byref(self.engine), self.engine.cycle + cycles, ctypes.byref(self._bus))
        if stop != STOPS.index("HALT"):
            raise MachineError(f"stopped: {STOPS[stop]}, at {self.engine.fault}")
        return int(self.engine.fault)

    # ---- the bus ----

    def _refer(self, _board: int, at: ctypes._Pointer[_Reference], out: ctypes._Pointer[_U32],
               into: ctypes._Pointer[_U32]) -> int:  # fmt: skip
        ref = at.contents
        if ref.unit == isa.UNITS["HASH"]:
            into[0] = _hashed(ref.address, out)
            return LATENCIES["HASH"] + int(ref.count)
        memory, sdram = self.memories.of(ref.unit), ref.unit == isa.UNITS["SDRAM"]
        address = ref.address & ~(7 if sdram else 3)
        words = ref.count << sdram
        if memory is None or address + 4 * words > len(memory):
            return FAULT
        command = ref.command
        order = "big" if command in (isa.COMMANDS["READ_NET"], isa.COMMANDS["WRITE_NET"]) else "little"
        for n in range(words):
            where = slice(address + 4 * n, address + 4 * n + 4)
            before = int.from_bytes(memory[where], order)  # type: ignore[arg-type]
            after = _after(command, before, int(out[n]))
            if after != before:
                memory[where] = after.to_bytes(4, order)  # type: ignore[arg-type]
            if command not in (isa.COMMANDS["WRITE"], isa.COMMANDS["WRITE_NET"]):
                into[n] = before
        return int(next(cycles for name, cycles in LATENCIES.items() if isa.UNITS[name] == ref.unit) + words)

    def _csr(self, _board: int, _at: object, number: int, write: bool, value: ctypes._Pointer[_U32]) -> bool:
        if number not in self.csrs:
            return False
        if write:
            self.csrs[number] = value[0]
        else:
            value[0] = self.csrs[number]
        return True


def _hashed(function: int, words: ctypes._Pointer[_U32]) -> int:
    """As the board's hash unit: of one to four octets, the first one highest, behind what was hashed; or the mix."""
    value = int(words[0])
    if function == HASH_FNV:
        for octet in int(words[1]).to_bytes(4, "big")[: words[2]]:
            value = (value ^ octet) * FNV_FACTOR & 0xFFFFFFFF
        return value
    for shift, factor in MIX:
        value = (value ^ value >> shift) * factor & 0xFFFFFFFF
    return value


def _after(command: int, before: int, given: int) -> int:
    """A word behind a command that this bus knows."""
    if command in (isa.COMMANDS["WRITE"], isa.COMMANDS["WRITE_NET"]):
        return given
    if command == isa.COMMANDS["ADD"]:
        return (before + given) & 0xFFFFFFFF
    return before | given if command == isa.COMMANDS["SET_BITS"] else before
