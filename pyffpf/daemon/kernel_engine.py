# SPDX-License-Identifier: BSD-3-Clause
"""The engine that captures in the kernel: sources are opened, and those of a predecessor are taken over."""

from __future__ import annotations

import base64
import functools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fpl.classify import ClassifyRefused, Compiler, Compilers
from fpl.classify.bpf import VerifierError
from fpl.graph.kept import KeptError, KeptStage
from pyffpf._core import ffi, lib
from pyffpf.daemon import jsonform, kernel_sources
from pyffpf.daemon.config import Config
from pyffpf.daemon.engine import (
    PREPARED_AT_ONCE,
    Adopted,
    EngineError,
    EngineSource,
    Kept,
    KeptFlow,
    KeptGraph,
    KeptGroup,
    Placement,
    Resolved,
)
from pyffpf.daemon.kernel_capture import KernelSource
from pyffpf.daemon.kernel_files import call, close_all

log = logging.getLogger(__name__)


class KernelEngine:
    """Interfaces of the network namespace that this process is in, `any`, and places in its netfilter."""

    def __init__(self) -> None:
        self._compiler = Compiler()
        self._preparing = Compilers(*(Compiler() for _ in range(PREPARED_AT_ONCE)))
        self._prepared: Callable[[EngineSource], None] = lambda _: None

    def configure(self, config: Config) -> None:
        """The kernel's sources have nothing of it."""

    def on_prepared(self, call: Callable[[EngineSource], None]) -> None:
        self._prepared = call

    def _tell_prepared(self, source: EngineSource) -> None:
        self._prepared(source)

    @property
    def _compilers(self) -> tuple[Compiler, Compilers]:
        return self._compiler, self._preparing

    def resolve(self, name: str) -> Resolved:
        return kernel_sources.resolve(name)

    def open_source(self, resolved: Resolved, pbuf_bytes: int) -> KernelSource:
        self._compiler.warm()  # it starts while the kernel verifies the hook
        kernel = kernel_sources.create(resolved, pbuf_bytes)
        try:
            return KernelSource(resolved.name, kernel, self._compilers, self._tell_prepared)
        except (
            ClassifyRefused,
            VerifierError,
            OSError,
        ) as error:  # there is no compiler, or the kernel refuses its work
            lib.ffpf_kernel_close(kernel)
            raise EngineError(f"no classify program: {error}") from error
        except BaseException:
            lib.ffpf_kernel_close(kernel)
            raise

    def adopt_source(
        self,
        resolved: Resolved,
        pbuf_bytes: int,
        kept: Kept,
        groups: Sequence[KeptGroup],
        flows: Sequence[KeptFlow],
        graphs: Sequence[KeptGraph] = (),
    ) -> Adopted:
        files, text = dict(kept.fds), json.loads(kept.text)
        made, fds = ffi.new("struct ffpf_kernel **"), ffi.new("struct ffpf_kernel_fds *")
        try:
            for which in range(lib.FFPF_KERNEL_FD_COUNT):
                name = ffi.string(lib.ffpf_kernel_fd_name(which)).decode()
                fds.fd[which] = files.get(name, -1) if which in kernel_sources.OPTIONAL_FDS else files[name]
            call(lib.ffpf_kernel_adopt, made, fds)
        except KeyError as error:
            close_all(list(files.values()))
            raise EngineError(f"the ffpfd before this one did not have {error} for its sources") from error
        except BaseException:
            close_all(list(files.values()))
            raise
        for which in range(lib.FFPF_KERNEL_FD_COUNT):
            files.pop(ffi.string(lib.ffpf_kernel_fd_name(which)).decode(), None)
        stage, lost = _kept_stage(text, graphs, flows)
        if stage is None:
            flows = [flow for flow in flows if not flow.reserved]
        active = {graph.id: graph.active for graph in graphs} if stage is not None else {}
        state = _classifier_state(text["bank"], flows)
        filters = functools.partial(stage.filters, active) if stage is not None else None
        try:
            source = KernelSource(resolved.name, made[0], self._compilers, self._tell_prepared, state,
                                  filters)  # fmt: skip
        except BaseException:
            lib.ffpf_kernel_close(made[0])
            close_all(list(files.values()))
            raise
        try:
            if stage is not None:
                lost = source.take_over_graphs(stage, active, files)
            if lost:
                log.error("%s: nodes of graphs end: %s", resolved.name, lost)
                flows, graphs = [flow for flow in flows if not flow.reserved], ()
            placements = source.take_over(text, files, groups, flows)
        except BaseException:
            source.close()
            raise
        finally:
            close_all(list(files.values()))
        return replace(_finish(source, flows, placements, graphs), graphs_lost=lost)

    def close(self) -> None:
        """Sources are closed by those who opened them."""
        self._compiler.close()
        self._preparing.close()


def _classifier_state(bank: int, flows: Sequence[KeptFlow]) -> dict[str, Any]:
    """As Classifier.export_state() gives it."""
    columns = {flow.column: flow.insns for flow in flows if not flow.reserved}
    in_text = {str(n): None if insns is None else base64.b64encode(insns).decode() for n, insns in columns.items()}
    return {"bank": bank, "columns": in_text, "reserved": [flow.column for flow in flows if flow.reserved]}


def _kept_stage(
    text: Mapping[str, Any], graphs: Sequence[KeptGraph], flows: Sequence[KeptFlow]
) -> tuple[KeptStage | None, str]:
    """What the predecessor's stage left, or why it is of no use; None without a reason: no graph needs it."""
    if not graphs:
        return None, ""
    try:
        kept = jsonform.decode(KeptStage, text["stage"], "stage")
        kept.check_format()
        there = {None, *(flow.column for flow in flows if flow.reserved)}
        if any(kept.delivers_to(graph.id) != graph.column or graph.column not in there for graph in graphs):
            raise KeptError("the columns that they deliver to are not those of their flows")
        kept.columns([graph.id for graph in graphs])  # they are graphs
    except KeyError:
        return None, "the ffpfd before did not keep them"
    except (ValueError, KeptError) as error:
        return None, str(error)
    return kept, ""


def _finish(
    source: KernelSource, flows: Sequence[KeptFlow], placements: dict[int, Placement], graphs: Sequence[KeptGraph]
) -> Adopted:
    """What the predecessor was killed in the middle of. Moves that it had prepared are finished. Memories that nobody
    knows, which there should be none of, are moved once more: what is in those between, that nobody can read any more,
    is lost to their readers; the moment is that of the move. A flow that cannot be moved again, because its reader has
    not come from the move before, is taken away."""
    moved, renewed = source.finish_moves()
    renewed |= source.enter_prepared(flows)
    groups, slots = source.unknown_memories()
    there = [flow for flow in flows if flow.slot in placements]
    slots += [flow.slot for flow in there if flow.live and flow.group not in groups and source.is_marked(flow.slot)]
    # whoever misses a flow may have been in the middle of ending its right, and nothing that comes later is for it
    bereft = {flow.group for flow in flows if flow.slot not in placements} & {flow.group for flow in there}
    for group in {*groups, *(bereft - moved)}:
        log.warning("group %d was being moved, or had lost a flow, and is moved", group)
        moving = {flow.slot: flow.ibuf_bytes for flow in there if flow.group == group and flow.live}
        source.move_group(group, moving)
        moved.add(group)
        renewed |= moving.keys()
    for flow in there:
        if flow.slot not in slots:
            continue
        try:
            source.grow_flow(flow.slot, flow.ibuf_bytes)
            log.warning("slot %d was being given other IBufs, and is given new ones", flow.slot)
            renewed.add(flow.slot)
        except EngineError as error:
            log.error("slot %d was being given other IBufs, and cannot be given new ones: %s", flow.slot, error)
            source.activate(flow.slot, None, flow.generation)
            source.close_flow(flow.slot)
            source.clear(flow.column)
            del placements[flow.slot]
    by_column = {flow.column: flow.slot for flow in flows if flow.reserved}
    delivering = {graph.id: by_column[graph.column] for graph in graphs if graph.column is not None}
    instances, node_columns = source.graphs(delivering, placements)
    return Adopted(
        source, placements, frozenset(renewed), frozenset(moved), graphs=instances, node_columns=node_columns
    )
