# SPDX-License-Identifier: BSD-3-Clause
"""Filter text as a program of the core."""

from __future__ import annotations

from typing import Any

from pyffpf._core import ffi, lib
from pyffpf.errors import check, new_error

NETMASK_UNKNOWN = 0xFFFFFFFF


def compile_text(text: str, link_type: int, snaplen: int, form: int, optimize: bool = True) -> Any:
    """A `struct ffpf_bpf_prog *` that the caller owns, by the system's libpcap. Raises BadFilter with its words."""
    insns, count, error = ffi.new("struct ffpf_bpf_insn **"), ffi.new("uint32_t *"), new_error()
    code = lib.ffpf_syspcap_compile(insns, count, text.encode(), link_type, snaplen, optimize, NETMASK_UNKNOWN, form,
                                    error)  # fmt: skip
    check(code, error, repr(text))
    out = ffi.new("struct ffpf_bpf_prog **")
    try:
        check(lib.ffpf_bpf_prog_create(out, insns[0], count[0], lib.FFPF_BPF_AUTO, error), error, repr(text))
    finally:
        lib.free(insns[0])
    return out[0]
