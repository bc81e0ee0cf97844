# SPDX-License-Identifier: BSD-3-Clause
"""What `fplc explain` says of a program in the kernel, of code that is made as ffpfd makes it, and not loaded."""

from __future__ import annotations

from fpl.classify import ClassifyRefused, Compiler, Module
from fpl.classify.measure import STACK_BYTES, measure
from fpl.classify.symbolic import NotTable
from fpl.fpl2 import ebpf
from fpl.fpl2.compile import Checked
from fpl.graph import filter_fpl2
from fpl.graph.alone import program_of
from fpl.graph.class_fpl2 import LINKS
from pyffpf.daemon.kernel_sources import nodes_library

ETHERNET = 0  # FFPF_NODE_ETHERNET


def _how(checked: Checked) -> str:
    """In which form a program without memory stands among the filters that are decided together."""
    try:
        filter_fpl2.Fpl2Filter(checked, Module(""), 0, ETHERNET, b"").as_table()
        return "as tests on fields"
    except NotTable as error:
        return f"as code: {error}"


def rows(checked: Checked) -> list[tuple[str, str]]:
    """(name, value). What is counted is the program as a node of its own. Instructions of its own are those of the
    functions that it becomes; around them the node finds its memory, counts and puts a VLAN tag in place."""
    if checked.link not in LINKS.values():
        return [("in the kernel", "no: programs there see Ethernet and raw IP")]
    compiler = Compiler()
    try:
        fetch = ebpf.octets_needed(checked.program)
        found = measure(program_of(checked, compiler, nodes_library()))
    except (ebpf.NotForKernelError, ClassifyRefused) as error:
        return [("in the kernel", f"no: {error}")]
    finally:
        compiler.close()
    own = found.functions[1:]
    return [
        ("in the kernel", f"yes, if its verifier agrees; of a packet it needs {fetch} octets"),
        *(("one of a source's filters", _how(checked)) for _ in range(filter_fpl2.is_filter(checked))),
        (
            "instructions there",
            f"{sum(own)} in {len(own)} function{'s' * (len(own) > 1)}; with what is around them {found.insns}",
        ),
        ("octets of stack there", f"{found.stack} of {STACK_BYTES}"),
    ]
