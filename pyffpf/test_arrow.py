# SPDX-License-Identifier: BSD-3-Clause
"""Captures as Arrow tables, by every consumer that we know: the same rows as the batches have."""

from __future__ import annotations

import gc
import io
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas
import polars
import pyarrow
import pytest

import pyffpf
from compat_tests.capture_files import PcapFormat, Record
from compat_tests.capture_imix import write_imix

FIELDS = ("ip.src", "tcp.dport", "ip6.src", "ip.ttl", "eth.src")


@pytest.fixture(scope="module")
def imix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("imix") / "imix.pcap"
    write_imix(path, 2000, seed=11)
    return path


@pytest.fixture(scope="module")
def whole(imix: Path) -> pyffpf.Batch:
    with pyffpf.open(imix) as capture:
        batch = capture.read_batch(5000)
    assert batch is not None
    return batch


def table(imix: Path, *fields: str, **options: Any) -> pyarrow.Table:
    with pyffpf.open(imix) as capture:
        return pyarrow.table(capture.arrow(*fields, **options))


@pytest.mark.parametrize("size", [1, 7, 64, 65536])
def test_pyarrow_reads_rows_fields_and_octets(imix: Path, whole: pyffpf.Batch, size: int) -> None:
    found = table(imix, *FIELDS, data=True, size=size)
    found.validate(full=True)
    assert found.num_rows == len(whole)
    assert np.array_equal(found["ts"].cast(pyarrow.int64()).to_numpy(), whole["ts_ns"])
    for name in ("caplen", "len", "result", "ifindex"):
        assert np.array_equal(found[name].to_numpy(), whole[name])
    assert found["vlan"].null_count == len(whole)
    assert found["data"].to_pylist() == [packet.data for packet in whole]
    fields = whole.fields(*FIELDS)
    for name in FIELDS:
        values = found[name].to_pylist()
        column = fields[name]
        wide = column.ndim > 1
        rows = [None if np.any(np.ma.getmaskarray(row)) else bytes(row.data) if wide else int(row) for row in column]
        assert values == rows, name


def test_a_capture_is_a_table(imix: Path, whole: pyffpf.Batch) -> None:
    with pyffpf.open(imix, "udp") as capture:
        found = pyarrow.table(capture)
    assert found.column_names == ["ts", "caplen", "len", "result", "ifindex", "vlan", "data"]
    assert 0 < found.num_rows < len(whole)


def test_polars_duckdb_and_pandas_read_the_same(imix: Path, whole: pyffpf.Batch) -> None:
    expected = int(whole["len"].sum())
    with pyffpf.open(imix) as capture:
        assert polars.DataFrame(capture.arrow("ip.src"))["len"].sum() == expected
    with pyffpf.open(imix) as capture:
        stream = capture.arrow("tcp.dport")
        relation = duckdb.sql('select count(*), sum(len), count("tcp.dport") from stream')
        assert relation is not None
        row = relation.fetchall()[0]
        del stream
    assert row == (len(whole), expected, whole.fields("tcp.dport")["tcp.dport"].count())
    with pyffpf.open(imix) as capture:
        assert int(pandas.DataFrame.from_arrow(capture.arrow("ip.src"))["len"].sum()) == expected


def test_batches_outlive_stream_and_capture(imix: Path, whole: pyffpf.Batch) -> None:
    with pyffpf.open(imix) as capture:
        reader = pyarrow.RecordBatchReader.from_stream(capture.arrow("ip.ttl", size=100))
        first = reader.read_next_batch()
        column = first.column("ip.ttl")
        del first
    with pytest.raises(OSError, match="closed"):
        reader.read_next_batch()
    del reader, capture
    gc.collect()
    assert column.to_pylist() == whole.fields("ip.ttl")["ip.ttl"][:100].tolist()


def test_a_stream_that_nobody_reads_is_freed(imix: Path) -> None:
    with pyffpf.open(imix) as capture:
        capsule = capture.arrow("ip.src").__arrow_c_stream__()
        assert "arrow_array_stream" in repr(capsule)
        del capsule
        gc.collect()
        assert capture.count().packets == 2000
    with pytest.raises(pyffpf.Closed):
        capture.arrow().__arrow_c_stream__()


def test_a_file_that_breaks_off_is_an_error_behind_its_packets() -> None:
    octets = PcapFormat().file([Record(b"x" * 60)] * 5)[:-3]
    with pyffpf.open(io.BytesIO(octets)) as capture:
        reader = pyarrow.RecordBatchReader.from_stream(capture.arrow())
        assert reader.read_next_batch().num_rows == 4
        with pytest.raises(OSError, match="truncated"):
            reader.read_next_batch()


def test_that_error_reaches_who_reads_all_at_once() -> None:
    """The capsule goes while the error is on its way: it must not take it along."""
    octets = PcapFormat().file([Record(b"x" * 60)] * 5)[:-3]
    for read in (pyarrow.table, pandas.DataFrame.from_arrow, polars.DataFrame):
        with pyffpf.open(io.BytesIO(octets)) as capture, pytest.raises(Exception, match="truncated") as caught:
            read(capture.arrow("ip.src"))
        assert not isinstance(caught.value, SystemError)


def test_a_packet_larger_than_the_octets_of_a_batch() -> None:
    packets = [b"small", bytes(range(256)) * 2000, b"", b"small"]
    with pyffpf.open(PcapFormat(snap_len=0, link_type=231).file([Record(p) for p in packets])) as capture:
        found = pyarrow.table(capture.arrow(data=True, size=2))
    found.validate(full=True)
    assert found["data"].to_pylist() == packets
