# SPDX-License-Identifier: BSD-3-Clause
"""Names of link types, as the system's libpcap has them: none of them stands in our sources."""

from __future__ import annotations

import functools

from pyffpf._core import ffi, lib


@functools.cache
def link_type_name(link_type: int) -> str:
    """Of a DLT_* value, without the prefix: "EN10MB". "" when it has none, or there is no libpcap to ask."""
    function = lib.ffpf_syspcap_symbol(b"pcap_datalink_val_to_name", ffi.NULL)
    if function == ffi.NULL:
        return ""
    name = ffi.cast("const char *(*)(int)", function)(link_type)
    return "" if name == ffi.NULL else ffi.string(name).decode()
