# SPDX-License-Identifier: BSD-3-Clause
"""What one hook with its flows and readers must do, said in a few lines each: the oracle of test_lanes_model.py.

Lengths are octets of packets, positions are cells (PBuf) and entries (IBuf), as in layout.h.
"""

from __future__ import annotations

from dataclasses import dataclass, field

CELL, HEAD, STAGE = 64, 48, 64
FETCH_ROUNDS = 4


@dataclass(frozen=True)
class Entry:
    """An index, with what its record holds."""

    position: int
    number: int
    kind: int  # octet 8 of the packet: what filters look at


@dataclass
class Flow:
    """A flow and its reader. The filter passes kinds below `limit`."""

    slots: int
    limit: int
    entries: list[Entry] = field(default_factory=list)
    published: int = 0
    r: int = 0  # what the reader's page says
    next: int = 0  # first entry that is not fetched
    items: list[int] = field(default_factory=list)  # fetched, and neither released nor turned away
    served: list[int] = field(default_factory=list)  # of these, the batch
    again: bool = False
    seen: int = 0
    filtered: int = 0
    delivered: int = 0
    lapped: int = 0
    ibuf_drops: int = 0
    pbuf_drops: int = 0

    def passes(self, kind: int) -> bool:
        return kind < self.limit

    def drop_turned_away(self) -> None:
        """Items at the front that have no descriptor are done with."""
        while self.items and self.items[0] not in self.served:
            self.items.pop(0)
            self.filtered += 1

    def release(self, n: int) -> None:
        for _ in range(n):
            self.drop_turned_away()
            self.served.remove(self.items.pop(0))
            self.delivered += 1

    def set_limit(self, limit: int) -> None:
        self.limit = limit
        self.again = bool(self.items)

    @property
    def waiting(self) -> int:
        return len(self.items) + self.published - self.next


@dataclass
class Hook:
    """A lane and its BMS."""

    size: int
    frp: bool
    batch: int
    w: int = 0
    stored: int = 0
    flows: list[Flow] = field(default_factory=list)

    def publish(self) -> None:
        self.stored = 0
        for flow in self.flows:
            flow.published = len(flow.entries)

    def granted(self, cells: int) -> bool:
        unread = [f.entries[f.r].position for f in self.flows if f.r < len(f.entries)]
        return self.frp or self.w + cells - min(unread, default=self.w) <= self.size

    def send(self, number: int, kind: int, length: int) -> int:
        """How many flows get it."""
        cells = -(-(HEAD + length) // CELL)
        wanted = []
        for flow in self.flows:
            flow.seen += 1
            if flow.passes(kind):
                wanted.append(flow)
            else:
                flow.filtered += 1
        got = []
        for flow in wanted:
            if self.frp or len(flow.entries) - flow.r < flow.slots:
                got.append(flow)
            else:
                flow.ibuf_drops += 1
        if got and not self.granted(cells):
            for flow in got:
                flow.pbuf_drops += 1
            got = []
        if len(got) < len(wanted) and self.stored:
            self.publish()
        for flow in got:
            flow.entries.append(Entry(self.w, number, kind))
        if got:
            self.w += cells
            self.stored += 1
        if self.stored >= self.batch:
            self.publish()
        return len(got)

    # ---- the reader ----

    def whole(self, flow: Flow, pos: int) -> bool:
        in_ibuf = len(flow.entries) <= pos + flow.slots
        return in_ibuf and self.w <= flow.entries[pos].position + self.size

    def fetch(self, flow: Flow) -> bool:
        """Moves up to a stage of entries into items; true when some were lapped."""
        lapped = 0
        flow.items = []
        for _ in range(FETCH_ROUNDS if self.frp else 1):
            if flow.items or flow.next == flow.published:
                break
            skip = max(0, flow.published - flow.next - flow.slots) if self.frp else 0
            first = flow.next + skip
            flow.next = min(first + STAGE, flow.published)
            flow.items = [p for p in range(first, flow.next) if not self.frp or self.whole(flow, p)]
            lapped += skip + flow.next - first - len(flow.items)
        flow.lapped += lapped
        return lapped > 0

    def judge(self, flow: Flow) -> bool:
        flow.again = False
        flow.served = [p for p in flow.items if flow.passes(flow.entries[p].kind)]
        if not flow.served:
            flow.drop_turned_away()
        return bool(flow.served)

    def read(self, flow: Flow) -> list[int] | None:
        """Numbers of the batch; [] when nothing is there; None for a loss to be reported."""
        if not flow.again:
            flow.drop_turned_away()
        flow.again = bool(flow.items)
        flow.r = flow.items[0] if flow.items else flow.next
        if not flow.again or not self.judge(flow):
            while True:
                flow.r = flow.next
                if self.fetch(flow):
                    flow.again = True
                    flow.served = []
                    return None
                if not flow.items:
                    return []
                if self.judge(flow):
                    break
        return [flow.entries[p].number for p in flow.served]
