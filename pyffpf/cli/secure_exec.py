# SPDX-License-Identifier: BSD-3-Clause
"""Foretells whether the kernel will start a program in secure-execution mode (AT_SECURE), where LD_PRELOAD is ignored.

The rules are the kernel's (security/commoncap.c, cap_bprm_creds_from_file, Linux 6.1 to 6.18): secure when the new
effective user or group is not the real one, or when a user who is not root gains capabilities from the file. Kernels
of 2025 and later say so also when exec changes the effective user back to the real one; here that counts for all.
"""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

XATTR_CAPS = "security.capability"
VFS_CAP_FLAGS_EFFECTIVE = 1
ROOT_UID = 0


@dataclass(frozen=True)
class Credentials:
    """What of a process decides: ids, capability sets as bit masks, and no_new_privs."""

    ruid: int
    euid: int
    rgid: int
    egid: int
    permitted: int
    bounding: int
    inheritable: int
    no_new_privs: bool

    @staticmethod
    def of_this_process() -> Credentials:
        fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
        ruid, euid, _ = os.getresuid()
        rgid, egid, _ = os.getresgid()
        return Credentials(
            ruid=ruid,
            euid=euid,
            rgid=rgid,
            egid=egid,
            permitted=int(fields["CapPrm"], 16),
            bounding=int(fields["CapBnd"], 16),
            inheritable=int(fields["CapInh"], 16),
            no_new_privs=fields["NoNewPrivs"].strip() == "1",
        )


@dataclass(frozen=True)
class FileCaps:
    """The capabilities that a file gives: two bit masks, and whether they take effect at once."""

    permitted: int
    inheritable: int
    effective: bool


def parse_file_caps(raw: bytes) -> FileCaps | None:
    """The value of security.capability (struct vfs_cap_data); None when unknown, or for another user namespace."""
    (magic,) = struct.unpack_from("<I", raw)
    revision = magic >> 24
    if revision == 1 and len(raw) == 12:
        permitted, inheritable = struct.unpack_from("<II", raw, 4)
    elif revision == 2 and len(raw) == 20:
        permitted_low, inheritable_low, permitted_high, inheritable_high = struct.unpack_from("<IIII", raw, 4)
        permitted = permitted_low | permitted_high << 32
        inheritable = inheritable_low | inheritable_high << 32
    else:  # revision 3 is shown as 2 where its root is ours
        return None
    return FileCaps(permitted, inheritable, bool(magic & VFS_CAP_FLAGS_EFFECTIVE))


def file_caps(path: Path) -> FileCaps | None:
    try:
        return parse_file_caps(os.getxattr(path, XATTR_CAPS))
    except (OSError, struct.error):
        return None


def secure_reason(path: Path, creds: Credentials) -> str | None:
    """Why exec of `path` would start in secure-execution mode, in words for the user; None when it would not.

    Raises OSError when the file cannot be looked at.
    """
    status = path.stat()
    trusted_mount = not os.statvfs(path).f_flag & os.ST_NOSUID
    honoured = trusted_mount and not creds.no_new_privs
    setuid = bool(status.st_mode & stat.S_ISUID) and honoured
    both = stat.S_ISGID | stat.S_IXGRP
    setgid = status.st_mode & both == both and honoured
    euid = status.st_uid if setuid else creds.euid
    egid = status.st_gid if setgid else creds.egid
    if euid != creds.ruid or euid != creds.euid:
        return f"is set-user-ID (to user {euid})" if setuid else "would run with different real and effective users"
    if egid != creds.rgid or egid != creds.egid:
        return f"is set-group-ID (to group {egid})" if setgid else "would run with different real and effective groups"
    caps = file_caps(path) if trusted_mount else None
    if caps is None or creds.ruid == ROOT_UID:
        return None
    permitted = (caps.permitted & creds.bounding) | (caps.inheritable & creds.inheritable)
    if creds.no_new_privs:
        permitted &= creds.permitted
    if caps.effective or permitted:
        return "has file capabilities"
    return None
