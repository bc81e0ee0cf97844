# SPDX-License-Identifier: BSD-3-Clause
"""What commands say of files that cannot be read."""

from __future__ import annotations

from pathlib import Path


def words_of(error: BaseException) -> str:
    """Without "[Errno 2]"."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def decoded(octets: bytes, name: str) -> str:
    """A program's text. ValueError: it is none, with the place."""
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: octet {error.start} is none of a text in UTF-8") from error


def text_of(path: Path) -> str:
    """A file's text. OSError; ValueError as above."""
    return decoded(path.read_bytes(), str(path)).replace("\r\n", "\n")
