# SPDX-License-Identifier: BSD-3-Clause
"""(BPF,"tcp port 80"): a column of classify. Nodes are the same when their instructions are."""

from __future__ import annotations

import hashlib

from fpl.graph.classes import KernelClass, Lowered
from fpl.graph.code import ALWAYS, Code
from fpl.graph.node import Node


def _emit(code: Code) -> str:
    return code.accepted()


def _everything(code: Code) -> str:
    return ALWAYS


def instance(node: Node) -> Lowered:
    if node.insns is None:
        return Lowered("", _everything)
    insns = node.insns
    return Lowered(hashlib.sha256(insns).hexdigest(), _emit, filter=lambda _link, _library: insns)


CLASS = KernelClass("BPF", stateful=False, instance=instance, may_filter=True)
