# SPDX-License-Identifier: BSD-3-Clause
"""The socket that ffpfd listens on."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from pyffpf.daemon import listener
from pyffpf.daemon.listener import ListenError


def test_folder_and_socket_are_made_and_replaced_when_nobody_answers(tmp_path: Path) -> None:
    path = tmp_path / "run" / "ffpfd.sock"
    listener.listen(path, 0o600).close()
    with listener.listen(path, 0o666):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        assert [entry.name for entry in path.parent.iterdir()] == ["ffpfd.sock"]
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(str(path))
        with pytest.raises(ListenError, match="another ffpfd answers there"):
            listener.listen(path, 0o666)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(str(path))  # it was not touched
    listener.remove(path)
    listener.remove(path)
    assert not path.exists()


def test_what_cannot_be_is_an_error_that_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ListenError, match="file: that is no socket"):
        listener.listen(tmp_path / "file", 0o666)
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(ListenError, match=r"file/ffpfd\.sock: "):
        listener.listen(tmp_path / "file" / "ffpfd.sock", 0o666)
    with pytest.raises(ListenError, match="too long"):
        listener.listen(tmp_path / ("x" * 200), 0o666)


def test_a_socket_of_another_kind_is_not_adopted() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        with pytest.raises(ListenError):
            listener.adopt(stream.fileno())
        stream.getsockname()  # it stays open
