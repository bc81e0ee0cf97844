# SPDX-License-Identifier: BSD-3-Clause
"""The bytes that classify shares with the hook: the numbers of csrc/kernel/kernel_layout.h that the emitted programs
and the control plane need. A test holds them against that header.
"""

from __future__ import annotations

COLUMNS = 1024  # each flow has two: 2 * slot and 2 * slot + 1
WORDS = 16  # of 64 columns
PROGS = 64
SLOT_CLASSIFY, SLOT_STORE, SLOT_CHAIN = 0, 1, 2
SLOT_GRAPH = 30  # the nodes of filter graphs (fpl/graph), behind classify and its chain

SCRATCH_VERDICT = 0
SCRATCH_INSIDE = 128
SCRATCH_DATA_LEN = 132
SCRATCH_WIRE_LEN = 136
SCRATCH_IFINDEX = 140
SCRATCH_PKT_TYPE = 144
SCRATCH_PROTOCOL = 148
SCRATCH_HATYPE = 152
SCRATCH_VLAN_PRESENT = 156
SCRATCH_VLAN_TCI = 160
SCRATCH_VLAN_TPID = 164
SCRATCH_MARK = 168
SCRATCH_QUEUE = 172
SCRATCH_RXHASH = 176
SCRATCH_CPU = 180
SCRATCH_LOST = 184
SCRATCH_RESULTS = 192
SCRATCH_DATA = 4288
SCRATCH_DATA_BYTES = 65536
SCRATCH_OWNER = SCRATCH_DATA + SCRATCH_DATA_BYTES
SCRATCH_LEFT = SCRATCH_OWNER + 8  # the hook's own
SCRATCH_BYTES = SCRATCH_LEFT + 8 * WORDS

CONTROL_ACTIVE = 0
CONTROL_FETCH_LEN = 128
CONTROL_WORDS = 132
CONTROL_BYTES = 4096  # what of the map is mapped: a page

COLUMN_RESULT = 0  # in a value of the columns map: u32, 0 means scratch.results
