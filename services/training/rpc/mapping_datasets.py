"""Datasets and uploads, between protobuf messages and the domain; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlapi.training.v1 import dataset_pb2, upload_pb2

from services.chassis.errors import invalid_fields
from services.training.domain.dataset import (
    ColumnProfile,
    ColumnType,
    Content,
    Dataset,
    ProfiledColumn,
    Reading,
    Version,
)
from services.training.domain.upload import Upload
from services.training.rpc.mapping import timestamp


def dataset(item: Dataset, columns: bool = True) -> dataset_pb2.Dataset:
    """A dataset on the wire."""
    message = dataset_pb2.Dataset(
        dataset_id=item.dataset_id,
        display_name=item.display_name,
        state=dataset_pb2.Dataset.READY if item.content else dataset_pb2.Dataset.EMPTY,
        create_time=timestamp(item.create_time),
        update_time=timestamp(item.update_time),
        version=item.version,
    )
    if item.content:
        message.columns.extend(_column(column) for column in item.content.columns if columns)
        _describe(message, item.content)
    return message


def version(item: Version) -> dataset_pb2.DatasetVersion:
    """A version of a dataset on the wire."""
    message = dataset_pb2.DatasetVersion(
        dataset_id=item.dataset_id, version=item.version, create_time=timestamp(item.create_time)
    )
    _describe(message, item.content)
    return message


def _describe(message: dataset_pb2.Dataset | dataset_pb2.DatasetVersion, content: Content) -> None:
    message.row_count = content.row_count
    message.byte_count = content.byte_count
    message.sha256 = content.sha256
    message.content_type = content.media_type


def _column(item: ProfiledColumn) -> dataset_pb2.Column:
    kind = dataset_pb2.Column.Type.Value(item.column.type)
    return dataset_pb2.Column(name=item.column.name, type=kind, profile=_profile(item.profile))


def _profile(item: ColumnProfile) -> dataset_pb2.ColumnProfile:
    return dataset_pb2.ColumnProfile(
        null_count=item.null_count,
        distinct_count=item.distinct_count,
        minimum=item.minimum,
        maximum=item.maximum,
        mean=item.mean,
        standard_deviation=item.standard_deviation,
        top_values=[dataset_pb2.ValueCount(value=value, count=count) for value, count in item.top_values],
    )


def reading(
    content_type: str,
    column_types: Mapping[str, dataset_pb2.Column.Type.ValueType],
    null_values: Iterable[str],
) -> Reading:
    """How a caller wants bytes to be read; raises InvalidArgument for a number that is no type."""
    types = {name: _type(name, number) for name, number in column_types.items()}
    # Sorted: a map has no order, and the reading of a repeated request has to be the same.
    return Reading(content_type, column_types=tuple(sorted(types.items())), null_values=tuple(null_values))


def _type(name: str, number: dataset_pb2.Column.Type.ValueType) -> ColumnType:
    if not number or number not in dataset_pb2.Column.Type.values():
        raise invalid_fields({f"column_types.{name}": f"{number} is no type"})
    return ColumnType(dataset_pb2.Column.Type.Name(number))


def upload(item: Upload) -> upload_pb2.Upload:
    """An upload on the wire."""
    reading = item.reading
    return upload_pb2.Upload(
        upload_id=item.upload_id,
        dataset_id=item.dataset_id,
        content_type=reading.media_type,
        column_types={name: dataset_pb2.Column.Type.Value(kind) for name, kind in reading.column_types},
        null_values=reading.null_values,
        byte_count=item.byte_count,
        committed_bytes=item.committed,
        create_time=timestamp(item.create_time),
        update_time=timestamp(item.update_time),
        expire_time=timestamp(item.expire_time),
    )
