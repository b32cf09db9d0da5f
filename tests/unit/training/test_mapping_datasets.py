"""Datasets and uploads, to messages and back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mlapi.training.v1 import dataset_pb2, upload_service_pb2

from services.chassis.errors import InvalidArgument
from services.training.domain.dataset import ColumnType, Reading, Version
from services.training.domain.upload import Upload
from services.training.rpc import mapping_datasets as mapping
from tests.unit.training.samples import LATER, NOW, content, dataset


def test_a_dataset_on_the_wire() -> None:
    assert mapping.dataset(dataset()).state == dataset_pb2.Dataset.EMPTY
    full = mapping.dataset(replace(dataset(held=content("a1")), version=7))
    assert (full.state, full.sha256, full.row_count) == (dataset_pb2.Dataset.READY, "a1", 100)
    assert full.version == 7
    assert [column.name for column in full.columns] == ["x", "y", "kind"]
    assert full.columns[2].type == dataset_pb2.Column.TEXT
    assert full.columns[0].profile.top_values[0].value == "é ☃"
    assert not mapping.dataset(dataset(held=content("a1")), columns=False).columns


def test_a_version_on_the_wire() -> None:
    shown = mapping.version(Version("table", 3, content("a1"), NOW))
    assert (shown.dataset_id, shown.version, shown.sha256) == ("table", 3, "a1")
    assert (shown.row_count, shown.byte_count, shown.content_type) == (100, 1234, "text/csv")
    assert shown.create_time.ToDatetime(NOW.tzinfo) == NOW


def test_an_upload_on_the_wire_says_what_was_asked_for() -> None:
    asked = upload_service_pb2.CreateUploadRequest(
        content_type="text/csv",
        column_types={"größe": dataset_pb2.Column.FLOAT, "a": dataset_pb2.Column.TEXT},
        null_values=["", "-"],
    )
    reading = mapping.reading(asked.content_type, asked.column_types, asked.null_values)
    types = (("a", ColumnType.TEXT), ("größe", ColumnType.FLOAT))
    assert reading == Reading("text/csv", column_types=types, null_values=("", "-"))
    shown = mapping.upload(Upload("u1", "table", reading, NOW, NOW, LATER, committed=5, byte_count=9))
    assert (shown.content_type, shown.column_types, shown.null_values) == (
        asked.content_type,
        asked.column_types,
        asked.null_values,
    )
    assert (shown.upload_id, shown.dataset_id) == ("u1", "table")
    assert (shown.committed_bytes, shown.byte_count) == (5, 9)
    assert shown.expire_time.ToDatetime(LATER.tzinfo) == LATER


@pytest.mark.parametrize("number", [0, 99])
def test_a_number_that_is_no_type_is_refused_by_name(number: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        mapping.reading("", {"größe": number}, [])  # type: ignore[dict-item]
    assert [violation.field for violation in caught.value.violations] == ["column_types.größe"]
