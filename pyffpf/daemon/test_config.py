# SPDX-License-Identifier: BSD-3-Clause
"""Configuration: what it says when it is right, and exactly where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyffpf.daemon import config
from pyffpf.daemon.boards import Board
from pyffpf.daemon.config import AllowRule, Config, ConfigError, GroupConfig, SourceConfig
from pyffpf.daemon.replay import FOREVER, Rate, Replay


def load(folder: Path, main: str, **more: str) -> Config:
    (folder / "ffpfd.toml").write_text(main)
    (folder / "conf.d").mkdir(exist_ok=True)
    for name, text in more.items():
        (folder / "conf.d" / f"{name}.toml").write_text(text)
    return config.load(folder / "ffpfd.toml")


def test_an_empty_file_is_the_defaults_without_rules(tmp_path: Path) -> None:
    assert load(tmp_path, "") == Config()


def test_the_packaged_default_allows_members_of_ffpf_everything() -> None:
    packaged = config.load(config.PACKAGED_FILE)
    assert packaged.allow == (AllowRule(groups=("ffpf",)),)
    assert (packaged.daemon, packaged.limits, packaged.buffers) == (Config().daemon, Config().limits, Config().buffers)


def test_later_files_override_single_keys_and_rules_come_behind(tmp_path: Path) -> None:
    read = load(
        tmp_path,
        '[buffers]\nbytes = "1 MiB"\nbms = "frp"\n[group.a]\nbms = "srp"\n[source.eth0]\nbytes = 65536\n'
        '[[allow]]\nusers = ["x"]',
        b='[[allow]]\ngroups = ["*"]\nsources = ["lo"]\n[group.a]\nstall_ms = 5',
        a='[buffers]\nbytes = "2 MiB"\n[limits]\nflows = 3',
    )
    assert (read.buffers.bytes, read.buffers.bms, read.limits.flows) == (2 << 20, "frp", 3)
    assert read.allow == (AllowRule(users=("x",)), AllowRule(groups=("*",), sources=("lo",)))
    assert read.group == {"a": GroupConfig(bms="srp", stall_ms=5)}
    assert read.source == {"eth0": SourceConfig(bytes=65536)}


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("x = 1", "x", "no such table"),
        ("[deamon]", "deamon", "no such table"),
        ("[daemon]\nsockets = 'x'", "daemon.sockets", "no such key; there are socket,"),
        ("[daemon]\nsocket = 1", "daemon.socket", "must be text"),
        ("[daemon]\nsocket_mode = 666", "daemon.socket_mode", 'must be text such as "0660"'),
        ("[daemon]\nconnections = true", "daemon.connections", "must be a whole number"),
        ("[daemon]\nconnections = 0", "daemon.connections", "must be from 1 to 100000"),
        ("daemon = 1", "daemon", "must be a table"),
        ("[buffers]\nbytes = '1 MB'", "buffers.bytes", 'must be a number of octets, or text such as "64 MiB"'),
        ("[buffers]\nbytes = '1 KiB'", "buffers.bytes", "must be from 65536 to"),
        ("[buffers]\nbms = 'lru'", "buffers.bms", "must be one of srp, frp"),
        ("[buffers]\nibuf_bytes = '1 MiB'\nibuf_bytes_max = '64 KiB'", "buffers.ibuf_bytes", "more than"),
        ("[limits]\nsnap_len = 0", "limits.snap_len", "must be from 1 to 262144"),
        ("group = 1", "group", "write [group.NAME]"),
        ("[group.staff]\nbytes = 1", "group.staff.bytes", "no such key; there are bms, stall_ms"),
        ("[source]\neth0 = 1", "source.eth0", "must be a table"),
        ("[allow]\nusers = ['x']", "allow", "write [[allow]]"),
        ("[[allow]]\nusers = 'x'", "allow[0].users", "must be a list of texts"),
        ("[[allow]]\nusers=['x']\n[[allow]]\nsources = ['eth0']", "allow[1]", "needs users or groups"),
        ("[[allow]]\nusers=['x']\npromisc = 1", "allow[0].promisc", "must be true or false"),
        ("[metrics]\nlisten = '0.0.0.0:9750'", "metrics.listen", "loopback only"),
        ("[metrics]\nlisten = '127.0.0.1:65536'", "metrics.listen", "expected HOST:PORT"),
        ("[source.x]\nfile = 'a.pcap'", "source.x.file", "must be an absolute path"),
        ("[source.x]\nfile = '/a'\nrate = '1 mile'", "source.x.rate", 'must be text such as "1x"'),
        ("[source.x]\nfile = '/a'\nrate = '0 pps'", "source.x.rate", 'must be text such as "1x"'),
        ("[source.x]\nfile = '/a'\nloops = 0", "source.x.loops", 'must be a whole number of at least 1, or "forever"'),
        ("[source.x]\nfile = '/a'\ntimes = 'then'", "source.x.times", 'must be "recorded" or "now"'),
        ("[source.x]\nfile = '/a'\nreaders = 0", "source.x.readers", "must be from 1 to 512"),
        ("[fpl2]\ntrust = 'keys'", "fpl2.trust", "must be an absolute path"),
        ("[fpl2]\nrequire_signed = 1", "fpl2.require_signed", "must be true or false"),
        ("[fpl2]\nsteps = 1000001", "fpl2.steps", "must be from 1 to 1000000"),
        ("[fpl2]\nkeys = 1", "fpl2.keys", "no such key; there are trust, records, require_signed"),
        ("[daemon]\nholder = 'paper'", "daemon.holder", "must be one of auto, systemd, process, none"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_key(tmp_path: Path, text: str, key: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path}/ffpfd.toml: {key}: ")
    assert words in str(error.value)
    with pytest.raises(ConfigError) as error:
        load(tmp_path, "", part=text)
    assert f"/conf.d/part.toml: {key}: " in str(error.value) or key == "buffers.ibuf_bytes"


def test_a_savefile_is_replayed_as_its_table_says(tmp_path: Path) -> None:
    read = load(
        tmp_path,
        '[source.a]\nfile = "/a.pcap"\n'
        '[source.b]\nfile = "/b"\nrate = "2.5 Mbit/s"\nloops = "forever"\ntimes = "now"\nlossless = true\nreaders = 3\n'
        '[source.c]\nfile = "/c"\nrate = "20000 pps"\nloops = 2\npatience_ms = 5\n[source.eth0]\nbytes = 65536',
    )
    assert read.replays() == {
        "a": Replay(Path("/a.pcap"), Rate("recorded", 1.0), 1, "recorded", False, 1000, 1),
        "b": Replay(Path("/b"), Rate("bits", 2.5e6), FOREVER, "now", True, 1000, 3),
        "c": Replay(Path("/c"), Rate("packets", 20000.0), 2, "recorded", False, 5, 1),
    }
    with pytest.raises(ConfigError, match=r"source\.eth0\.rate: only for a savefile"):
        load(tmp_path, '[source.eth0]\nrate = "full"')


def test_boards(tmp_path: Path) -> None:
    read = load(
        tmp_path,
        '[source.ixp0]\nboard = "ixp0"\n[source.two]\nboard = "/a/b"\nlossless = true\npatience_ms = 5\nreaders = 2',
    )
    assert read.boards() == {"ixp0": Board("ixp0"), "two": Board("/a/b", True, 5, 2)}
    assert not read.replays()
    for text, words in (
        ('board = "x"\nrate = "full"', r"source\.a\.rate: only for a savefile"),
        ('board = "x"\nfile = "/x"', r"source\.a\.board: it is a savefile already"),
        ("readers = 2", r"source\.a\.readers: only for a savefile or a board"),
        ('board = ""', r"source\.a\.board: must be a board's name"),
    ):
        with pytest.raises(ConfigError, match=words):
            load(tmp_path, f"[source.a]\n{text}")


@pytest.mark.parametrize("octets", [b"[daemon", b"\xff", b"[a]\n[a]"])
def test_what_is_no_toml_is_an_error_with_the_file(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "ffpfd.toml").write_bytes(octets)
    with pytest.raises(ConfigError, match=f"^{tmp_path}/ffpfd.toml: "):
        config.load(tmp_path / "ffpfd.toml")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        config.load(tmp_path / "none.toml")
