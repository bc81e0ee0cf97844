# SPDX-License-Identifier: BSD-3-Clause
"""The class FPL-2 with signed records: loaded from files by the policy of the process, refused when anything is off."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyffpf._core import ffi, lib

from fpl.fpl2 import record
from fpl.fpl2.check import Policy
from fpl.fpl2.compile import check, compile_native
from fpl.fpl2.externals import External
from fpl.fpl2.keys import Secret, Trusted, TrustStore
from graph.test_fpl2 import COUNT, FPLC, Graph, frame

SECRET = Secret.generate()


def signed(
    text: str = COUNT,
    *,
    mbuf: int = 256,
    secret: Secret | None = SECRET,
    links: tuple[str, ...] = ("ethernet",),
    externals: tuple[External, ...] = (),
) -> bytes:
    """For this processor and aarch64; secret None: sealed by a digest."""
    checked = [check(text, mbuf_bytes=mbuf, link=link, policy=Policy(externals=externals)) for link in links]
    parts = [(each, compile_native(each, target)) for each in checked for target in record.MACHINES]
    return record.write(parts, externals, secret.signer() if secret else None)


@pytest.fixture
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrustStore:
    """The directory that this process trusts; SECRET's public key is in it."""
    store = TrustStore(tmp_path / "trust")
    store.add(Trusted(SECRET.public))
    monkeypatch.setenv("FFPF_TRUST", str(store.directory))
    return store


@pytest.fixture
def instantiate(trust: TrustStore, tmp_path: Path) -> Iterator[Callable[..., Graph]]:
    """A graph with one FPL-2 node of a record in a file."""
    made: list[Graph] = []

    def make(octets: bytes, mbuf: str = "") -> Graph:
        path = tmp_path / "filter.fplo"
        path.write_bytes(octets)
        graph = Graph(f'(device,hook:test) -> (FPL-2,"file:{path}"{mbuf}) -> (packetcount)')
        made.append(graph)
        return graph

    yield make
    for graph in made:
        graph.close()


def arguments(graph: Graph) -> str:
    """Of the FPL-2 node, in the one form that equal nodes have."""
    found, error = ffi.new("struct ffpf_engine_instance *"), ffi.new("struct ffpf_error *")
    for index in range(lib.ffpf_engine_instance_count(graph.engine)):
        assert lib.ffpf_engine_instance_at(graph.engine, index, found, error) == 0
        if ffi.string(getattr(found, "class")) == b"FPL-2":
            return bytes(ffi.string(found.arguments)).decode()
    raise AssertionError("no FPL-2 node")


def refused(graph: Graph, words: str) -> None:
    assert graph.instantiate() < 0
    assert words in graph.words()
    assert "filter.fplo" in graph.words()


def test_a_record_filters_and_counts_without_a_compiler(
    instantiate: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FFPF_FPLC", "/nowhere")
    monkeypatch.setenv("FFPF_REQUIRE_SIGNED", "1")
    graph = instantiate(signed())
    graph.activate()
    graph.hand_over(frame(80), frame(81), frame(80)[:30], frame(80))
    assert graph.counters(1) == (4, 2)
    assert struct.unpack_from("64I", graph.mbuf(1))[16] == 2  # the MBuf that the record was made for


def test_programs_that_are_no_records_where_those_are_asked_for(
    trust: TrustStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FFPF_FPLC", str(FPLC))
    graph = Graph('(device,hook:test) -> (FPL-2,"RETURN 1;")')
    monkeypatch.setenv("FFPF_REQUIRE_SIGNED", "1")
    assert graph.instantiate() < 0
    assert "must be signed records here" in graph.words()
    monkeypatch.setenv("FFPF_REQUIRE_SIGNED", "0")
    assert graph.instantiate() == 0, graph.words()
    graph.close()


def test_a_file_that_was_replaced_is_another_filter(instantiate: Callable[..., Graph]) -> None:
    texts = []
    for result in (1, 2):
        graph = instantiate(signed(f"RETURN {result};", mbuf=0))
        assert graph.instantiate() == 0, graph.words()
        texts.append(arguments(graph))
    assert texts[0] != texts[1]


@pytest.mark.parametrize(
    ("octets", "mbuf", "words"),
    [
        (signed(secret=None), "", "it is not signed"),
        (signed(secret=Secret.generate()), "", "its key is not trusted: there is no"),
        (signed(), ",512", "this record was made for an MBuf of 256 octets, not 512"),
        (signed(), ",128", "this record was made for an MBuf of 256 octets, not 128"),
        (signed()[:-1], "", "it is not as long as it says"),
        (b"", "", "a file of 1 to"),
        (COUNT.encode(), "", "it does not begin as one"),
    ],
)
def test_records_that_are_refused(octets: bytes, mbuf: str, words: str, instantiate: Callable[..., Graph]) -> None:
    graph = instantiate(octets, mbuf)
    assert graph.instantiate() < 0
    assert words in graph.words()


def test_what_the_record_has_no_code_for(instantiate: Callable[..., Graph]) -> None:
    graph = instantiate(signed(links=("raw",)))
    assert graph.instantiate() < 0
    assert "no code for this processor and packets of link type 1" in graph.words()
    graph = instantiate(signed("RETURN EXTERN(Unheard, 0, 0);", externals=(External("Unheard", 4, 0),)))
    assert graph.instantiate() < 0
    assert "no external function Unheard" in graph.words()


def test_trust_that_ends(trust: TrustStore, instantiate: Callable[..., Graph]) -> None:
    graph = instantiate(signed())
    assert graph.instantiate() == 0, graph.words()
    trust.add(Trusted(SECRET.public, datetime(2026, 1, 1, tzinfo=UTC)))
    refused(instantiate(signed()), "its key is trusted no more: see not-after in")
    trust.remove(SECRET.id)
    refused(instantiate(signed()), "its key is not trusted")


class Checking:
    """Octets, judged as before they would be mapped."""

    def __init__(self, folder: Path) -> None:
        store = TrustStore(folder)
        store.add(Trusted(SECRET.public))
        self._kept = ffi.new("char[]", str(folder).encode())
        self._policy = ffi.new("struct ffpf_fplo_policy *")
        lib.ffpf_fplo_policy_of_environment(self._policy)
        self._policy.trust = self._kept

    def is_good(self, octets: bytes) -> bool:
        parsed, error = ffi.new("struct ffpf_fplo *"), ffi.new("struct ffpf_error *")
        status = lib.ffpf_fplo_check(parsed, ffi.from_buffer(octets), len(octets), True, self._policy, error)
        assert (status == 0) == (not ffi.string(error.text))
        return bool(status == 0)


RECORD = signed("RETURN LEN > 100;", mbuf=0, links=("ethernet", "raw"))


def test_every_octet_and_every_length_counts(tmp_path: Path) -> None:
    checking = Checking(tmp_path)
    assert checking.is_good(RECORD)
    for at in range(len(RECORD)):
        for other in (RECORD[at] ^ 1, RECORD[at] ^ 0x80, RECORD[at] ^ 0xFF):
            assert not checking.is_good(RECORD[:at] + bytes([other]) + RECORD[at + 1 :]), at
        assert not checking.is_good(RECORD[:at]), at
    for behind in (b"\0", bytes(16), bytes(64), RECORD):
        assert not checking.is_good(RECORD + behind)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(RECORD) - 1), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, len(RECORD)),
)
def test_changes_at_random(tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: int) -> None:
    octets = bytearray(RECORD)
    for at, value in changes:
        octets[at] = value
    octets = octets[: len(octets) - cut % 4]
    checking = Checking(tmp_path_factory.getbasetemp() / "trust-of-changes")
    assert checking.is_good(bytes(octets)) == (bytes(octets) == RECORD)
