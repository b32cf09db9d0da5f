from __future__ import annotations

import datetime as dt
import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from services.training.adapters.ingest import FileIngest
from services.training.domain.dataset import Reading
from tests.unit.ingest import written

TABLE = pa.table(
    {
        "i": pa.array([1, None, *range(100)], pa.int64()),
        "f": [0.5, None, *np.linspace(-1, 1, 100)],
        "b": [True, None, *[False] * 100],
        "s": ["é, 1", None, *["x"] * 100],
        "t": [dt.datetime(2020, 1, 1, 12, 30, 15, 250), None, *[dt.datetime(1969, 12, 31, 23)] * 100],
    }
)
NUMBERS = np.arange(12.0).reshape(4, 3)
CSV, TSV = "text/csv", "text/tab-separated-values"
PARQUET = "application/vnd.apache.parquet"
ARROW_FILE, ARROW_STREAM = "application/vnd.apache.arrow.file", "application/vnd.apache.arrow.stream"
NPY, NPZ = "application/x-npy", "application/x-npz"
FILES = {
    CSV: written.csv(TABLE),
    TSV: written.tsv(TABLE),
    PARQUET: written.parquet(TABLE),
    ARROW_FILE: written.arrow_file(TABLE),
    ARROW_STREAM: written.arrow_stream(TABLE),
    NPY: written.npy(NUMBERS),
    NPZ: written.npz({"X": NUMBERS, "y": np.arange(4)}),
}
TABLES = [media_type for media_type in FILES if media_type not in (NPY, NPZ)]


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
@pytest.mark.parametrize(
    "said", ["", "application/octet-stream", "application/x-www-form-urlencoded", "text/plain"]
)
@pytest.mark.parametrize("media_type", FILES)
def test_format_and_compression_are_found_out(
    tmp_path: Path, media_type: str, said: str, compression: str
) -> None:
    source = tmp_path / "source"
    source.write_bytes(written.PACKED.get(compression, bytes)(FILES[media_type]))
    assert FileIngest().recognise(source, Reading(said)) == Reading(media_type, compression)


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
@pytest.mark.parametrize("media_type", TABLES)
def test_a_table_reads_back_from_every_format(
    ingested, stored, arrow: Path, media_type: str, compression: str
) -> None:
    data = written.PACKED.get(compression, bytes)(FILES[media_type])
    content = ingested(data, Reading(media_type), 1 << 16)
    assert stored().equals(TABLE.cast(stored().schema))
    reading = Reading(media_type, compression)
    assert (content.media_type, content.byte_count) == (media_type, len(data))
    assert content.content_id == reading.content_id("of the source")
    assert [path.name for path in arrow.parent.iterdir()] == [arrow.name]


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
@pytest.mark.parametrize("write", [written.arrow_file, written.arrow_stream])
def test_arrow_with_packed_buffers_and_dictionaries(ingested, stored, write, codec: str) -> None:
    table = TABLE.set_column(3, "s", TABLE["s"].dictionary_encode())
    ingested(write(table, compression=codec), "")
    assert stored().equals(TABLE.cast(stored().schema))


def test_one_large_arrow_batch_is_read_in_pieces(ingested, stored) -> None:
    table = pa.table({"a": np.arange(2_000_000)})
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    assert ingested(out.getvalue().to_pybytes(), "").row_count == 2_000_000
    assert stored()["a"].num_chunks > 1
    assert stored().equals(table)


def test_members_of_a_gzip_file_are_all_read(values) -> None:
    data = gzip.compress(b"a\n1\n") + gzip.compress(b"2\n") + gzip.compress(b"") + gzip.compress(b"3\n")
    assert values(data) == [1, 2, 3]


def test_a_packed_file_is_read_twice_when_a_type_changes(values) -> None:
    assert values(gzip.compress(b"a\n" + b"1\n" * 2000 + b"x\n"))[-2:] == ["1", "x"]


@pytest.mark.parametrize(
    ("data", "media_type"),
    [(b"a\tb\n1\t2\n", TSV), (b"a\tb,c\n1\t2,3\n", CSV), (b"a\n1\t2\n", CSV), (b"\n\na\tb\n1\t2\n", TSV)],
)
def test_tabs_make_tsv_unless_there_are_commas(ingested, data: bytes, media_type: str) -> None:
    assert ingested(data, "text/plain").media_type == media_type


def test_tsv_may_be_quoted(ingested, stored) -> None:
    ingested(b'a\tb\n"x\ty"\t1,5\n', TSV)
    assert stored().to_pydict() == {"a": ["x\ty"], "b": ["1,5"]}


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


@pytest.mark.parametrize(
    ("data", "asked", "reason"),
    [
        (FILES[PARQUET], Reading(CSV), "UNSUPPORTED_FORMAT"),
        (FILES[ARROW_FILE], Reading(TSV), "UNSUPPORTED_FORMAT"),
        (FILES[ARROW_FILE], Reading(ARROW_STREAM), "UNSUPPORTED_FORMAT"),
        (FILES[NPY], Reading(NPZ), "UNSUPPORTED_FORMAT"),
        (FILES[CSV], Reading(PARQUET), "NOT_PARQUET"),
        (FILES[CSV], Reading(ARROW_FILE), "NOT_ARROW"),
        (FILES[CSV], Reading(NPY), "NOT_NUMPY"),
        (FILES[CSV], Reading(CSV, "gzip"), "NOT_GZIP"),
        (gzip.compress(FILES[CSV]), Reading(CSV, "zstd"), "NOT_ZSTD"),
        (FILES[CSV], Reading(CSV, "br"), "UNSUPPORTED_COMPRESSION"),
        (gzip.compress(gzip.compress(FILES[CSV]), mtime=0), Reading(), "UNSUPPORTED_FORMAT"),
        (gzip.compress(PNG, mtime=0), Reading(), "UNSUPPORTED_FORMAT"),
        (gzip.compress(b"", mtime=0), Reading(PARQUET), "EMPTY_FILE"),
        (gzip.compress(b"", mtime=0), Reading(), "EMPTY_FILE"),
        (b"", Reading(ARROW_FILE), "EMPTY_FILE"),
        (written.zipped({"a.txt": b"x"}), Reading(), "UNSUPPORTED_FORMAT"),
        (b"--x\r\n", Reading("multipart/form-data; boundary=x"), "UNSUPPORTED_FORMAT"),
    ],
)
def test_what_a_file_is_said_to_be_it_must_be(refused, data: bytes, asked: Reading, reason: str) -> None:
    assert refused(data, asked).reason == reason


NESTED = pa.table({"id": [1], "odd": [[1, 2]]})


@pytest.mark.parametrize("write", [written.arrow_file, written.arrow_stream])
def test_arrow_columns_that_cannot_be_used_are_named(refused, write) -> None:
    problem = refused(write(NESTED), "")
    assert (problem.reason, problem.column) == ("UNSUPPORTED_COLUMN", "odd")
    assert refused(write(pa.table({})), "").reason == "NO_COLUMNS"
    twice = pa.Table.from_arrays([pa.array([1])] * 2, names=["a", "a"])
    assert refused(write(twice), "").reason == "DUPLICATE_COLUMN"
    assert refused(write(pa.table({"a": pa.array([], pa.int64())})), "").reason == "NO_ROWS"


def bad_offsets() -> pa.Table:
    """Text whose offsets point outside of its bytes."""
    offsets = pa.py_buffer(np.array([0, 1_000_000, 2], np.int32).tobytes())
    return pa.table({"s": pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"xy"))})


def bad_indices() -> pa.Table:
    indices = pa.array([0, 1_000_000], pa.int32())
    return pa.table({"s": pa.DictionaryArray.from_arrays(indices, pa.array(["x"]), safe=False)})


@pytest.mark.parametrize("table", [bad_offsets(), bad_indices()], ids=["offsets", "indices"])
def test_arrow_that_points_outside_of_itself_is_refused(refused, table: pa.Table) -> None:
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    assert refused(out.getvalue().to_pybytes(), "").reason == "UNREADABLE"


@pytest.mark.parametrize("media_type", [ARROW_FILE, ARROW_STREAM])
def test_arrow_that_is_cut_short(refused, media_type: str) -> None:
    whole = FILES[media_type]
    for length in (20, 200, len(whole) // 2):
        assert refused(whole[:length], media_type).reason == "UNREADABLE"


@pytest.mark.parametrize("pack", written.PACKED.values(), ids=written.PACKED)
@pytest.mark.parametrize("media_type", [CSV, PARQUET])
def test_packed_files_that_are_not_whole(refused, media_type: str, pack) -> None:
    rows = np.random.default_rng(0).integers(0, 1 << 60, 20_000)
    table = pa.table({"a": rows})
    whole = pack(written.csv(table) if media_type == CSV else written.parquet(table))
    for data in (whole[:-1], whole[: len(whole) // 2], whole + b"more"):
        assert refused(data, media_type).reason == "UNREADABLE"


def test_a_damaged_gzip_file(refused) -> None:
    # What is unpacked differs, and only the checksum at the end tells.
    whole = bytearray(gzip.compress(b"a\n" + b"1\n2\n3\n" * 10_000, compresslevel=0))
    whole[len(whole) // 2] = ord("7")
    assert refused(bytes(whole), CSV).reason == "UNREADABLE"


def test_a_file_made_to_fill_the_disk(refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.training.adapters.ingest.compression._SMALL_BYTES", 1 << 16)
    bomb = written.zstd(b"a\n" + b"1\n" * 20_000_000)
    assert refused(bomb, CSV, 1 << 20).reason == "TOO_COMPRESSED"
