# SPDX-License-Identifier: BSD-3-Clause
"""A board as its administrator sees it: registers, the copy mode, reset.

    with Session("ixp0") as session:
        print(session.status().sustained_pps)
        session.copy_mode("all")

Errors are those of pyffpf: NoSuchDevice (no board answers), Denied, DeviceGone (the board is gone).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyffpf._core import ffi, lib

from pyffpf.closing import Closing
from pyffpf.errors import check, new_error

COPY_MODES = ("zero", "all", "interesting")  # enum ffpf_ixp_copy_mode; so the next ones
BOARD_STATES = ("starts", "runs", "resets", "dead")
ROLES = ("none", "receive", "filter")
ENGINE_STATES = ("empty", "loaded", "runs", "hung", "faulted", "lost")
PORT_KINDS = ("none", "file", "live", "generator")
PORT_STATES = ("holds", "runs", "ended", "failed")
BMS = {1: "srp", 2: "frp"}  # enum ffpf_bms_id


@dataclass(frozen=True)
class PortStatus:
    """Packets, and what became of them; window.h has the law."""

    name: str
    kind: str
    state: str
    offered: int
    offered_octets: int
    rx_lost: int  # the receive FIFO was full
    no_descriptor: int
    no_room: int  # in PBuf
    oversize: int
    unwanted: int  # no filter ran
    received: int
    socket_lost: int  # live ports: by the kernel's socket


@dataclass(frozen=True)
class EngineStatus:
    """Cycles since the engine was started."""

    number: int
    role: str
    state: str
    words: int  # of its instruction store
    busy: int
    stalled: int
    idle: int
    instructions: int
    packets: int
    sustained_pps: int  # packets a second if it were never idle
    text: str  # why it ended

    @property
    def utilisation(self) -> float:
        """Of its cycles, those that were not idle: from 0 to 1."""
        cycles = self.busy + self.stalled + self.idle
        return (self.busy + self.stalled) / cycles if cycles else 0.0


@dataclass(frozen=True)
class BoardStatus:
    name: str
    state: str
    bms: str
    copy_mode: str
    clock_hz: int
    cycles: int
    filters: int
    filters_max: int
    sessions: int
    resets: int
    descriptors: int
    free_descriptors: int
    sustained_pps: int  # packets a second that the busiest engine could do
    ports: tuple[PortStatus, ...]
    engines: tuple[EngineStatus, ...]

    @property
    def seconds(self) -> float:
        """Of the board's own time."""
        return self.cycles / self.clock_hz


def _named(names: tuple[str, ...], number: int) -> str:
    return names[number] if number < len(names) else str(number)


def _text(octets: Any) -> str:
    return bytes(ffi.buffer(octets)).split(b"\0")[0].decode(errors="replace")


def _port(registers: Any) -> PortStatus:
    counts = ("offered", "offered_octets", "rx_lost", "no_descriptor", "no_room", "oversize", "unwanted", "received",
              "socket_lost")  # fmt: skip
    return PortStatus(
        _text(registers.name), _named(PORT_KINDS, registers.kind), _named(PORT_STATES, registers.state),
        *(getattr(registers, name) for name in counts),
    )  # fmt: skip


def _engine(number: int, registers: Any) -> EngineStatus:
    return EngineStatus(
        number=number,
        role=_named(ROLES, registers.role),
        state=_named(ENGINE_STATES, registers.state),  # before the text, which is stored before it
        words=registers.words,
        busy=registers.busy_cycles,
        stalled=registers.stall_cycles,
        idle=registers.idle_cycles,
        instructions=registers.instructions,
        packets=registers.packets,
        sustained_pps=registers.sustained_pps,
        text=_text(registers.text),
    )


class Session(Closing):
    """A connection to a board; a context manager. It holds no filter."""

    def __init__(self, board: str) -> None:
        """board: its name, or the path of its socket."""
        out, error = ffi.new("struct ffpf_ixp_session **"), new_error()
        check(lib.ffpf_ixp_session_open(out, ffi.new("char[]", board.encode()), error), error, board)
        self._session = out[0]

    def close(self) -> None:
        if self._session is not None:
            lib.ffpf_ixp_session_close(self._session)
        self._session = None

    def status(self) -> BoardStatus:
        """As the registers say now. They are filled while the board works: counts may be a moment apart."""
        registers = self._session.registers
        ports = tuple(_port(registers.port[i]) for i in range(min(registers.ports, len(registers.port))))
        engines = tuple(_engine(i, registers.engine[i]) for i in range(lib.FFPF_IXP_ENGINES))
        return BoardStatus(
            _text(registers.name), _named(BOARD_STATES, registers.state), BMS.get(registers.bms, "?"),
            _named(COPY_MODES, registers.copy_mode), registers.clock_hz, registers.cycles, registers.filters,
            registers.filters_max, registers.sessions, registers.resets, registers.descriptors,
            registers.free_descriptors, registers.sustained_pps, ports, engines,
        )  # fmt: skip

    def copy_mode(self, mode: str) -> None:
        """How packets come to hosts, from now on: one of COPY_MODES."""
        self.ask(lib.FFPF_IXP_COPY_MODE, value=COPY_MODES.index(mode))

    def reset(self) -> None:
        """Every filter is lost; ports and captures begin anew."""
        self.ask(lib.FFPF_IXP_RESET)

    def ask(self, op: int, **fields: int) -> int:
        """One request, with members of struct ffpf_ixp_request: the engine that the board's reply names."""
        request, reply = ffi.new("struct ffpf_ixp_request *", {"op": op, **fields}), ffi.new("struct ffpf_ixp_reply *")
        error = new_error()
        check(lib.ffpf_ixp_request(self._session, request, reply, error), error)
        return int(reply.engine)


def boards() -> list[str]:
    """Names of the boards that answer now."""
    found: list[str] = []

    @ffi.callback("bool(void *, const char *)")  # type: ignore[untyped-decorator]
    def add(_arg: Any, name: Any) -> bool:
        found.append(ffi.string(name).decode(errors="replace"))
        return True

    lib.ffpf_ixp_each(add, ffi.NULL)
    return found
