# SPDX-License-Identifier: BSD-3-Clause
"""Filter classes in Python: added to a graph, and found by their entry point."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from compat_tests.capture_files import PcapFormat, stamped
from pyffpf.batch import Batch
from pyffpf.custom import CustomFilter
from pyffpf.errors import BadGraph, FfpfError
from pyffpf.graph import Graph
from pyffpf.testing_flows import TCP, UDP, frames


class Longer(CustomFilter):
    """Packets of at least so many octets; counts octets in its MBuf."""

    name = "longer"
    summary = "packets of at least N octets"
    arguments = "N"
    mbuf = np.dtype([("octets", np.uint64), ("mean", np.float64)])
    seen: ClassVar[list[str]] = []

    def __init__(self, arguments: str) -> None:
        self.least = int(arguments)
        self.memory: npt.NDArray[Any] = np.zeros((), self.mbuf)
        self.packets = 0

    @property
    def canonical(self) -> str:
        return str(self.least)

    def open(self, memory: npt.NDArray[Any] | None) -> None:
        assert memory is not None
        self.memory = memory

    def filter(self, batch: Batch) -> npt.NDArray[Any] | None:
        passes = batch["len"] >= self.least
        self.packets += len(batch)
        self.memory["octets"] += np.uint64(batch["len"].sum())
        self.memory["mean"] = self.memory["octets"] / self.packets
        return passes * 7

    def flush(self) -> None:
        self.seen.append("flush")

    def report(self) -> dict[str, Any]:
        return {"packets": self.packets, "what": "long ones", "share": 0.5, "bins": [{"from": 0}, {"from": 8}]}

    def close(self) -> None:
        self.seen.append("close")


@pytest.fixture
def graph() -> Iterator[Graph]:
    Longer.seen.clear()
    with Graph() as made:
        made.add_class(Longer)
        yield made


def expected(least: int) -> list[bytes]:
    return [frame for frame in frames() if len(frame) >= least]


def test_it_filters_counts_and_reports(graph: Graph) -> None:
    hook = graph.hook("h")
    with graph.flow("(device,hook:h) -> (longer,70) -> (packetcount)") as flow:
        flow.begin()
        memory = flow["longer"].mbuf
        memory["octets"] = 1000
        hook.handle(frames())
        batch = flow.read_batch()
        assert batch is not None
        assert [bytes(packet) for packet in batch] == expected(70) and set(batch["result"]) == {7}
        assert flow["packetcount"].mbuf["packets"] == len(expected(70))
        assert memory["octets"] == 1000 + sum(map(len, frames())) and memory["mean"] > 0
        assert flow["longer"].counters.filtered == TCP + UDP - len(expected(70))
        assert flow["longer"].report() == {
            "packets": TCP + UDP, "what": "long ones", "share": 0.5, "bins": [{"from": 0}, {"from": 8}]
        }  # fmt: skip
        assert "what long ones" in flow["longer"].report_text()
    assert Longer.seen == []  # the array of its memory lives
    del memory
    assert Longer.seen[-2:] == ["flush", "close"]


def test_equal_instances_run_once(graph: Graph) -> None:
    graph.hook("h")
    one = graph.flow("(device,hook:h) -> (longer,70)").instantiate()
    other = graph.flow('(device,hook:h) -> (longer,"+70 ")').instantiate()
    assert one["longer"].instance == other["longer"].instance and one["longer"].level == "userspace"


def test_arguments_that_mean_nothing(graph: Graph) -> None:
    graph.hook("h")
    flow = graph.flow("(device,hook:h) -> (longer,short)")
    with pytest.raises(BadGraph, match="invalid literal") as caught:
        flow.instantiate()
    assert caught.value.column == 28


def test_names_are_taken_once(graph: Graph) -> None:
    with pytest.raises(FfpfError, match='there is a class "longer"'):
        graph.add_class(Longer)
    with pytest.raises(FfpfError, match="is no name"):
        graph.add_class(type("Odd", (CustomFilter,), {"name": "9 lives"}))
    graph.hook("h")
    with pytest.raises(BadGraph, match="no class"), Graph() as other:
        other.hook("h")
        other.flow("(device,hook:h) -> (longer,1)").instantiate()


class Failing(CustomFilter):
    name = "failing"

    def filter(self, batch: Batch) -> npt.NDArray[Any] | None:
        gc.collect()  # what is collected here may be flows
        raise ZeroDivisionError("in the filter")


def test_what_a_filter_raises_reaches_who_drives(graph: Graph) -> None:
    graph.add_class(Failing)
    hook = graph.hook("h")
    with graph.flow("(device,hook:h) -> (failing)") as flow:
        with pytest.raises(ZeroDivisionError, match="in the filter"):
            hook.handle(frames()[:3])
        assert flow["failing"].counters.filtered == 3
        with pytest.raises(BadGraph, match="takes no arguments"):
            graph.flow("(device,hook:h) -> (failing,x)").instantiate()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_garbage_in_a_filter_waits(graph: Graph) -> None:
    """A flow of the same graph that is collected while a filter runs is closed afterwards: the core holds the graph."""
    graph.add_class(Failing)
    hook = graph.hook("h")
    with graph.flow("(device,hook:h) -> (failing)"):
        lost: list[Any] = [graph.flow("(device,hook:h) -> (packetcount)").instantiate()]
        lost.append(lost)  # only the collector finds it
        del lost
        with pytest.raises(ZeroDivisionError):
            hook.handle(frames()[:1])
        gc.collect()
        assert [one.class_name for one in graph.instances()] == ["device", "failing"]


MODULE = """
from pyffpf.custom import CustomFilter

class Odd(CustomFilter):
    name = "odd"
    summary = "packets of odd length"

    def filter(self, batch):
        return batch["len"] % 2
"""


def test_an_entry_point_is_all_it_needs(tmp_path: Path) -> None:
    package = tmp_path / "packages"
    info = package / "oddities-1.0.dist-info"
    info.mkdir(parents=True)
    (package / "oddities.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: oddities\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ffpf.classes]\nodd = oddities:Odd\n")
    (tmp_path / "a.pcap").write_bytes(PcapFormat().file(stamped(frames())))
    root = Path(__file__).resolve().parent.parent
    environ = {**os.environ, "PYTHONPATH": f"{root}:{package}"}
    command = [sys.executable, "-m", "pyffpf.cli.flow"]
    flow = f"(device,{tmp_path}/a.pcap) -> (odd) -> (packetcount)"
    done = subprocess.run([*command, "--json", flow], env=environ, capture_output=True, text=True, check=True)
    counted = json.loads(done.stdout)["flows"][0]["nodes"][2]["report"]["packets"]
    assert counted == sum(len(frame) % 2 for frame in frames()) > 0
    listed = subprocess.run([*command, "--classes"], env=environ, capture_output=True, text=True, check=True)
    assert any(line.split()[:2] == ["odd", "userspace"] for line in listed.stdout.splitlines())
