# SPDX-License-Identifier: BSD-3-Clause
"""What the *.cdef files say of the core's types is what its headers say. cffi asks the compiler, but of each type only
when it is used."""

from __future__ import annotations

import pytest

from pyffpf._core import ffi

NAMES = [f"struct {name}" for name in ffi.list_types()[1]]
OPAQUE = "don't know the size of ctype"  # declared, and nothing said of what is in it


def test_declared_types_are_as_the_compiler_has_them() -> None:
    """A field that one of them lacks is an ffi.error with its name."""
    known = 0
    for name in NAMES:
        try:
            known += ffi.sizeof(name) > 0
            ffi.typeof(name).fields  # noqa: B018 (asks for the offsets, too)
        except ffi.error as error:
            if not str(error).startswith(OPAQUE):
                pytest.fail(str(error))
    assert known > 80
