# SPDX-License-Identifier: BSD-3-Clause
"""classify: all filters of all flows on one source as one decision in the kernel."""

from fpl.classify.bytecode import ClassifyRefused
from fpl.classify.classifier import Classifier, ColumnInfo, Maps
from fpl.classify.compiler import Compiler, Compilers, Module
from fpl.classify.filters import Filter
from fpl.classify.ir import NETFILTER, SOCKET, Place
from fpl.classify.prepared import NotReady, Prepared

__all__ = [
    "NETFILTER",
    "SOCKET",
    "Classifier",
    "ClassifyRefused",
    "ColumnInfo",
    "Compiler",
    "Compilers",
    "Filter",
    "Maps",
    "Module",
    "NotReady",
    "Place",
    "Prepared",
]
