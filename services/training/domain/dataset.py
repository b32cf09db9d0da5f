"""What a dataset is once its bytes have been read: columns, their types and their profiles."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.training.domain.tenants import DEFAULT_TENANT, scoped

# Whose everything is that names no other; of earlier releases too.
# Distinct values are counted exactly below this; a `distinct_count` equal to it means "that many or more".
DISTINCT_CAP = 10_000
# The most entries in `ColumnProfile.top_values`.
TOP_VALUES = 10
# Integers with more distinct values than this are quantities, not labels: they get no `top_values`.
LOW_CARDINALITY = 100
# Text longer than this, in characters, counts as a distinct value but is never listed in `top_values`.
TOP_VALUE_LENGTH = 256


class ColumnType(StrEnum):
    """The five types every file format is brought down to."""

    INTEGER = "INTEGER"
    FLOAT = "FLOAT"
    BOOLEAN = "BOOLEAN"
    TEXT = "TEXT"
    TIMESTAMP = "TIMESTAMP"

    @property
    def is_numeric(self) -> bool:
        """Whether compute sees the column as numbers; false for TEXT, which it sees as categories."""
        return self is not ColumnType.TEXT


@dataclass(frozen=True)
class Column:
    """A column of a dataset. nullable: at least one value is missing."""

    name: str
    type: ColumnType
    nullable: bool = False


@dataclass(frozen=True)
class ColumnProfile:
    """Statistics of one column over the whole file.

    count, null_count: present and missing values; together they are the row count.
    distinct_count: distinct present values, exact below DISTINCT_CAP.
    minimum, maximum, mean, standard_deviation: over the finite values, the deviation being that of a
        population (divided by n). Booleans count as 0 and 1, timestamps as seconds since the epoch. None
        for text, when no value is finite, and where the statistic itself exceeds a double.
    top_values: value as text → occurrences, most frequent first, then by text. For text, booleans and
        integers of at most LOW_CARDINALITY distinct values; empty when distinct_count is DISTINCT_CAP.
    """

    count: int
    null_count: int
    distinct_count: int
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    standard_deviation: float | None = None
    top_values: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class ProfiledColumn:
    """A column and what is known about its values."""

    column: Column
    profile: ColumnProfile


@dataclass(frozen=True)
class Reading:
    """How a file is read. What is empty is found out from the file.

    media_type: for example `text/csv`; of what is inside, when the file is compressed.
    compression: `gzip`, `zstd` or empty.
    column_types: column → type, for columns whose type is not to be found out.
    null_values: texts that stand for a missing value in CSV and TSV, in place of the usual ones.
    """

    media_type: str = ""
    compression: str = ""
    column_types: tuple[tuple[str, ColumnType], ...] = ()
    null_values: tuple[str, ...] = ()

    def content_id(self, sha256: str) -> str:
        """Names what these bytes, read so, become: lower-case hex."""
        how = [sha256, self.media_type, self.compression, sorted(self.column_types), self.null_values]
        return hashlib.sha256(json.dumps(how).encode()).hexdigest()


@dataclass(frozen=True)
class Content:
    """What ingesting a file yields. sha256 (lower-case hex) and byte_count are of the bytes as uploaded.

    media_type: what the file was read as.
    content_id: names the content; contents of the first release were named by their hash.
    """

    sha256: str
    byte_count: int
    media_type: str
    row_count: int
    columns: tuple[ProfiledColumn, ...]
    content_id: str = ""

    @property
    def key(self) -> str:
        """Names the content."""
        return self.content_id or self.sha256

    def column(self, name: str) -> Column | None:
        """The column of that name, or None."""
        found = self.profiled(name)
        return found.column if found else None

    def profiled(self, name: str) -> ProfiledColumn | None:
        """The column of that name with its profile, or None."""
        return next((item for item in self.columns if item.column.name == name), None)


class BadContent(Exception):
    """The bytes are not a dataset: the caller's fault, and only new bytes can help.

    reason: UPPER_SNAKE, stable.
    message: one sentence for a person; it repeats the place.
    row: the physical line of the CSV file on which the record in question begins, the first line being 1
        (so the header's, as a rule); None where no line is to blame, and for formats without lines.
    column: the column's name, or None.
    """

    def __init__(
        self, reason: str, message: str, *, row: int | None = None, column: str | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.row = row
        self.column = column

    def __repr__(self) -> str:
        return f"BadContent({self.reason}, {self.message!r}, row={self.row}, column={self.column!r})"


@dataclass(frozen=True)
class Dataset:
    """A named table. content, its newest version, is None until the first upload; version counts from 1."""

    dataset_id: str
    display_name: str
    content: Content | None
    create_time: datetime
    update_time: datetime
    version: int = 0
    tenant: str = DEFAULT_TENANT

    @property
    def key(self) -> str:
        """What tells it from another tenant's dataset of the same id."""
        return scoped(self.tenant, self.dataset_id)


@dataclass(frozen=True)
class Version:
    """One version of a dataset; it never changes."""

    dataset_id: str
    version: int
    content: Content
    create_time: datetime
