# SPDX-License-Identifier: BSD-3-Clause
"""The stop button of a notebook: whatever a cell waits in, it ends, and kernel, flow and capture go on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from compat_tests import notebook
from compat_tests.capture_packets import ethernet, udp4
from compat_tests.netns import Netns, wait_until
from compat_tests.shared import Ffpfd

TIMEOUT_S = 60
READY = "it waits"
FRAMES = [ethernet(udp4(bytes([number]) * 20, "10.0.0.2", "10.0.0.1", 4000, 53)) for number in range(3)]


class Kernel:
    """A kernel in a network namespace."""

    def __init__(self, folder: Path, ns: Netns, extra: Mapping[str, str] | None = None) -> None:
        self._manager = notebook.manager(folder, ns.command([]))
        with notebook.environment(folder, extra) as environ:
            self._manager.start_kernel(env=environ)
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=TIMEOUT_S)

    def run(self, code: str) -> str:
        """What the cell prints; AssertionError when it fails."""
        printed: list[str] = []
        reply = self._execute(code, lambda message: printed.append(message["content"].get("text", "")))
        assert reply["status"] == "ok", "\n".join(reply["traceback"])
        return "".join(printed)

    def interrupted(self, code: str) -> str:
        """Runs a cell that waits, interrupts it there, and tells the name of the exception that ended it."""
        reached: list[bool] = []

        def hook(message: Any) -> None:
            if READY in message["content"].get("text", ""):
                wait_until(self._waits, f"the kernel to wait in {code!r}")
                reached.append(True)
                self._manager.interrupt_kernel()

        reply = self._execute(f"print({READY!r}, flush=True)\n{code}", hook)
        assert reached and reply["status"] == "error", f"{code!r} ended with {reply}"
        return str(reply["ename"])

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def _execute(self, code: str, hook: Any) -> Any:
        return self._client.execute_interactive(code, output_hook=hook, timeout=TIMEOUT_S)["content"]

    def _waits(self) -> bool:
        """Whether the kernel's main thread, which runs the cells, sleeps in the system."""
        pid = getattr(self._manager.provisioner, "pid", None)
        where = Path(f"/proc/{pid}/task/{pid}/wchan").read_text()
        return "poll" in where or "futex" in where


@pytest.fixture
def kernel(tmp_path: Path, ns: Netns) -> Iterator[Kernel]:
    made = Kernel(tmp_path, ns)
    try:
        yield made
    finally:
        made.close()


def test_a_flow_that_nothing_feeds(kernel: Kernel) -> None:
    kernel.run("""
from pyffpf import Graph
graph = Graph()
hook = graph.hook("silent")
flow = graph.flow("(device,hook:silent) -> count=(packetcount)").instantiate().activate()
""")
    for code in ("for packet in flow:\n    pass", "flow['count'].read_batch()", "flow.wait(3)", "graph.run()"):
        assert kernel.interrupted(code) == "KeyboardInterrupt", code
    assert (
        kernel.run("hook.handle([bytes(60)] * 3)\nprint(len(flow.read_batch()), flow['count'].mbuf['packets'])")
        == "3 3\n"
    )
    assert kernel.interrupted("with flow:\n    for packet in flow:\n        pass") == "KeyboardInterrupt"
    assert kernel.run("print(flow.state)") == "closed\n"


def test_a_live_capture_without_packets(kernel: Kernel, ns: Netns) -> None:
    kernel.run(f"""
from itertools import islice
import pandas, polars, pyarrow
import pyffpf
capture = pyffpf.open({ns.left!r}, "udp", engine="embedded")
""")
    for code in (
        "for packet in capture:\n    pass", "capture.read_batch(copy=False)", "list(capture.columns('ip.src'))",
        "capture.count()", "pyarrow.table(capture.arrow('ip.src'))", "pandas.DataFrame.from_arrow(capture.arrow())",
    ):  # fmt: skip
        assert kernel.interrupted(code) == "KeyboardInterrupt", code
    # polars has an error of its own, and sees now and then that there is one of Python's.
    assert kernel.interrupted("polars.DataFrame(capture.arrow('ip.src'))") in ("ComputeError", "KeyboardInterrupt")
    assert kernel.interrupted("async for packet in capture:\n    pass") == "CancelledError"  # the kernel's own
    ns.send(ns.right, FRAMES)
    assert kernel.run("print([packet.data[-1] for packet in islice(capture, 3)])") == "[0, 1, 2]\n"
    assert kernel.run("print(capture.statistics.dropped)") == "0\n"
    # duckdb may read in a thread of its own, where no signal is seen: stop is what ends that.
    assert (
        kernel.run("""
import duckdb, threading
threading.Timer(0.2, capture.stop).start()
stream = capture.arrow("ip.src")
print(duckdb.sql("select count(*) from stream").fetchall())
capture.close()
""")
        == "[(0,)]\n"
    )


def test_a_live_flow_without_packets(kernel: Kernel, ns: Netns) -> None:
    kernel.run(f"""
import pyffpf
flow = pyffpf.Flow("(device,{ns.left}) -> (BPF,udp) -> count=(packetcount)").instantiate().activate()
""")
    assert kernel.interrupted("for packet in flow:\n    pass") == "KeyboardInterrupt"
    ns.send(ns.right, FRAMES)
    assert kernel.run("print(flow.wait(3), flow['count'].mbuf['packets'])\nflow.close()") == "3 3\n"


def test_what_ffpfd_captures(tmp_path: Path, ns: Netns) -> None:
    with Ffpfd(ns) as ffpfd:
        kernel = Kernel(tmp_path, ns, {"FFPF_SOCKET": str(ffpfd.socket)})
        try:
            kernel.run(f"""
from itertools import islice
import pyffpf
capture = pyffpf.open({ns.left!r}, "udp", engine="shared")
text = "(device,{ns.left}) -> (BPF,udp) -> count=(packetcount)"
flow = pyffpf.Flow(text, engine="shared", deliver=["count"]).instantiate().activate()
""")
            for code in ("for packet in capture:\n    pass", "capture.count()", "for packet in flow:\n    pass"):
                assert kernel.interrupted(code) == "KeyboardInterrupt", code
            ns.send(ns.right, FRAMES)
            assert kernel.run("print([packet.data[-1] for packet in islice(capture, 3)])") == "[0, 1, 2]\n"
            assert kernel.run("print([packet.data[-1] for packet in islice(flow, 3)])") == "[0, 1, 2]\n"
            assert kernel.run("print(flow['count'].mbuf['packets'])\nflow.close()\ncapture.close()") == "3\n"
        finally:
            kernel.close()
