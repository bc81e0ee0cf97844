# SPDX-License-Identifier: BSD-3-Clause
"""A daemon that says, or hands out, what no daemon would: an error with a text each time, and nothing left open."""

from __future__ import annotations

import json
import mmap
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyffpf._core import lib

from client.fake_daemon import Answer, FakeDaemon, Messages, Request, Source
from client.shared_reader import OpenError, SharedReader, descriptors, frame, kind_is

SOURCES = {"feed0": Source(0)}
F_ADD_SEALS, F_SEAL_SHRINK = 1033, 2
PAGE = mmap.PAGESIZE


def changed(**members: Any) -> Answer:
    """The right answer, with other members; None takes one out."""

    def change(request: Request, messages: Messages) -> Messages:
        octets, fds = messages[0]
        message = {**json.loads(octets), **members}
        return [(json.dumps({k: v for k, v in message.items() if v is not None}).encode(), fds)]

    return change


def octets(data: bytes) -> Answer:
    return lambda request, messages: [(data, [])]


def replaced(name: str, make: Callable[[], int]) -> Answer:
    """The right answer with another descriptor in the place of one."""

    def change(request: Request, messages: Messages) -> Messages:
        data, fds = messages[0]
        other = list(fds)
        other[json.loads(data)["fds"].index(name)] = make()
        return [(data, other)]

    return change


def close(request: Request, messages: Messages) -> None:
    return None


def fewer(request: Request, messages: Messages) -> Messages:
    return [(messages[0][0], messages[0][1][:-1])]


def twice(request: Request, messages: Messages) -> Messages:
    data, fds = messages[0]
    message = json.loads(data)
    return [(json.dumps({**message, "fds": ["wake", *message["fds"]]}).encode(), [fds[1], *fds])]


def flood(request: Request, messages: Messages) -> Messages:
    event = json.dumps({"event": "source", "flow": 1, "state": "down"}).encode()
    return [(event, [])] * 500 + messages


def never_ending(request: Request, messages: Messages) -> Messages:
    data, fds = messages[0]
    return [(json.dumps({**json.loads(data), "more": True}).encode(), fds)] * 2


def plain_file() -> int:
    with tempfile.TemporaryFile() as file:
        file.write(b"FFPF" * 4096)
        return os.dup(file.fileno())


def named_pipe() -> int:
    with tempfile.TemporaryDirectory() as directory:
        os.mkfifo(f"{directory}/pipe")
        return os.open(f"{directory}/pipe", os.O_RDWR)


def memory(seals: int, head: bytes = b"", size: int = 8 * PAGE) -> Callable[[], int]:
    def make() -> int:
        import fcntl

        fd = os.memfd_create("hostile", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        os.ftruncate(fd, size)
        os.pwrite(fd, head, 0)
        if seals:
            fcntl.fcntl(fd, F_ADD_SEALS, seals)
        return fd

    return make


def head(kind: int, size: int, magic: int = 0x46504646, version: int = 1) -> bytes:
    """struct ffpf_head."""
    return b"".join(value.to_bytes(n, "little") for value, n in ((magic, 4), (version, 2), (kind, 2), (size, 8)))


SHRINKS = memory(0, head(1, 8 * PAGE))
LANE = F_SEAL_SHRINK, 8 * PAGE
WRONG_OPENS: dict[str, tuple[str, Answer]] = {
    "garbage": ("not JSON", octets(b"\xff\x00garbage")),
    "no object": ("no object", octets(b"[]")),
    "empty object": ("neither a reply nor an event", octets(b"{}")),
    "deep": ("not JSON", octets(b'{"id":2,"ok":' + b"[" * 30000)),
    "too long": ("too long", octets(b" " * 65537)),
    "closed": ("closed", close),
    "another id": ("not asked", changed(id=7)),
    "no lanes": ("what was opened", changed(lanes=0)),
    "negative flow": ("what was opened", changed(flow=-1)),
    "text for a number": ("what was opened", changed(ifindex="1")),
    "unknown bell": ("wake_kind", changed(wake_kind="bell")),
    "no descriptors": ("without all its memories", changed(lanes=5)),
    "more lanes than it says": ("none of this flow's", changed(lanes=1)),
    "one descriptor less": ("other descriptors than it names", fewer),
    "one descriptor twice": ("none of this flow's", twice),
    "a reply without an end": ("none of this flow's", never_ending),
    "another link type": ("what was opened", changed(link_type=1 << 20)),
    "a file": ("could shrink", replaced("lane:0", plain_file)),
    "a device": ("could shrink", replaced("lane:0", lambda: os.open("/dev/zero", os.O_RDWR))),
    "a directory": ("could shrink", replaced("ibuf:1", lambda: os.open("/", os.O_RDONLY))),
    "a named pipe": ("could shrink", replaced("reader", named_pipe)),
    "a memory that shrinks": ("could shrink", replaced("lane:1", SHRINKS)),
    "an empty memory": ("less than a page", replaced("lane:1", memory(F_SEAL_SHRINK, size=0))),
    "zeros": ("not a memory of FFPF", replaced("lane:1", memory(F_SEAL_SHRINK))),
    "another version": ("version", replaced("lane:1", memory(F_SEAL_SHRINK, head(1, 8 * PAGE, version=9)))),
    "another kind": ("kind", replaced("ibuf:0", memory(F_SEAL_SHRINK, head(1, 8 * PAGE)))),
    "another size": ("size", replaced("ibuf:0", memory(F_SEAL_SHRINK, head(2, 1 << 40)))),
    "a lane without sizes": ("", replaced("lane:0", memory(F_SEAL_SHRINK, head(1, 8 * PAGE)))),
    "an eventfd for a lane": ("", replaced("lane:0", lambda: os.eventfd(0))),
    "a writable memory": ("anybody could write", replaced("ibuf:0", memory(F_SEAL_SHRINK, head(2, 8 * PAGE)))),
}


@pytest.mark.parametrize("case", WRONG_OPENS)
def test_what_no_daemon_would_answer_to_open(tmp_path: Path, case: str) -> None:
    text, answer = WRONG_OPENS[case]
    with FakeDaemon(tmp_path / "daemon.sock", SOURCES, answers={"open": answer}) as daemon:
        before = descriptors()
        with pytest.raises(OpenError) as refused:
            SharedReader(daemon.path, "feed0")
        assert text in refused.value.text and refused.value.text, refused.value.text
        assert lines_of_maps("hostile") == 0
        left = [entry for entry in descriptors() - before if "socket" in entry]
        assert len(left) <= 1, left  # the daemon's own end


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (changed(version=2), "another version"),
        (changed(version=None), "another version"),
        (changed(ok=False, code="version", error="too old"), "too old"),
        (changed(id=0, ok=False, code="limit", error="too many connections"), "too many connections"),
        (octets(b"{"), "not JSON"),
        (close, "closed"),
    ],
)
def test_what_no_daemon_would_answer_to_hello(tmp_path: Path, answer: Answer, text: str) -> None:
    with (
        FakeDaemon(tmp_path / "daemon.sock", SOURCES, answers={"hello": answer}) as daemon,
        pytest.raises(OpenError, match=text),
    ):
        SharedReader(daemon.path, "feed0")


def test_talk_between_is_passed_over(tmp_path: Path) -> None:
    answers: dict[str, Answer] = {"hello": flood, "open": flood, "filter": flood}
    with (
        FakeDaemon(tmp_path / "daemon.sock", SOURCES, answers=answers) as daemon,
        SharedReader(daemon.path, "feed0", immediate=True) as reader,
    ):
        assert reader.set_filter(kind_is(1)) == 0
        daemon.feed([frame(1, 1)])
        assert reader.numbers(1) == [1]


@pytest.mark.parametrize(
    "answer", [close, octets(b"?"), changed(level="nic"), changed(generation=None), changed(id=99)]
)
def test_a_filter_that_is_answered_with_nonsense_is_judged_here(tmp_path: Path, answer: Answer) -> None:
    """The hooks let everything through, so far; the connection is given up."""
    sources = {"feed0": Source(0, level="userspace")}
    with (
        FakeDaemon(tmp_path / "daemon.sock", sources, answers={"filter": answer}) as daemon,
        SharedReader(daemon.path, "feed0", immediate=True) as reader,
    ):
        assert reader.set_filter(kind_is(1)) == 0
        assert reader.reader.info.filter_kind == lib.FFPF_FILTER_JIT
        daemon.feed(frame(number, number % 2) for number in range(10))
        assert reader.numbers(5) == [1, 3, 5, 7, 9]


def test_a_successor_that_is_none_ends_the_flow_with_a_text(tmp_path: Path) -> None:
    answer = replaced("lane:0", memory(F_SEAL_SHRINK, head(1, 8 * PAGE)))
    with (
        FakeDaemon(tmp_path / "daemon.sock", SOURCES, lanes=1, answers={"successor": answer}) as daemon,
        SharedReader(daemon.path, "feed0", immediate=True) as reader,
    ):
        daemon.feed([frame(1)])
        daemon.flows[0].move(0, fresh=True)
        assert reader.numbers(1) == [1]
        reader.until(lib.FFPF_FAILED)
        assert reader.error[1]


def test_who_waits_for_a_silent_daemon_waits_so_long_and_no_longer(tmp_path: Path) -> None:
    """A socket behind which nobody accepts, whose queue is full."""
    path = tmp_path / "silent.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen(1)
        outcome: list[str] = []

        def ask() -> None:
            try:
                SharedReader(path, "feed0")
            except OpenError as error:
                outcome.append(error.text)

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(60)
        assert outcome == ["ffpfd does not answer"]


def test_a_daemon_that_is_replaced_is_asked_again(tmp_path: Path) -> None:
    asked: list[int] = []

    def adopt(request: Request, messages: Messages) -> Messages:
        asked.append(request["id"])
        return messages if len(asked) == 2 else [(json.dumps({"event": "adopted"}).encode(), [])]

    with (
        FakeDaemon(tmp_path / "daemon.sock", SOURCES, answers={"filter": adopt}) as daemon,
        SharedReader(daemon.path, "feed0", immediate=True) as reader,
    ):
        assert reader.set_filter(kind_is(1)) == 0
        assert asked == [3, 3] and reader.reader.info.filter_kind == lib.FFPF_FILTER_KERNEL


def test_a_successor_whose_answer_is_late_is_followed_all_the_same(tmp_path: Path) -> None:
    """Asked again with the same id, also when the answer came in the middle of something else."""
    late = threading.Event()
    asked: list[int] = []

    def delay(request: Request, messages: Messages) -> Messages:
        asked.append(request["id"])
        late.wait(10)
        return messages

    with (
        FakeDaemon(tmp_path / "daemon.sock", SOURCES, lanes=1, answers={"successor": delay}) as daemon,
        SharedReader(daemon.path, "feed0", immediate=True) as reader,
    ):
        for number in range(3):
            daemon.feed([frame(number)])
            daemon.flows[0].move(0, fresh=number == 1)
        daemon.feed([frame(3)])
        assert reader.numbers(1) == [0]
        for _ in range(3):
            reader.next()  # waits for the answer, and gives up for now
        threading.Timer(0.1, late.set).start()
        assert reader.set_filter(kind_is(0)) == 0  # the answer comes now, and is passed over
        assert reader.numbers(3) == [1, 2, 3]
        assert len(set(asked)) == 3


def lines_of_maps(text: str) -> int:
    return sum(text in line for line in Path("/proc/self/maps").read_text().splitlines())


def test_nothing_stays_open(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path / "daemon.sock", SOURCES) as daemon:

        def once() -> tuple[int, int]:
            with SharedReader(daemon.path, "feed0", immediate=True) as reader:
                reader.set_filter(kind_is(1))
            deadline = time.monotonic() + 10
            while daemon.connected() and time.monotonic() < deadline:
                time.sleep(0.005)
            return len(descriptors()), lines_of_maps(" r--s ")

        first, second = once(), once()
        assert second[1] == first[1], "a mapping of the reader's is left"
        # of the daemon's own flow: reader page, wake, two lanes and two IBufs
        assert second[0] - first[0] == 6
