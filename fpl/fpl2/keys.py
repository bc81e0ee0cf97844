# SPDX-License-Identifier: BSD-3-Clause
"""Keys that sign compilation records, and the directory of those whose signatures count (csrc/record/trust.h).

A secret key is a file of two lines, mode 0600; a key's id is the first 16 octets of the SHA-256 of its public half.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nacl.signing import SigningKey

from fpl.fpl2.record import KEY_ID_LEN, Signer

_SECRET = re.compile(r"ffpf-secret-key 1\ned25519 ([0-9a-f]{64})\n")
_TRUSTED = re.compile(r"ffpf-trust 1\ned25519 ([0-9a-f]{64})\n(?:not-after (\S+)\n)?")
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class KeyFileError(ValueError):
    """A file of a key is not as it must be: the text has its path."""


def key_id(public: bytes) -> bytes:
    return hashlib.sha256(public).digest()[:KEY_ID_LEN]


@dataclass(frozen=True)
class Secret:
    """A key that signs."""

    seed: bytes

    @classmethod
    def generate(cls) -> Secret:
        return cls(bytes(SigningKey.generate()))

    @property
    def public(self) -> bytes:
        return bytes(SigningKey(self.seed).verify_key)

    @property
    def id(self) -> str:
        return key_id(self.public).hex()

    def signer(self) -> Signer:
        key = SigningKey(self.seed)
        return Signer(key_id(self.public), lambda octets: key.sign(octets).signature)


def write_secret(path: Path, secret: Secret) -> None:
    """A new file that its owner alone can read. FileExistsError: keys are never overwritten."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        os.fchmod(fd, 0o600)  # whatever the umask
        file.write(f"ffpf-secret-key 1\ned25519 {secret.seed.hex()}\n")


def read_secret(path: Path) -> Secret:
    """KeyFileError when others can read it, or it is none."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
            raise KeyFileError(f"{path}: others can read this secret key: chmod 600 {path}, or make a new one")
        if status.st_uid not in (0, os.geteuid()):
            raise KeyFileError(f"{path}: this secret key is somebody else's")
        found = _SECRET.fullmatch(file.read(256).decode("ascii", "replace"))
    if found is None:
        raise KeyFileError(f"{path}: no secret key")
    return Secret(bytes.fromhex(found[1]))


@dataclass(frozen=True)
class Trusted:
    """A public key whose signatures count, until not_after (UTC), which None is never."""

    public: bytes
    not_after: datetime | None = None

    @property
    def id(self) -> str:
        return key_id(self.public).hex()

    def text(self) -> str:
        end = f"not-after {self.not_after.astimezone(UTC).strftime(_TIME)}\n" if self.not_after else ""
        return f"ffpf-trust 1\ned25519 {self.public.hex()}\n{end}"


def read_trusted(path: Path) -> Trusted:
    found = _TRUSTED.fullmatch(path.read_bytes()[:512].decode("ascii", "replace"))
    try:
        end = datetime.strptime(found[2], _TIME).replace(tzinfo=UTC) if found and found[2] else None
    except ValueError:
        found = None
    if found is None:
        raise KeyFileError(f"{path}: no file of a public key")
    return Trusted(bytes.fromhex(found[1]), end)


def parse_time(text: str) -> datetime:
    """A day, which ends with its last second, or a moment with its second; both UTC. ValueError."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        text += "T23:59:59Z"
    return datetime.strptime(text, _TIME).replace(tzinfo=UTC)


class TrustStore:
    """A directory of public keys, as csrc/record/trust.h reads it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def _path(self, id_: str) -> Path:
        if not re.fullmatch(f"[0-9a-f]{{{2 * KEY_ID_LEN}}}", id_):
            raise KeyFileError(f"{id_!r} is no id of a key: {2 * KEY_ID_LEN} hex digits")
        return self.directory / f"{id_}.pub"

    def add(self, trusted: Trusted) -> Path:
        """Or replaces what is said of that key; in one step, so that nobody reads half a file."""
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        path = self._path(trusted.id)
        new = path.with_suffix(f".{os.getpid()}.new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with os.fdopen(fd, "w") as file:
            os.fchmod(fd, 0o644)
            file.write(trusted.text())
        new.rename(path)
        return path

    def get(self, id_: str) -> Trusted:
        path = self._path(id_)
        if not path.exists():
            raise KeyFileError(f"{self.directory}: key {id_} is not trusted")
        return read_trusted(path)

    def remove(self, id_: str) -> None:
        self.get(id_)
        self._path(id_).unlink()

    def list(self) -> list[Trusted]:
        """By id. KeyFileError for a file that is none, or has another key than its name says."""
        found = []
        for path in sorted(self.directory.glob("*.pub")):
            trusted = read_trusted(path)
            if trusted.id != path.stem:
                raise KeyFileError(f"{path}: it has another key than its name says")
            found.append(trusted)
        return found
