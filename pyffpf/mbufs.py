# SPDX-License-Identifier: BSD-3-Clause
"""MBufs as numpy arrays: the dtype of a class is the struct in its header, csrc/graph/class_NAME.h, as C lays it out.

struct ffpf_mbuf_NAME is the layout of class NAME, struct ffpf_mbuf_NAME_BYTES that of an MBuf of so many octets, where
the class knows several. A member without a length at the end is an array that takes what is left of the MBuf. Classes
that were registered from Python bring a dtype of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pyffpf._core import ffi

REGISTERED: dict[str, np.dtype[Any]] = {}  # of classes in Python, by name


def dtype(class_name: str, octets: int) -> np.dtype[Any] | None:
    """The layout of an MBuf of that size; None when the class has none here, or it would not fit."""
    if class_name in REGISTERED:
        found = REGISTERED[class_name]
        return found if found.itemsize <= octets else None
    name = class_name.replace("-", "_")
    for struct in (f"struct ffpf_mbuf_{name}_{octets}", f"struct ffpf_mbuf_{name}"):
        try:
            ctype = ffi.typeof(struct)
        except ffi.error:
            continue
        return _of_struct(ctype, octets) if ffi.sizeof(ctype) <= octets else None
    return None


def array(class_name: str, memory: Any) -> npt.NDArray[Any]:
    """The memory, writable, as an array () of the class's dtype; as octets (n,) where there is none."""
    layout = dtype(class_name, len(memory))
    if layout is None:
        return np.frombuffer(memory, np.uint8)
    return np.frombuffer(memory, layout, 1).reshape(())


def _of_struct(ctype: Any, octets: int) -> np.dtype[Any]:
    names, formats, offsets, size = [], [], [], ffi.sizeof(ctype)
    for name, field in ctype.fields:
        left = octets - field.offset
        names.append(name)
        offsets.append(field.offset)
        formats.append(_of_type(field.type, left))
        size = max(size, field.offset + np.dtype(formats[-1]).itemsize)
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


def _of_type(ctype: Any, octets: int) -> Any:
    if ctype.kind == "array":
        item = _of_type(ctype.item, octets)
        length = ctype.length if ctype.length is not None else octets // np.dtype(item).itemsize
        return (item, (length,))
    if ctype.kind == "struct":
        return _of_struct(ctype, ffi.sizeof(ctype))
    if ctype.cname in ("float", "double"):
        return np.dtype(f"f{ffi.sizeof(ctype)}")
    signed = int(ffi.cast(ctype, -1)) < 0
    return np.dtype(f"{'i' if signed else 'u'}{ffi.sizeof(ctype)}")
