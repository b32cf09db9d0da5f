"""Statistics of a column, gathered batch by batch in bounded memory."""

from __future__ import annotations

import hashlib
import heapq
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from services.training.domain.dataset import (
    DISTINCT_CAP,
    LOW_CARDINALITY,
    TOP_VALUE_LENGTH,
    TOP_VALUES,
    ColumnProfile,
    ColumnType,
)

# The types whose values are listed, while they have fewer distinct ones than this.
_LISTED_BELOW = {
    ColumnType.TEXT: DISTINCT_CAP,
    ColumnType.BOOLEAN: DISTINCT_CAP,
    ColumnType.INTEGER: LOW_CARDINALITY + 1,
}

# With its type, since finding that out takes longer than adding it.
_ZERO = pa.scalar(0.0, pa.float64())
# Counted values of one column that are not merged yet take no more than this.
_MERGED_BYTES = 1 << 18


class Profiler:
    """The profile of one column; feed it every batch, in any order.

    It holds up to 0.2 MB for a column of numbers, some megabytes for one of text.
    """

    def __init__(self, kind: ColumnType) -> None:
        self._numeric = kind.is_numeric
        self._count = 0
        self._null_count = 0
        self._occurrences = Occurrences(_LISTED_BELOW.get(kind, 0))
        self._distinct = Distinct()
        self._moments = Moments()

    def add(self, array: Any) -> None:
        """Takes a batch of the column, in the Arrow type of its kind."""
        self._null_count += array.null_count
        self._count += len(array) - array.null_count
        present = array.drop_null() if array.null_count else array
        self._occurrences.add(present)
        if self._numeric:
            self._distinct.add(present)
            self._moments.add(_doubles(present))

    def profile(self) -> ColumnProfile:
        """What has been seen so far."""
        distinct = self._distinct.count() if self._numeric else self._occurrences.count
        statistics = self._moments.statistics()
        return ColumnProfile(self._count, self._null_count, distinct, *statistics, self._occurrences.top())


def _doubles(present: Any) -> npt.NDArray[np.float64]:
    """As `numbers`, of an array without nulls, and in a third of the time."""
    if not len(present):
        return np.empty(0)
    is_time = pa.types.is_timestamp(present.type)
    if is_time:
        present = present.view(pa.int64())
    elif pa.types.is_boolean(present.type):
        present = present.cast(pa.int8())
    values = np.asarray(np.from_dlpack(present), dtype=np.float64)
    return values / 1e6 if is_time else values


def numbers(array: Any) -> npt.NDArray[np.float64]:
    """A numeric, boolean or timestamp array as float64: NaN for null, epoch seconds for timestamps."""
    if pa.types.is_timestamp(array.type):
        return numbers(array.cast(pa.int64())) / 1e6
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=np.float64)


class Moments:
    """Range, mean and deviation of the finite values: Chan's merge of per-batch moments."""

    def __init__(self) -> None:
        self._n = 0
        self._mean = 0.0
        self._squares = 0.0
        self._minimum = math.inf
        self._maximum = -math.inf

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Takes a batch; infinities are left out."""
        finite = values[np.isfinite(values)]
        if not len(finite):
            return
        self._minimum = min(self._minimum, float(finite.min()))
        self._maximum = max(self._maximum, float(finite.max()))
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(finite.mean())
            self._merge(len(finite), mean, float(np.square(finite - mean).sum()))

    def _merge(self, n: int, mean: float, squares: float) -> None:
        total = self._n + n
        gap = mean - self._mean
        # Products, not powers: a float power raises on overflow, where a product gives the infinity we drop.
        self._squares += squares + gap * gap * (self._n * n / total)
        self._mean += gap * (n / total)
        self._n = total

    def statistics(self) -> tuple[float | None, float | None, float | None, float | None]:
        """Minimum, maximum, mean, standard deviation; None where there is none a double can hold."""
        if not self._n:
            return None, None, None, None
        variance = self._squares / self._n
        deviation = math.sqrt(variance) if math.isfinite(variance) else None
        return self._minimum, self._maximum, self._mean if math.isfinite(self._mean) else None, deviation


class Distinct:
    """Counts distinct numbers, exactly below DISTINCT_CAP, eight bytes for each."""

    def __init__(self) -> None:
        self._seen: list[Any] = []
        self._length = 0
        self._full = False

    def add(self, array: Any) -> None:
        """Takes a batch without nulls."""
        if self._full or not len(array):
            return
        # Adding zero makes one value of 0.0 and -0.0.
        self._seen.append(pc.unique(pc.add(array, _ZERO) if pa.types.is_floating(array.type) else array))
        self._length += len(self._seen[-1])
        if self._length >= DISTINCT_CAP * 3 // 2:
            self._merge()

    def count(self) -> int:
        """Distinct values seen; DISTINCT_CAP means that many or more."""
        self._merge()
        return DISTINCT_CAP if self._full else self._length

    def _merge(self) -> None:
        if len(self._seen) > 1:
            self._seen = [pc.unique(pa.chunked_array(self._seen))]
            self._length = len(self._seen[0])
        if self._length >= DISTINCT_CAP:
            self._full, self._seen = True, []


class Occurrences:
    """Counts each distinct value, until there are `cap` of them; then it forgets them all."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._counted: list[Any] = []
        self._length = 0
        self._long: set[bytes] = set()
        self._full = cap == 0

    @property
    def count(self) -> int:
        """Distinct values seen; `cap` means that many or more."""
        self._merge()
        return self._cap if self._full else self._length + len(self._long)

    def add(self, array: Any) -> None:
        """Takes a batch without nulls."""
        if self._full or not len(array):
            return
        counted = pc.value_counts(array)
        values, counts = counted.field(0), counted.field(1)
        if len(values) < self._cap and pa.types.is_string(values.type):
            values, counts = self._without_long(values, counts)
        self._counted.append(pa.table({"value": values, "count": counts}))
        self._length += len(values)
        # Text is merged at once when there is much of it: a value may have a kilobyte, and there are 10,000.
        if self._length >= 2 * self._cap or values.nbytes > _MERGED_BYTES:
            self._merge()

    def _without_long(self, values: Any, counts: Any) -> tuple[Any, Any]:
        """Long text is remembered by its digest, so that 10,000 long values stay small."""
        long = pc.greater(pc.utf8_length(values), pa.scalar(TOP_VALUE_LENGTH))
        if not pc.any(long).as_py():
            return values, counts
        for value in values.filter(long).to_pylist():
            self._long.add(hashlib.blake2b(value.encode(), digest_size=16).digest())
        short = pc.invert(long)
        return values.filter(short), counts.filter(short)

    def _merge(self) -> None:
        if len(self._counted) > 1:
            together = pa.concat_tables(self._counted).group_by("value", use_threads=False)
            merged = together.aggregate([("count", "sum")]).rename_columns(["value", "count"])
            self._counted, self._length = [merged], merged.num_rows
        if self._length + len(self._long) >= self._cap:
            self._counted, self._length, self._long, self._full = [], 0, set(), True

    def top(self) -> tuple[tuple[str, int], ...]:
        """The most frequent values as text, most frequent first, ties by text; none once there are `cap`."""
        self._merge()
        if not self._counted:
            return ()
        values, counts = (column.to_pylist() for column in self._counted[0].columns)
        listed = ((_text(value), n) for value, n in zip(values, counts, strict=True))
        return tuple(heapq.nsmallest(TOP_VALUES, listed, key=lambda item: (-item[1], item[0])))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
