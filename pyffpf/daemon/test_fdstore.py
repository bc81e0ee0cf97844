# SPDX-License-Identifier: BSD-3-Clause
"""Both stores, by the one interface: what they hold survives their owner, whenever that is killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pyffpf.daemon.fake_manager import FakeManager
from pyffpf.daemon.fdstore import FdStore, NoStore, StoreError, StoreFullError
from pyffpf.daemon.holder_store import ProcessStore, open_store
from pyffpf.daemon.notify import Notifier
from pyffpf.daemon.survival import end_holder

KILLS = 25
KILL_AFTER_S = 0.03  # at most, once the owner works

Start = Callable[[], FdStore]


@dataclass(frozen=True)
class Keeper:
    """How to become the next owner. settle: what must be done between one's end and the next one's start."""

    become: Start
    settle: Callable[[], None]


@contextlib.contextmanager
def kept(kind: str, folder: Path) -> Iterator[Keeper]:
    if kind == "systemd":
        with FakeManager(folder / "notify") as manager:
            yield Keeper(manager.start_service, manager.settle)
        return
    path = folder / "holder.sock"
    try:
        yield Keeper(lambda: ProcessStore(path), lambda: None)
    finally:
        end_holder(path)


@pytest.fixture(params=["process", "systemd"])
def keeper(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keeper]:
    with kept(request.param, tmp_path) as kept_so:
        yield kept_so


@pytest.fixture
def start(keeper: Keeper) -> Start:
    def settled() -> FdStore:
        keeper.settle()
        return keeper.become()

    return settled


def note(text: str) -> int:
    """A descriptor that says what it is."""
    fd = os.memfd_create("note")
    os.pwrite(fd, text.encode(), 0)
    return fd


def read(fd: int) -> str:
    return os.pread(fd, 1000, 0).decode()


def close_all(fds: dict[str, int]) -> None:
    for fd in fds.values():
        os.close(fd)


def test_nothing_is_left_by_nobody(start: Start) -> None:
    store = start()
    assert store.take_all() == (None, {})
    store.close()


def test_successor_finds_what_was_put(start: Start) -> None:
    store = start()
    store.take_all()
    fds = {name: note(name) for name in ("a", "b.1", "c-2_X")}
    for name, fd in fds.items():
        store.put(name, fd)
    store.set_state(b"first")
    store.set_state(b"second " * 10000)
    store.remove("b.1")
    store.remove("never-there")
    store.close()
    close_all(fds)

    store = start()
    state, found = store.take_all()
    assert state == b"second " * 10000
    assert {name: read(fd) for name, fd in found.items()} == {"a": "a", "c-2_X": "c-2_X"}
    store.set_state(b"third")
    store.retain(["a"])
    assert store.held() >= {"a"} and "c-2_X" not in store.held()
    store.close()
    close_all(found)

    store = start()
    state, found = store.take_all()
    assert (state, list(found)) == (b"third", ["a"])
    store.close()
    close_all(found)


def test_a_name_is_given_anew(start: Start) -> None:
    store = start()
    old, new = note("old"), note("new")
    store.put("x", old)
    store.put("x", new)
    store.close()
    store = start()
    _, found = store.take_all()
    assert [read(fd) for fd in found.values()] == ["new"]
    store.close()
    close_all(found | {"old": old, "new": new})


def test_more_than_one_message_holds(start: Start) -> None:
    store = start()
    fds = {f"n{number}": note(str(number)) for number in range(230)}
    for name, fd in fds.items():
        store.put(name, fd)
    store.close()
    close_all(fds)
    store = start()
    _, found = store.take_all()
    assert {name: read(fd) for name, fd in found.items()} == {f"n{number}": str(number) for number in range(230)}
    store.close()
    close_all(found)


@pytest.mark.parametrize("name", ["", "a:b", "a b", "x" * 65, "ä", "a\n"])
def test_names_that_a_manager_would_not_take(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a descriptor"):
        NoStore().put(name, 0)


def parse(state: bytes | None) -> dict[str, Any]:
    return dict(json.loads(state)) if state else {"turn": 0, "names": []}


def work(store: FdStore, seed: int) -> None:
    """An owner's life: things come and go, in the order that fdstore.py demands. Never returns."""
    chance = random.Random(seed)
    state, fds = store.take_all()
    known = parse(state)
    names = known["names"]
    store.retain(names)
    for turn in range(known["turn"] + 1, 1 << 30):
        if names and chance.random() < 0.5:
            gone = names.pop(chance.randrange(len(names)))
            store.set_state(json.dumps({"turn": turn, "names": names, "fill": "x" * chance.randrange(20000)}).encode())
            store.remove(gone)
            os.close(fds.pop(gone))
        else:
            fresh = [f"thing.{turn}.{number}" for number in range(chance.randrange(1, 4))]
            for name in fresh:
                fds[name] = note(name)
                store.put(name, fds[name])
            names += fresh
            store.set_state(json.dumps({"turn": turn, "names": names}).encode())


def test_killed_at_any_instant(keeper: Keeper, start: Start) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    turns = []
    for _ in range(KILLS):
        began, ready = os.pipe()
        keeper.settle()
        pid = os.fork()
        if pid == 0:
            try:
                store = keeper.become()
                os.write(ready, b"!")
                work(store, chance.randrange(1 << 32))
            finally:
                os._exit(1)
        os.close(ready)
        assert os.read(began, 1) == b"!"
        os.close(began)
        time.sleep(chance.random() * KILL_AFTER_S)
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL

        store = start()
        state, found = store.take_all()
        known = parse(state)
        assert set(known["names"]) <= set(found), "the state names what is not held"
        assert all(read(fd) == name for name, fd in found.items())
        turns.append(known["turn"])
        store.close()
        close_all(found)
        chance.random()
    assert turns == sorted(turns), "an older state came back"
    assert turns[-1] > KILLS // 5, "the owners did next to nothing"


def test_as_many_as_the_manager_takes(tmp_path: Path) -> None:
    fd = note("x")
    with FakeManager(tmp_path / "notify", limit=3) as manager:
        store = manager.start_service()
        for name in ("a", "b", "c"):
            store.put(name, fd)
        with pytest.raises(StoreFullError, match="holds 3 descriptors"):
            store.put("d", fd)
        store.put("a", fd)
        store.remove("b")
        store.put("d", fd)
        store.close()
        manager.settle()
        assert sorted(manager.held) == ["a", "c", "d"]
    with FakeManager(tmp_path / "again", limit=10000) as manager:
        store = manager.start_service()
        with pytest.raises(StoreFullError, match="do not fit LISTEN_FDNAMES"):
            for number in range(3000):
                store.put(f"{number:064}", fd)
        assert sum(len(name) + 1 for name in store.held()) < 128 << 10
        store.close()
    os.close(fd)


def test_choice(tmp_path: Path) -> None:
    nobody = Notifier(None)
    assert open_store("none", tmp_path, nobody, {}, {}).kind == "none"
    with pytest.raises(StoreError, match="no NOTIFY_SOCKET"):
        open_store("systemd", tmp_path, nobody, {}, {})
    with pytest.raises(ValueError, match="a store is"):
        open_store("paper", tmp_path, nobody, {}, {})
    with FakeManager(tmp_path / "notify"):
        manager = Notifier(str(tmp_path / "notify"))
        for environ in ({"FDSTORE": "100"}, {"FFPF_HOLDER": "systemd"}):
            assert open_store("auto", tmp_path, manager, {}, environ).kind == "systemd"
        for notifier in (manager, nobody):
            store = open_store("auto", tmp_path / "holder.sock", notifier, {}, {"FDSTORE": "0"})
            assert store.kind == "process"
            store.end()
        manager.close()
