"""An upload is a stream of small parts, and what arrives is what was sent."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner
from mlapi.training.v1 import dataset_pb2
from mlapi_client import Client, DataLoss, InvalidArgument
from mlapi_client.cli import main
from mlapi_client.uploads import PART_BYTES, new_dataset_id

from tests.unit.client.fake_api import FakeApi, status


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two whole parts and a bit."""
    path = tmp_path / "some table.csv"
    path.write_bytes(b"0123456789abcde\n" * (2 * PART_BYTES // 16) + b"end")
    return path


def test_sends_parts_in_order(api: FakeApi, client: Client, file: Path) -> None:
    dataset = client.datasets.upload(file, "table")
    parts = api.calls["UploadDataset"]
    assert [len(part.content.data) for part in parts] == [PART_BYTES, PART_BYTES, 3]
    assert [part.dataset_id for part in parts] == ["table", "", ""]
    assert parts[0].content.content_type == "text/csv"
    assert dataset.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_tells_progress(client: Client, file: Path) -> None:
    seen: list[tuple[int, int]] = []
    client.datasets.upload(file, progress=lambda sent, total: seen.append((sent, total)))
    size = file.stat().st_size
    assert seen == [(PART_BYTES, size), (2 * PART_BYTES, size), (size, size)]


def test_an_empty_file_is_sent_too(api: FakeApi, client: Client, tmp_path: Path) -> None:
    (tmp_path / "empty.parquet").touch()
    client.datasets.upload(tmp_path / "empty.parquet", "empty")
    (part,) = api.calls["UploadDataset"]
    assert (part.dataset_id, part.content.content_type) == ("empty", "application/vnd.apache.parquet")


def test_refuses_an_answer_with_another_hash(api: FakeApi, client: Client, file: Path) -> None:
    api.stored_sha256 = "0" * 64
    with pytest.raises(DataLoss, match="SHA256_MISMATCH"):
        client.datasets.upload(file)


def test_a_refusal_in_the_middle_is_told_and_not_repeated(api: FakeApi, client: Client, file: Path) -> None:
    api.failures["UploadDataset"] = [status("INVALID_ARGUMENT", "INVALID_CONTENT", metadata={"row": "7"})]
    with pytest.raises(InvalidArgument) as caught:
        client.datasets.upload(file)
    assert (caught.value.reason, caught.value.metadata) == ("INVALID_CONTENT", {"row": "7"})
    assert sum(bool(part.dataset_id) for part in api.calls["UploadDataset"]) == 1


def test_tells_what_is_wrong_with_the_file(client: Client, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.datasets.upload(tmp_path / "missing.csv")


def test_new_ids_are_readable_and_never_the_same() -> None:
    first, second = (new_dataset_id(Path("/x/_My täble (1).csv")) for _ in range(2))
    assert first.startswith("My-t-ble-1-")
    assert first != second


def test_how_to_read_is_said_in_the_first_part(api: FakeApi, client: Client, file: Path) -> None:
    client.datasets.upload(file, "table", column_types={"x": "FLOAT"}, null_values=["-", ""])
    first, *rest = api.calls["UploadDataset"]
    assert (first.column_types, first.null_values) == ({"x": dataset_pb2.Column.FLOAT}, ["-", ""])
    assert not any(part.column_types or part.null_values for part in rest)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], ({}, [], "text/csv")),
        (["--type", "a=b=float", "--type", "x=TEXT"], ({"a=b": "FLOAT", "x": "TEXT"}, [], "text/csv")),
        (["--null", "-", "--null", "n/a"], ({}, ["-", "n/a"], "text/csv")),
        (["--type", "text/plain"], ({}, [], "text/plain")),  # its first meaning
        (["--content-type", "text/plain"], ({}, [], "text/plain")),
    ],
)
def test_the_command_says_how_to_read(api: FakeApi, file: Path, options: list[str], said: object) -> None:
    arguments = ["--address", api.address, "datasets", "upload", str(file), "--json", *options]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.stderr
    first = api.calls["UploadDataset"][0]
    types = {name: dataset_pb2.Column.Type.Name(number) for name, number in first.column_types.items()}
    assert (types, list(first.null_values), first.content.content_type) == said


@pytest.mark.parametrize("option", ["x=NUMBER", "x", "=", ""])
def test_the_command_refuses_what_is_no_type(api: FakeApi, file: Path, option: str) -> None:
    result = CliRunner().invoke(
        main, ["--address", api.address, "datasets", "upload", str(file), "--type", option]
    )
    assert (result.exit_code, "COLUMN=TYPE" in result.stderr) == (2, True)
