# SPDX-License-Identifier: BSD-3-Clause
"""What ffpfd may do: the capabilities that capturing takes, as its own user, and nothing else.

    drop(CAPTURE, user="ffpf")      # once, at the start, before any thread

Afterwards the bounding, permitted and effective sets are what was kept, the inheritable and ambient ones are empty,
so no program that is started (the compiler, the holder) has any; no_new_privs is set, and the securebits say that root
is a user like any other. See capabilities(7).
"""

from __future__ import annotations

import ctypes
import os
import pwd
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class Cap(IntEnum):
    """Those that the project names (linux/capability.h)."""

    SETGID = 6
    SETUID = 7
    SETPCAP = 8
    NET_ADMIN = 12
    NET_RAW = 13
    PERFMON = 38
    BPF = 39


NONE: frozenset[int] = frozenset()
CAPTURE: frozenset[int] = frozenset({Cap.NET_RAW, Cap.BPF, Cap.PERFMON})
NETFILTER: frozenset[int] = CAPTURE | {Cap.NET_ADMIN}

# linux/prctl.h, linux/securebits.h, linux/capability.h
PR_SET_KEEPCAPS = 8
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECBIT_NOROOT = 1 << 0
SECBIT_NOROOT_LOCKED = 1 << 1
SECBIT_NO_CAP_AMBIENT_RAISE = 1 << 6
SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED = 1 << 7
CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class PrivilegeError(Exception):
    """The process does not have what was asked for, or may not give it up; the text is for people."""


@dataclass(frozen=True)
class Capabilities:
    """The five sets of a process, and no_new_privs, as /proc shows them."""

    inheritable: frozenset[int]
    permitted: frozenset[int]
    effective: frozenset[int]
    bounding: frozenset[int]
    ambient: frozenset[int]
    no_new_privs: bool

    @classmethod
    def of(cls, pid: int | str = "self") -> Capabilities:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        values = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        inheritable, permitted, effective, bounding, ambient = (
            _bits(int(values[f"Cap{name}"], 16)) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")
        )
        return cls(inheritable, permitted, effective, bounding, ambient, values["NoNewPrivs"].strip() == "1")


def drop(keep: frozenset[int], user: str | None = None) -> None:
    """Gives up everything but `keep`, and becomes `user` if one is named and this process is root.

    What the process does not have is not kept; missing() tells. PrivilegeError when it may not be done: nothing is
    half-done then but what was given up already.
    """
    if sum(1 for _ in Path("/proc/self/task").iterdir()) != 1:
        raise PrivilegeError("capabilities belong to threads: they must be dropped before the first is started")
    account = _account(user)
    if account is not None and os.geteuid() != account.pw_uid:
        if os.geteuid() != 0:
            raise PrivilegeError(f"only root can become {account.pw_name}")
        drop_bounding(keep)
        _become(account)
    else:
        drop_bounding(keep)
    drop_capabilities(keep)
    set_no_new_privs()


def drop_bounding(keep: frozenset[int], *, secure: bool = True) -> None:
    """The bounding set, and the securebits, unless programs that root starts are to have what is kept. Without
    CAP_SETPCAP neither can be changed; then no_new_privs alone keeps this process and its children from gaining
    anything."""
    if Cap.SETPCAP not in Capabilities.of().effective:
        return
    bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED
    if secure:
        _prctl(PR_SET_SECUREBITS, bits)
    for number in Capabilities.of().bounding - keep:
        _prctl(PR_CAPBSET_DROP, number)


def drop_capabilities(keep: frozenset[int]) -> None:
    """Permitted and effective become what is kept of them; inheritable and ambient become empty."""
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    left = sum(1 << number for number in Capabilities.of().permitted & keep)
    low, high = left & 0xFFFFFFFF, left >> 32
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)  # effective, permitted, inheritable: low words, high words
    if _libc.capset(header, data) != 0:
        raise PrivilegeError(f"capset: {os.strerror(ctypes.get_errno())}")


def set_no_new_privs() -> None:
    """From now on no exec adds rights. Children inherit it."""
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def missing(needed: frozenset[int]) -> list[str]:
    """The names of those that this process needs and has not."""
    return [f"CAP_{Cap(number).name}" for number in sorted(needed - Capabilities.of().effective)]


def _account(user: str | None) -> pwd.struct_passwd | None:
    if user is None:
        return None
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise PrivilegeError(f"there is no user {user}") from None


def _become(account: pwd.struct_passwd) -> None:
    """The user, with its groups; the permitted set stays."""
    _prctl(PR_SET_KEEPCAPS, 1)
    try:
        os.initgroups(account.pw_name, account.pw_gid)
        os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
        os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    except OSError as error:
        raise PrivilegeError(f"cannot become {account.pw_name}: {error.strerror}") from error
    _prctl(PR_SET_KEEPCAPS, 0)


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, argument, 0, 0, 0) != 0:
        raise PrivilegeError(f"prctl({option}, {argument}): {os.strerror(ctypes.get_errno())}")


def _bits(mask: int) -> frozenset[int]:
    return frozenset(number for number in range(mask.bit_length()) if mask >> number & 1)
