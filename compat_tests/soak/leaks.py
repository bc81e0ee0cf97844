# SPDX-License-Identifier: BSD-3-Clause
"""What ffpfd, its holder and the rest of a machine have that must not grow, as numbers with a name each.

The soak runs in namespaces of its own for processes, mounts and the network, so that whatever is counted here is its
own. What cannot be had apart, maps and programs of the kernel, is followed by number: those of which ffpfd or its
holder ever had a descriptor.
"""

from __future__ import annotations

import collections
import contextlib
import re
from pathlib import Path

from compat_tests import bpfcalls
from compat_tests.shared import Ffpfd

Objects = set[tuple[str, int]]
IDS = re.compile(r"^(map|prog|link)_id:\s*(\d+)$", re.MULTILINE)
MEMORY = "memory"  # in the names of those that are KiB, and are judged by their growth
THREADS = 24  # of ffpfd, whose pools begin them when they are first needed: the most that it may have
COMPILER = "fpl.classify.backend"  # ffpfd's, which begin when they are first needed: two at most, a pipe each way


def descriptors(pid: int) -> collections.Counter[str]:
    """By kind: "socket", "anon_inode:bpf-map", "/memfd:ffpf-status" ..."""
    kinds: collections.Counter[str] = collections.Counter()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            kinds[re.sub(r":?\[.*?\]$|\s*\(deleted\)", "", str(file.readlink()))] += 1
    return kinds


def objects_of(pid: int) -> Objects:
    """Maps, programs and links that a process has descriptors of."""
    found: Objects = set()
    try:
        files = list(Path(f"/proc/{pid}/fdinfo").iterdir())
    except OSError:  # the process is gone
        return found
    for file in files:
        with contextlib.suppress(OSError):  # closed meanwhile: that one only, or what comes after it would be missing
            found |= {(kind, int(number)) for kind, number in IDS.findall(file.read_text())}
    return found


def all_objects() -> Objects:
    """Of the machine."""
    by_kind = (
        ("map", bpfcalls.MAP_GET_NEXT_ID),
        ("prog", bpfcalls.PROG_GET_NEXT_ID),
        ("link", bpfcalls.LINK_GET_NEXT_ID),
    )
    return {(kind, number) for kind, next_id in by_kind for number in bpfcalls.ids(next_id)}


def memory_kib(pid: int) -> int:
    """What would be free without the process: its own pages, and its share of those that others map, too."""
    found = re.search(r"^Pss:\s*(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def processes() -> dict[int, tuple[int, str, str]]:
    """Of the namespace: parent, state, command line."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue
            found[int(folder.name)] = (int(parent), state, line or f"[{(folder.name)}]")
    return found


def descendants(there: dict[int, tuple[int, str, str]], pid: int) -> set[int]:
    children = {child for child, (parent, _, _) in there.items() if parent == pid}
    return children.union(*(descendants(there, child) for child in children))


class Watch:
    """Looks at one ffpfd after another."""

    def __init__(self, ffpfd: Ffpfd, temporary: Path) -> None:
        self._ffpfd = ffpfd
        self._temporary = temporary
        self.ever: Objects = set()

    def sample(self) -> None:
        """Remembers which maps and programs there are."""
        self.ever |= objects_of(self._ffpfd.pid) | objects_of(self._ffpfd.holder_pid)

    def facts(self, known: set[int]) -> dict[str, int]:
        """known: processes that are meant to be there; those of ffpfd need not be named."""
        self.sample()
        alive = self.ever & all_objects()
        self.ever = alive | objects_of(self._ffpfd.pid)
        ffpfd, holder = self._ffpfd.pid, self._ffpfd.holder_pid
        there = processes()
        compilers = {pid for pid, (_, _, line) in there.items() if COMPILER in line}
        children = descendants(there, ffpfd) - compilers
        found: dict[str, int] = {}
        for name, pid, pipes in (("ffpfd", ffpfd, 2 * len(compilers)), ("holder", holder, 0)):
            found[f"{name}: descriptors"] = descriptors(pid).total() - pipes
            found[f"{name}: threads"] = sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
            found[f"{name}: {MEMORY}, KiB"] = memory_kib(pid)
        for kind in ("map", "prog", "link"):
            found[f"kernel: {kind}s"] = sum(1 for have, _ in alive if have == kind)
        found["processes: zombies"] = sum(1 for _, state, _ in there.values() if state == "Z")
        found["processes: ffpfd's"] = len(children)
        found["processes: others"] = len(set(there) - known - compilers - children - {ffpfd, holder})
        found["sockets: packet"] = self._lines("packet")
        found["sockets: unix"] = self._lines("unix")
        found["sockets: netlink"] = self._lines("netlink")
        for name, folder in (("/dev/shm", Path("/dev/shm")), ("/sys/fs/bpf", Path("/sys/fs/bpf"))):
            found[f"files: {name}"] = sum(1 for _ in folder.rglob("*"))
        found["files: temporary"] = sum(1 for _ in self._temporary.rglob("*"))
        return found

    def _lines(self, protocol: str) -> int:
        return len(self._ffpfd.ns.run(["cat", f"/proc/net/{protocol}"]).stdout.splitlines()) - 1

    def words(self, known: set[int]) -> str:
        """What there is, for a finding."""
        there = processes()
        others = [f"{pid} {line[:100]} ({state})" for pid, (_, state, line) in there.items() if pid not in known]
        return f"ffpfd has {dict(descriptors(self._ffpfd.pid))}; processes: {others}"


def grown(baseline: dict[str, int], now: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Of what is no memory: which there are more of."""
    return {
        name: (baseline[name], now[name])
        for name in now
        if MEMORY not in name and now[name] > max(baseline[name], THREADS if name.endswith("threads") else 0)
    }
