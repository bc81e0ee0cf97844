# SPDX-License-Identifier: BSD-3-Clause
"""For tests: emitted microcode on engine.c, called for one packet as the framework would."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from fpl.fpl2.compile import Checked
from fpl.fpl2.microengine import around, microcode
from ixp_driver.microc.testing import machine
from ixp_driver.microengine import isa

RECORD, MBUF, SPILL, RESULT = 1024, 4096, 1 << 15, 64
MAIN = """
void
main(void)
{
	uint32_t captured = sram_read(60);

	sram_write(64, ffpf_filter(1024, captured));
	if (scratch_add(0, 1) == csr_read(16))
		halt(0);
}
"""
CYCLES_MAX = 100_000_000


class OnEngine:
    """One program, compiled once. words, cycles: of the microcode; of all runs."""

    def __init__(self, checked: Checked, text: str = "") -> None:
        """text: of the slot, where it is another than the program's."""
        self.object = around(text, MAIN) if text else microcode(checked, MAIN)
        self.checked, self._machine = checked, machine()
        self._machine.load(self.object.words, self.object.imports, {"mbuf": MBUF, "spill": SPILL})

    @property
    def cycles(self) -> int:
        return int(self._machine.engine.cycle)

    def change(self, at: int, word: int) -> None:
        self._machine.engine.store[at] = word

    def run(self, packet: bytes, facts: Mapping[str, int], memory: bytearray, contexts: int = 1) -> int:
        """As reference.Machine.run, or so many of these side by side; what lies around MBuf is checked."""
        sram, sdram = self._machine.memories.sram, self._machine.memories.sdram
        head = struct.pack("<QqIIIHHHHBBHQ", 0, 0, len(packet), facts.get("LEN", len(packet)), facts.get("IFINDEX", 0),
                           facts.get("VLAN_TCI", 0), 0, 0, 0, facts.get("PKTTYPE", 0), facts.get("VLAN_PRESENT", 0),
                           0, 0)  # fmt: skip
        whole = head + packet + b"\xa5" * 2048
        sdram[RECORD : RECORD + len(whole)] = whole
        pad = b"\xa5" * 64
        sram[MBUF - 64 : MBUF + len(memory) + 64] = pad + memory + pad
        sram[60:64] = struct.pack("<I", len(packet))
        self._machine.memories.scratch[:4] = bytes(4)
        self._machine.csrs[isa.CSR_BOARD] = contexts - 1
        self._machine.run(contexts, CYCLES_MAX)
        around = sram[MBUF - 64 : MBUF] + sram[MBUF + len(memory) : MBUF + len(memory) + 64]
        assert around == pad + pad, "memory was changed beyond its ends"
        memory[:] = sram[MBUF : MBUF + len(memory)]
        return int(struct.unpack_from("<I", sram, RESULT)[0])
