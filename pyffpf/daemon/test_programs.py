# SPDX-License-Identifier: BSD-3-Clause
"""What the administrator asks of programs in FPL-2."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fpl.fpl2 import check, record
from fpl.fpl2.compile import compile_native
from fpl.fpl2.keys import Secret, Trusted, TrustStore
from fpl.graph.node import Callee, Node
from pyffpf.cli.control import ControlError
from pyffpf.daemon.config import Config, Fpl2Config
from pyffpf.daemon.policy import Policy
from pyffpf.daemon.protocol import Code, RefusedError
from pyffpf.daemon.testing import running

SECRET = Secret.generate()
LOOP = "FOR (R[1] = 0; R[1] < 9; R[1]++) ROF RETURN 1;"
DEVICE = Node("device", "eth0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a directory `trust`, and in `records` one that is trusted and one that nobody is known to have signed."""
    TrustStore(tmp_path / "trust").add(Trusted(SECRET.public))
    (tmp_path / "records").mkdir()
    checked = check(LOOP)
    for name, secret in (("good", SECRET), ("stranger", Secret.generate())):
        octets = record.write([(checked, compile_native(checked))], (), secret.signer())
        (tmp_path / "records" / f"{name}.fplo").write_bytes(octets)
    return tmp_path


def config(folder: Path, *, require_signed: bool = True, rounds: int = 9, mbuf: int = 64) -> Fpl2Config:
    return Fpl2Config(folder / "trust", folder / "records", require_signed, rounds=rounds, mbuf=mbuf)


def refusal(
    asked: Fpl2Config, argument: str, mbuf: int | None = None, kind: str = "FPL-2", calls: tuple[Callee, ...] = ()
) -> str:
    """ "": it is allowed."""
    try:
        Policy(Config(fpl2=asked)).check_programs([DEVICE, Node(kind, argument, (0,), mbuf, calls=calls)])
    except RefusedError as refused:
        assert refused.code is Code.DENIED
        return refused.text
    return ""


def test_records_must_be_signed_and_lie_where_they_should(folder: Path) -> None:
    good = f"file:{folder}/records/good.fplo"
    assert refusal(config(folder), good) == ""
    assert refusal(config(folder), LOOP).endswith(f'must be signed records in {folder}/records: (FPL-2,"file:PATH")')
    assert "its key is not trusted" in refusal(config(folder), f"file:{folder}/records/stranger.fplo")
    assert f"records must be in {folder}/records" in refusal(config(folder), "file:/etc/passwd")
    assert f"records must be in {folder}/records" in refusal(config(folder), f"file:{folder}/records/../trust/x.fplo")
    assert "No such file" in refusal(config(folder), f"file:{folder}/records/none.fplo")
    assert "it declares 9 rounds of loops, and 8 are allowed" in refusal(config(folder, rounds=8), good)
    changed = folder / "records" / "good.fplo"
    octets = changed.read_bytes()
    changed.write_bytes(octets[:-1] + bytes([octets[-1] ^ 1]))
    assert "it was changed, or forged" in refusal(config(folder, require_signed=False), good)


def test_where_programs_must_be_signed_there_is_no_fpl_1(folder: Path) -> None:
    assert refusal(config(folder), "ret 1", kind="FPL-1").endswith("those in FPL-1 are not")
    assert refusal(config(folder, require_signed=False), "ret 1", kind="FPL-1") == ""


def test_texts_have_limits(folder: Path) -> None:
    assert refusal(config(folder, require_signed=False), LOOP, 64) == ""
    assert "octets, and 64 are allowed" in refusal(config(folder, require_signed=False), LOOP, 128)
    said = refusal(config(folder, require_signed=False, rounds=8), LOOP)
    assert said.endswith("it may take 9 rounds of loops, and 8 are allowed")
    said = refusal(config(folder, require_signed=False, rounds=8), "EXTERN(drop,0,0); " + LOOP)
    assert said.endswith("it may take 9 rounds of loops, and 8 are allowed")  # also of those that call functions
    assert refusal(config(folder, require_signed=False), f"file:{folder}/other.fplo") == ""  # the tool's to load


def test_programs_that_are_called_have_the_same_limits(folder: Path) -> None:
    allowed = config(folder, require_signed=False, rounds=8)
    called = Callee("a", "FPL-2", LOOP)
    assert "a: it may take 9 rounds of loops" in refusal(allowed, "EXTERN(a,0,0);", calls=(called,))
    signed = Callee("a", "FPL-2", f"file:{folder}/records/good.fplo")
    good = f"file:{folder}/records/good.fplo"
    assert refusal(config(folder), good, calls=(signed,)) == ""
    assert "a: programs in FPL-2 must be signed" in refusal(config(folder), good, calls=(called,))
    assert "those in FPL-1 are not" in refusal(config(folder), good, calls=(Callee("a", "FPL-1", "ret 1"),))
    costly = replace(config(folder, require_signed=False), steps=60)
    assert "octets, and 64 are allowed" in refusal(costly, "EXTERN(a,0,0);", 128, calls=(Callee("a", "BPF", "tcp"),))
    said = refusal(costly, "EXTERN(a,0,0);", calls=(Callee("a", "BPF", "tcp"),))
    assert said.endswith("it may take 104 steps, and 60 are allowed")  # 100 of the class


def test_a_graph_with_such_a_program_is_refused(folder: Path) -> None:
    with running(folder, Config(fpl2=config(folder))) as server, server.connect() as tool:
        flow = tool.do("flow", source="eth0")["flow"]
        device, program = {"class": "device", "argument": "eth0"}, {"class": "FPL-2", "inputs": [0]}
        with pytest.raises(ControlError, match="must be signed records"):
            tool.do("graph", flow=flow, nodes=[device, program | {"argument": LOOP}])
        good = {"argument": f"file:{folder}/records/good.fplo"}
        with tool.do("graph", flow=flow, nodes=[device, program | good]) as made:
            assert made["state"] == "paused"
