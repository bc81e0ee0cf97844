# SPDX-License-Identifier: BSD-3-Clause
"""What `fplc explain` says of a program in the kernel, of code that is made as ffpfd makes it, and not loaded."""

from __future__ import annotations

from fpl.classify import ClassifyRefused, Compiler
from fpl.classify.measure import STACK_BYTES, measure
from fpl.fpl2 import ebpf
from fpl.fpl2.compile import Checked
from fpl.graph.alone import program_of
from fpl.graph.class_fpl2 import LINKS
from pyffpf.daemon.kernel_sources import nodes_library


def rows(checked: Checked) -> list[tuple[str, str]]:
    """(name, value). Instructions of its own are those of the functions that the program becomes; around them the node
    finds its memory, counts and puts a VLAN tag in place."""
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
        (
            "instructions there",
            f"{sum(own)} in {len(own)} function{'s' * (len(own) > 1)}; with what is around them {found.insns}",
        ),
        ("octets of stack there", f"{found.stack} of {STACK_BYTES}"),
    ]
