# SPDX-License-Identifier: BSD-3-Clause
"""Writes the rows of the link-type table, as the system's libpcap names them: `gen_names.py OUTPUT.h`."""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LAST_DLT = 1023  # far above the highest that libpcap knows


def load_libpcap() -> ctypes.CDLL:
    name = ctypes.util.find_library("pcap")
    if not name:
        raise SystemExit("gen_names: this machine has no libpcap (Debian: libpcap0.8)")
    library = ctypes.CDLL(name)
    for function in (library.pcap_datalink_val_to_name, library.pcap_datalink_val_to_description):
        function.argtypes = [ctypes.c_int]
        function.restype = ctypes.c_char_p
    library.pcap_datalink_name_to_val.argtypes = [ctypes.c_char_p]
    return library


def names_in_headers() -> list[str]:
    """Every DLT_ name of <pcap/dlt.h>, without the prefix: some are second names of one link type."""
    command = ["gcc", "-E", "-dM", "-include", "pcap/dlt.h", "-x", "c", "/dev/null"]
    macros = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return sorted(set(re.findall(r"^#define DLT_(\w+) ", macros, re.MULTILINE)))


def rows(library: ctypes.CDLL) -> Iterator[str]:
    """One C initialiser a name: number, name, description (NULL for a second name)."""
    known = set()
    for dlt in range(LAST_DLT + 1):
        name = library.pcap_datalink_val_to_name(dlt)
        if name:
            description = library.pcap_datalink_val_to_description(dlt) or name
            known.add(name.decode().upper())
            # A JSON string of plain characters is a C string.
            yield f"{{ {dlt}, {json.dumps(name.decode())}, {json.dumps(description.decode())} }},"
    for name in names_in_headers():
        dlt = library.pcap_datalink_name_to_val(name.encode())
        if dlt >= 0 and name.upper() not in known:
            yield f"{{ {dlt}, {json.dumps(name)}, NULL }},"


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: gen_names.py OUTPUT.h")
    Path(sys.argv[1]).write_text("\n".join(rows(load_libpcap())) + "\n")


if __name__ == "__main__":
    main()
