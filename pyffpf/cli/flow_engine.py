# SPDX-License-Identifier: BSD-3-Clause
"""Where ffpf-flow's flows run: in ffpfd, or in this process; and which flows ffpfd has.

auto: in ffpfd, if it serves all flows; else here, all of them. Why ffpfd refused is kept, for --verbose, and for the
user who may capture neither here nor there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from pyffpf.cli.control import ControlError, socket_path
from pyffpf.cli.flow_show import aligned
from pyffpf.cli.tables import printable
from pyffpf.engine_choice import both, engine_named
from pyffpf.errors import (
    BadGraph,
    FfpfError,
    NoServer,
    NotPermitted,
    NotSupported,
    raised_by_ffpfd,
)
from pyffpf.flow import Flow
from pyffpf.graph import Graph
from pyffpf.remote_flow import RemoteFlow
from pyffpf.remote_graph import RemoteGraph
from pyffpf.remote_node import RemoteNode
from pyffpf.shared_flow import graphs


class FlowError(Exception):
    """A flow cannot be made. number: which, from 1; cause: why."""

    def __init__(self, number: int, cause: FfpfError) -> None:
        super().__init__(f"flow {number}: {cause}")
        self.number = number
        self.cause = cause


def engine_of(args: argparse.Namespace, environ: Mapping[str, str]) -> str:
    """--engine, else FFPF_ENGINE, else auto. ValueError: it is none of them."""
    return engine_named(args.engine or "auto", environ)


def embedded(args: argparse.Namespace) -> tuple[Graph, list[Flow]]:
    """All flows in this process, instantiated. FlowError."""
    graph = Graph(snaplen=args.snaplen, promisc=not args.no_promisc, immediate=args.immediate,
                  engine="embedded")  # fmt: skip
    flows: list[Flow] = []
    try:
        for number, text in enumerate(args.flows, 1):
            try:
                flows.append(graph.flow(text, name=f"flow{number}").instantiate())
            except FfpfError as error:
                raise FlowError(number, error) from error
    except BaseException:
        graph.close()
        raise
    return graph, flows


def shared(args: argparse.Namespace, environ: Mapping[str, str]) -> tuple[Graph, list[Flow]]:
    """All flows in ffpfd, instantiated. What --follow names is delivered. FlowError."""
    from pyffpf.cli.flow_run import find_node

    graph = RemoteGraph(
        snaplen=args.snaplen, promisc=not args.no_promisc, group=args.group or environ.get("FFPF_GROUP") or None,
        program="ffpf-flow", socket=socket_path(args.socket, environ),
    )  # fmt: skip
    flows: list[Flow] = []
    try:
        for number, text in enumerate(args.flows, 1):
            try:
                flows.append(graph.flow(text, name=f"flow{number}"))
            except FfpfError as error:
                raise FlowError(number, error) from error
        if args.follow:
            _deliver(find_node(flows, args.follow))
        for number, flow in enumerate(flows, 1):
            try:
                flow.instantiate()
            except FfpfError as error:
                raise FlowError(number, error) from error
    except BaseException:
        graph.close()
        raise
    return graph, flows


def _deliver(followed: Any) -> None:
    if isinstance(followed, RemoteNode):
        followed.of.deliver(followed.number)
    elif isinstance(followed, RemoteFlow):
        followed.deliver_last()


def make(args: argparse.Namespace, environ: Mapping[str, str], said: TextIO) -> tuple[Graph, list[Flow]]:
    """The graph, to be closed, and its flows, instantiated. FlowError."""
    engine = engine_of(args, environ)
    if engine == "embedded":
        return embedded(args)
    try:
        made = shared(args, environ)
    except FlowError as refusal:
        if engine == "shared":
            raise
        refused = refusal
    else:
        if args.verbose:
            print("ffpf-flow: flows run in ffpfd", file=said)
        return made
    if args.verbose:
        print(f"ffpf-flow: flows run in this process: {refused}", file=said)
    try:
        return embedded(args)
    except FlowError as error:
        if not isinstance(error.cause, NotPermitted):
            raise
        if isinstance(refused.cause, BadGraph):  # ffpfd had a device to try it with
            raise refused from error
        if isinstance(refused.cause, NoServer | NotSupported):
            raise
        raise FlowError(error.number, both(error.cause, refused.cause)) from refused


# ---- the flows of ffpfd ----


def show_list(socket: Path, output: TextIO, *, as_json: bool) -> None:
    """The flows of ffpfd that run graphs, of which the user may know. NoServer, Denied: with the reason."""
    try:
        found = graphs(socket)
    except ControlError as refused:
        raise raised_by_ffpfd(refused.code, str(refused)) from refused
    if as_json:
        print(json.dumps({"graphs": found}), file=output)
        return
    rows = [["flow", "user", "program", "pid", "group", "source", "state", "since"]]
    rows += [
        [str(one["flow"]), one["user"], one["program"], str(one["pid"]), one["group"], one["source"], one["state"],
         time.strftime("%H:%M:%S", time.localtime(one["opened_at"]))]
        for one in found
    ]  # fmt: skip
    print(*aligned(rows, right=(0, 3)), sep="\n", file=output)
    for one in found:
        print(f"\n{one['flow']}  {printable(one['text'])}", file=output)
        if one["nodes"]:
            print(*("  " + line for line in aligned(_nodes(one["nodes"]), right=(3, 4))), sep="\n", file=output)


def _level(node: Mapping[str, Any]) -> str:
    worker = node.get("worker")
    return f"{node['level']} (worker of group {printable(worker)})" if worker else str(node["level"])


def _nodes(nodes: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    rows = [["node", "filter", "level", "in", "out", "shared", "why"]]
    for position, node in enumerate(nodes):
        words = node["class"] + (f",{node['argument']}" if node["argument"] else "")
        numbers = [f"{node[key]:,}" if node.get(key) is not None else "-" for key in ("in", "out")]
        shared_by = "yes" if node.get("shared") else "no"
        titled = f"{node['name']}=({words})" if node["name"] else f"({words})"
        rows.append([str(position), titled, _level(node), *numbers, shared_by, node["reason"]])
    return rows
