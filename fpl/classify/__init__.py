# SPDX-License-Identifier: BSD-3-Clause
"""classify: all BPF filters of all flows on one source as one decision in the kernel."""

from fpl.classify.bytecode import ClassifyRefused
from fpl.classify.classifier import Classifier, ColumnInfo, Maps
from fpl.classify.compiler import Compiler
from fpl.classify.ir import NETFILTER, SOCKET, Place

__all__ = ["NETFILTER", "SOCKET", "Classifier", "ClassifyRefused", "ColumnInfo", "Compiler", "Maps", "Place"]
