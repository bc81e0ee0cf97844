# SPDX-License-Identifier: BSD-3-Clause
"""The one table of classes that the kernel runs. A new class is one file and one row."""

from __future__ import annotations

from fpl.graph import (
    class_bpf,
    class_bytecount,
    class_first_n,
    class_flow_hash,
    class_fpl2,
    class_histogram,
    class_packetcount,
    class_sampler,
    class_topk,
)
from fpl.graph.classes import KernelClass

CLASSES: dict[str, KernelClass] = {
    made.name: made
    for made in (
        class_bpf.CLASS,
        class_bytecount.CLASS,
        class_first_n.CLASS,
        class_flow_hash.CLASS,
        class_fpl2.CLASS,
        class_histogram.CLASS,
        class_packetcount.CLASS,
        class_sampler.CLASS,
        class_topk.CLASS,
    )
}
