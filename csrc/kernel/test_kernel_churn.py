# SPDX-License-Identifier: BSD-3-Clause
"""Flows come and go, IBufs grow, the group moves, at random and under load from two senders: no reader loses, repeats
or reorders a packet, no time goes back, and every counter agrees."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from pyffpf._core import ffi, lib

from compat_tests.netns import Netns
from kernel.kernel_testing import Flow, KernelError, Reader, Source, check, close_all

SRP, FRP = 1, 2
STEPS = 50
SLOTS = 64
# Frames whose octet 14 tells the sender, with a number behind it: 50 at a time, until the standard input ends.
SENDER = (
    "import os, select, socket, struct, sys\n"
    "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); s.bind((sys.argv[1], 0))\n"
    "head = bytes.fromhex('02000000000b02000000000a88b5') + bytes([int(sys.argv[2])])\n"
    "n = 0\n"
    "while not select.select([0], [], [], 0.02)[0]:\n"
    "    for n in range(n, n + 50): s.send(head + struct.pack('!I', n).ljust(46 + n * 37 % 1400, b'\\xa5'))\n"
    "    n += 1\n"
    "print(n)\n"
)


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


@dataclass
class Member:
    """A flow with its reader, and what that has read."""

    flow: Flow
    reader: Reader
    last: dict[int, int] = field(default_factory=dict)  # number of the last packet by sender
    count: int = 0
    time_ns: int = 0
    kept: list[int] = field(default_factory=list)  # descriptors of later IBufs

    def read(self) -> None:
        for packet in self.reader.drain():
            sender, number = packet.data[14], int.from_bytes(packet.data[15:19], "big")
            assert number == self.last.get(sender, number - 1) + 1
            assert len(packet.data) == 15 + 46 + number * 37 % 1400
            assert packet.time_ns >= self.time_ns
            self.last[sender] = number
            self.time_ns = packet.time_ns
            self.count += 1


class Churn:
    """A source of one group, and what can be done to it."""

    def __init__(self, source: Source, rng: random.Random) -> None:
        self.source, self.rng = source, rng
        self.members: dict[int, Member] = {}

    def activate(self) -> None:
        self.source.activate(*(2 * slot for slot in self.members))

    def add(self) -> None:
        slot = self.rng.choice([slot for slot in range(SLOTS) if slot not in self.members])
        flow = self.source.flow(slot, ibuf_slots=1 << 15)
        self.members[slot] = Member(flow, Reader(flow))
        self.activate()

    def remove(self, slot: int) -> None:
        member = self.members.pop(slot)
        self.activate()
        member.reader.close()
        check(lib.ffpf_kernel_flow_remove, self.source.kernel, slot)
        self.source.flows.remove(member.flow)
        member.flow.close()
        close_all(member.kept)

    def grow(self) -> None:
        slot, member = self.rng.choice(list(self.members.items()))
        if member.flow.successors:
            return  # its reader has not asked yet
        fds = ffi.new("int[]", self.source.cpus)
        check(lib.ffpf_kernel_flow_grow, self.source.kernel, slot, 1 << self.rng.choice([14, 15, 16]), fds)
        self.told(member, list(fds))

    def move(self) -> None:
        if any(member.flow.successors for member in self.members.values()):
            return
        cpus, slots = self.source.cpus, list(self.members)
        lanes, ibufs = ffi.new("int[]", cpus), ffi.new("int[]", cpus * len(slots))
        sizes = [1 << 15] * len(slots)
        check(lib.ffpf_kernel_group_move, self.source.kernel, 0, slots, sizes, len(slots), lanes, ibufs)
        close_all(self.source.lanes[0])
        self.source.lanes[0] = list(lanes)
        for number, slot in enumerate(slots):
            self.told(self.members[slot], list(ibufs[number * cpus : (number + 1) * cpus]))

    def told(self, member: Member, ibufs: list[int]) -> None:
        member.kept += ibufs
        member.flow.successors = {cpu: (self.source.lanes[0][cpu], ibufs[cpu]) for cpu in range(self.source.cpus)}

    def step(self) -> None:
        choice = self.rng.random()
        extra = list(self.members)[2:]  # the first two stay
        try:
            if choice < 0.2 and len(self.members) < 8:
                self.add()
            elif choice < 0.35 and extra:
                self.remove(self.rng.choice(extra))
            elif choice < 0.7:
                self.grow()
            elif choice < 0.85:
                self.move()
        except KernelError as error:
            assert error.code == lib.FFPF_E_GENERIC  # a reader has not come from the move before

    def read(self) -> None:
        for member in self.members.values():
            member.read()


@pytest.mark.parametrize("bms", [SRP, FRP])
def test_nothing_is_lost_while_everything_changes(ns: Netns, bms: int) -> None:
    seed = int(os.environ.get("FFPF_SEED", str(random.SystemRandom().randrange(1 << 32))))
    print(f"seed={seed} (again: FFPF_SEED={seed})")
    with Source(ns, ns.left, cells_log2=18) as source:
        source.accept_all(words=2)
        source.group(0, bms)
        churn = Churn(source, random.Random(seed))
        churn.add()
        churn.add()
        command = ["python3", "-c", SENDER, ns.right]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        senders = [ns.popen([*command, str(number)], **pipes) for number in (0, 1)]
        for _ in range(STEPS):
            churn.step()
            churn.read()
        sent = sum(int(sender.communicate()[0]) for sender in senders)
        for _ in range(3):
            churn.read()
        for slot, member in churn.members.items():
            counted, indexed = member.reader.counters(), source.counters(slot)
            # filtered: what came between the flow's making and its activation
            assert (counted.delivered, counted.seen - counted.filtered) == (member.count, member.count)
            assert (indexed.delivered, indexed.seen - indexed.filtered) == (member.count, member.count)
            assert counted.seen == indexed.seen
        assert [member.count for member in churn.members.values()][:2] == [sent, sent]
        for slot in list(churn.members):
            churn.remove(slot)
