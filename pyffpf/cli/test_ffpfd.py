# SPDX-License-Identifier: BSD-3-Clause
"""The command ffpfd: arguments, configuration, exit codes, log. What it serves is tested in pyffpf/daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pyffpf.cli import ffpfd


def test_a_sound_configuration_is_no_news(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ffpfd.toml").write_text('[buffers]\nbms = "frp"\n')
    assert ffpfd.main(["--check-config", "--config", str(tmp_path / "ffpfd.toml")]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_wrong_configuration_is_named_and_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ffpfd.toml").write_text('[buffers]\nbms = "lru"\n')
    assert ffpfd.main(["--check-config", "--config", str(tmp_path / "ffpfd.toml")]) == 2
    assert capsys.readouterr().err == f"ffpfd: {tmp_path}/ffpfd.toml: buffers.bms: must be one of srp, frp\n"


@pytest.mark.parametrize("argv", [["--no-such-option"], ["--log-format", "xml"], ["word"]])
def test_wrong_use_is_2(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        ffpfd.main(argv)
    assert ended.value.code == 2


def test_what_keeps_it_from_serving_is_logged_and_1(tmp_path: Path) -> None:
    (tmp_path / "ffpfd.toml").write_text('[daemon]\nholder = "none"\nuser = ""\n')
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "pyffpf.cli.ffpfd", "--config", str(tmp_path / "ffpfd.toml"), "--log-format=json"]
    done = subprocess.run([*command, "--socket", str(tmp_path / "file")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    line = json.loads(done.stderr.splitlines()[-1])
    assert (line["level"], line["message"]) == ("error", f"{tmp_path}/file: that is no socket")
