# SPDX-License-Identifier: BSD-3-Clause
"""The tables that C and Python share, words made and taken apart, and what they look like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixp_driver.microengine import isa, objects
from ixp_driver.microengine.disassemble import instruction, listing


def test_fields_of_a_format_do_not_overlap_and_leave_the_operation_alone() -> None:
    assert set(isa.FIELDS) == set(isa.FORMATS.values())
    for fields in isa.FIELDS.values():
        taken = [bit for low, bits in fields.values() for bit in range(low, low + bits)]
        assert len(taken) == len(set(taken))
        assert all(bit < 26 for bit in taken)
    assert sorted(isa.OPERATIONS.values()) == list(range(len(isa.OPERATIONS)))


@given(st.sampled_from(sorted(isa.OPERATIONS)), st.data())
def test_words_are_taken_apart_as_they_were_made(operation: str, data: st.DataObject) -> None:
    fields = {name: data.draw(st.integers(0, (1 << bits) - 1), name)
              for name, (_, bits) in isa.FIELDS[isa.FORMATS[operation]].items()}  # fmt: skip
    word = isa.encode(operation, **fields)
    assert isa.decode(word) == isa.Word(operation, fields)
    assert instruction(word).startswith(operation)


def test_what_does_not_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not fit 5 bits"):
        isa.encode("ADD", n=32)
    with pytest.raises(ValueError, match="has no field target"):
        isa.encode("ADD", target=1)
    with pytest.raises(ValueError, match="is no instruction"):
        isa.decode(63 << 26)


SHOWN = [
    (isa.encode("ADD", dst=3, a=4, b=20), "ADD        a3, a4, b4"),
    (isa.encode("B_SHL", dst=isa.NONE, a=isa.SMALL, b=isa.SRAM_XFER + 2, n=7), "B_SHL      --, 0, $2, 7"),
    (isa.encode("DSHR_BY", dst=isa.SDRAM_XFER, a=1, b=17, n=2), "DSHR_BY    $$0, a1, b1, a2"),
    (isa.encode("IMMED", dst=16, how=isa.IMMEDS["N_HIGH"], value=0xFFFF), "IMMED      b0, N_HIGH 0xffff"),
    (isa.encode("BR", cond=isa.CONDITIONS["CS"], target=12), "BR         CS, 12"),
    (isa.encode("BR_BSET", a=2, bit=31, target=1), "BR_BSET    a2.31, 1"),
    (isa.encode("BR_NBYTE", a=2, byte=1, value=80, target=1), "BR_NBYTE   a2.1, 0x50, 1"),
    (isa.encode("BAL", dst=5, value=100), "BAL        a5, 100"),
    (isa.encode("RTN", a=5), "RTN        a5"),
    (isa.encode("REF_SWAP", unit=1, cmd=2, xfer=0, count=1, base=4, offset=isa.SMALL + 8),
     "REF_SWAP   SDRAM READ_NET, $$0, a4 + 8, 2"),
    (isa.encode("BR_NSIGNAL", signal=isa.SIGNALS["THREAD"], target=9), "BR_NSIGNAL THREAD, 9"),
    (isa.encode("CSR_READ", reg=1, csr=isa.CSRS["ACTIVE"]), "CSR_READ   a1, ACTIVE"),
    (isa.encode("MOVE", dst=1, b=isa.SMALL + 63), "MOVE       a1, 63"),
    (isa.encode("CTX_ARB", mask=0x100), "CTX_ARB    0x100"),
    (isa.encode("HALT", code=3), "HALT       0x3"),
    (isa.encode("KILL"), "KILL"),
    (63 << 26, "0xfc000000 is no instruction"),
]  # fmt: skip


@pytest.mark.parametrize(("word", "text"), SHOWN, ids=[text for _, text in SHOWN])
def test_words_as_text(word: int, text: str) -> None:
    assert instruction(word) == text


def test_a_listing_has_labels_where_functions_begin() -> None:
    words = [isa.encode("NOP"), isa.encode("KILL")]
    assert listing(words, {"main": 0, "end": 1}) == (
        "main:\n    0  00000000  NOP\nend:\n    1  8c000000  KILL\n")  # fmt: skip


def test_object_files_are_read_as_they_were_written() -> None:
    words = (isa.encode("IMMED", dst=1), isa.encode("IMMED", dst=1, how=isa.IMMEDS["UPPER"]), isa.encode("KILL"))
    octets = objects.written(words, [("mbuf", 0)])
    assert objects.read(octets) == objects.ObjectFile(4, words, (("mbuf", 0),))
    for at in range(len(octets)):
        with pytest.raises(ValueError, match=r"no object file|checksum"):
            objects.read(octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :])
