# SPDX-License-Identifier: BSD-3-Clause
"""Nodes that are programs in FPL-2, and what the administrator asks of them: the table [fpl2] of the configuration.

A record that a client names is read where ffpfd runs, and only in the folder `records`: clients name no other files.
What ffpfd has agreed to a tool may still load by rules of its own (csrc/record/load.h).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fpl.graph.node import Node
from pyffpf._core import ffi, lib
from pyffpf.daemon.config import Fpl2Config
from pyffpf.daemon.protocol import Code, RefusedError

CLASS = "FPL-2"
UNSIGNED = "FPL-1"  # whose programs have no records
FILE_WORD = "file:"


def check_programs(config: Fpl2Config, nodes: Sequence[Node]) -> None:
    """RefusedError, with the node and why. Reads files, compiles nothing."""
    called = (
        Node(callee.kind, callee.argument, mbuf=node.mbuf if callee.mbuf is None else callee.mbuf, name=callee.name)
        for node in nodes
        for callee in node.calls
    )
    for node in (*nodes, *called):
        if node.kind == UNSIGNED and config.require_signed:
            raise RefusedError(Code.DENIED, f"{node}: programs must be signed, and those in FPL-1 are not")
        if node.kind != CLASS:
            continue
        if node.argument.startswith(FILE_WORD):
            _check_record(config, node)
        elif config.require_signed:
            raise RefusedError(
                Code.DENIED,
                f'{node}: programs in FPL-2 must be signed records in {config.records}: (FPL-2,"file:PATH")',
            )
        else:
            _check_text(config, node)


def _check_record(config: Fpl2Config, node: Node) -> None:
    path = Path(node.argument.removeprefix(FILE_WORD))
    if path.parent != config.records:
        if config.require_signed:
            raise RefusedError(Code.DENIED, f"{node}: records must be in {config.records}")
        return  # the tool loads it, and by its own rules
    policy, image = ffi.new("struct ffpf_fplo_policy *"), ffi.new("struct ffpf_fplo_image *")
    error, trust = ffi.new("struct ffpf_error *"), ffi.new("char[]", os.fsencode(config.trust))
    policy.trust, policy.steps, policy.rounds, policy.mbuf_bytes = trust, config.steps, config.rounds, config.mbuf
    if lib.ffpf_fplo_load(image, os.fsencode(path), policy, error):
        raise RefusedError(Code.DENIED, ffi.string(error.text).decode(errors="replace"))
    lib.ffpf_fplo_free(image)


def _check_text(config: Fpl2Config, node: Node) -> None:
    """Limits below the compiler's own; a program that is none is whoever compiles it's to refuse."""
    default = Fpl2Config()
    if (node.mbuf or 0) > config.mbuf:
        raise RefusedError(Code.DENIED, f"{node}: an MBuf of {node.mbuf} octets, and {config.mbuf} are allowed")
    if config.steps >= default.steps and config.rounds >= default.rounds:
        return
    from fpl.fpl2 import FplError, check  # which brings a parser that ffpfd does without otherwise
    from fpl.fpl2.check import Policy
    from fpl.graph.callees import externals
    from pyffpf.externs import CoreLibrary

    try:
        library = CoreLibrary()
        policy = Policy(externals=externals(node.calls, node.mbuf or 0, library), library=library)
        cost = check(node.argument, mbuf_bytes=node.mbuf or 0, policy=policy).cost
    except FplError:
        return
    for needs, most, what in ((cost.steps, config.steps, "steps"), (cost.iterations, config.rounds, "rounds of loops")):
        if needs > most:
            raise RefusedError(Code.DENIED, f"{node}: it may take {needs} {what}, and {most} are allowed")
