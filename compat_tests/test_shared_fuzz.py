# SPDX-License-Identifier: BSD-3-Clause
"""Whatever clients say to ffpfd, with the kernel's engine behind it: others are served, and nothing is left.

Clients of two users send requests that are right, nearly right and no requests at all, in any order, with filters that
compilers write and such that nobody would, leave in the middle, send descriptors. FFPF_FUZZ_SECONDS makes it go on.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import re
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bpf import programs
from compat_tests import live, numbered, shared
from compat_tests.netns import Netns, wait_until
from compat_tests.numbered import Senders
from compat_tests.shared import ANNA, BERT, EVE, Ffpfd, User
from pyffpf.daemon import transport
from pyffpf.daemon.engine import PREPARED_AT_ONCE

pytestmark = pytest.mark.live

SECONDS = float(os.environ.get("FFPF_FUZZ_SECONDS", "0"))
SESSIONS = 6  # at least
MESSAGES = 10
PATIENCE_S = 30.0  # for one answer


def request(chance: random.Random, number: int, device: str, flows: list[int]) -> dict[str, Any]:
    """A request that is right, if the flow is."""
    flow = chance.choice([*flows, 0, 1, 2**53 - 1])
    choices: list[Callable[[], dict[str, Any]]] = [
        lambda: {"op": "hello", "version": chance.choice([0, 1, 1, 1, 2]), "program": chance.choice(["a", "é" * 90])},
        lambda: {
            "op": "open",
            "source": chance.choice([device, device, "any", "lo", "nosuch0", "a/b", "..", "%s%n", "x" * 200]),
            "snap_len": chance.choice([0, 1, 60, 262144]),
            "promisc": chance.random() < 0.3,
            "group": chance.choice([None, None, None, "0", str(ANNA.gid), str(BERT.gid), "nobody at all"]),
        },
        lambda: {"op": "filter", "flow": flow, "insns": filter_text(chance)},
        lambda: {"op": "filter", "flow": flow, "insns": None},
        lambda: {"op": "successor", "flow": flow, "lane": chance.choice([0, 1, 2, 1023])},
        lambda: {"op": "close", "flow": flow},
        lambda: {"op": "status"},
        lambda: {"op": "revoke", "flow": flow, "reason": "because"},
    ]
    return {"id": number, **chance.choices(choices, (1, 4, 4, 1, 1, 1, 1, 1))[0]()}


def filter_text(chance: random.Random) -> str:
    kind = chance.randrange(5)
    if kind == 0:
        octets = chance.randbytes(8 * chance.randrange(1, 30))
    elif kind == 1:
        octets = struct.pack("<HBBI", 0, 0, 0, 1) * chance.choice([1, 4094, 4095]) + bytes.fromhex("0600000000000400")
    else:
        insns = (
            programs.decoded(chance.randbytes(6 * chance.randrange(1, 60)))
            if kind == 2
            else programs.chain(chance, chance.randrange(1, 6), chance.randrange(1, 80))
        )
        octets = b"".join(struct.pack("<HBBI", *insn) for insn in insns)
    return base64.b64encode(octets).decode()


def bent(chance: random.Random, message: bytes) -> bytes:
    """Some octets changed, taken out, put in; or no message at all."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(1, 65536))
    octets = bytearray(message)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(octets))
        piece = chance.choice([b"", b'"', b"{", b"[" * 900, b"\\ud800", b"1e999", b"null", b"-", b"9" * 5000, b"\0"])
        octets[at : at + chance.randrange(3)] = piece
    return bytes(octets)[:65536] or b"{"


def session(ffpfd: Ffpfd, seed: int) -> None:
    """One client's life."""
    chance = random.Random(seed)
    flows: list[int] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect(str(ffpfd.socket))
        for number in range(MESSAGES):
            fields = request(chance, number + 1, ffpfd.ns.left, flows)
            if number == 0:
                fields = {"id": 1, "op": "hello", "version": 1, "program": "fuzz"}
            message = json.dumps(fields).encode()
            known = number == 0 or chance.random() < 0.7
            given = [0, 1, 2] if chance.random() < 0.1 else []
            try:
                transport.send(sock, message if known else bent(chance, message), given)
                if chance.random() < 0.1:
                    return  # leaves without waiting
                flow = answered(sock, fields["id"] if known else None)
            except (BrokenPipeError, ConnectionResetError):
                return
            if flow is not None:
                flows.append(flow)


def answered(sock: socket.socket, number: int | None) -> int | None:
    """Waits for an answer; every message must be one of the protocol's. The number of a flow that was opened."""
    while True:
        datagram = transport.receive(sock)
        transport.close_all(datagram.descriptors)
        if not datagram.data:
            raise BrokenPipeError
        said = json.loads(datagram.data)
        if "event" in said:
            continue
        assert said["ok"] is True or (said["code"] and said["error"]), said
        assert number is None or said["id"] == number, (number, said)
        if not said.get("more"):
            return said.get("flow") if said["ok"] else None


@contextlib.contextmanager
def fuzzing(ffpfd: Ffpfd, user: User, seed: int) -> Iterator[None]:
    """Sessions one after the other, in a process of that user; AssertionError where one of them was not answered."""
    end = time.monotonic() + SECONDS

    def sessions() -> None:
        number = 0
        while number < SESSIONS or time.monotonic() < end:
            session(ffpfd, seed + number)
            number += 1

    with shared.meanwhile(lambda: shared.as_user(ffpfd.ns, user, sessions)):
        yield


def open_now(fds: Path) -> Counter[str]:
    """Descriptors of a process by what they are of, without numbers. The pipes of the compilers that ffpfd keeps, each
    from its first use on, are as many as it may ever have."""
    found: Counter[str] = Counter()
    for entry in fds.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[re.sub(r"\d+|:\[\d+\]", "", entry.readlink().name)] += 1
    compilers = 2 * (1 + PREPARED_AT_ONCE)  # a pipe there and one back
    assert found["pipe"] <= compilers, found
    del found["pipe"]
    return found


def test_whatever_clients_say_others_are_served(ns: Netns) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed={seed}")
    with Ffpfd(ns) as ffpfd:
        fds = Path(f"/proc/{ffpfd.pid}/fd")
        tcpdump = shared.start(ffpfd, ANNA, ["tcpdump", "-i", ns.left, "-w", "out", "udp"])
        with shared.discarded([tcpdump]):
            live.wait_ready(tcpdump, b"listening on")
            ffpfd.wait_flows(1, filtered=1)
            before = open_now(fds)
            with Senders(ns, 1000) as senders:
                with fuzzing(ffpfd, ANNA, seed), fuzzing(ffpfd, BERT, seed + (1 << 33)), fuzzing(ffpfd, EVE, ~seed):
                    pass
                ffpfd.wait_flows(1)
                wait_until(lambda: not open_now(fds) - before, "descriptors to be closed", shared.PATIENCE_S)
                sent = senders.stop()
            ffpfd.wait_read()
            tcpdump.signal(signal.SIGINT)
            outcome = tcpdump.finish(shared.PATIENCE_S)
            numbered.assert_unbroken(numbered.of_savefile(outcome.files["out"]), sent)
        assert "Traceback" not in ffpfd.said(), ffpfd.said()[-4000:]
