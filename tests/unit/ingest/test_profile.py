from __future__ import annotations

import statistics

import pytest

from services.training.domain.dataset import DISTINCT_CAP, ColumnProfile


def profile(content) -> ColumnProfile:
    return content.columns[0].profile


def csv(cells: list[object]) -> bytes:
    return "\n".join(["a", *map(str, cells), ""]).encode()


def test_numbers_over_many_blocks(ingested) -> None:
    cells = [(i * 37 % 1001) + 1e6 for i in range(5_000)]
    found = profile(ingested(csv(["?", *cells, "?"])))
    assert (found.count, found.null_count, found.distinct_count) == (5_000, 2, 1_001)
    assert (found.minimum, found.maximum) == (min(cells), max(cells))
    assert found.mean == pytest.approx(statistics.fmean(cells))
    assert found.standard_deviation == pytest.approx(statistics.pstdev(cells))
    assert found.top_values == ()


def test_top_values_are_ordered_by_frequency_then_text(ingested) -> None:
    cells = [*"b" * 3, *"a" * 3, *"c" * 5, *"defghijklm", "?"]
    found = profile(ingested(csv(cells)))
    assert found.top_values[:4] == (("c", 5), ("a", 3), ("b", 3), ("d", 1))
    assert (len(found.top_values), found.distinct_count, found.minimum) == (10, 13, None)


def test_few_integers_and_booleans_have_top_values(ingested) -> None:
    assert profile(ingested(csv([3, 3, 7]))).top_values == (("3", 2), ("7", 1))
    booleans = profile(ingested(csv(["true", "true", "false", "true"])))
    assert booleans.top_values == (("true", 3), ("false", 1))
    assert (booleans.mean, booleans.minimum, booleans.maximum) == (0.75, 0, 1)


def test_distinct_values_are_counted_up_to_the_cap(ingested) -> None:
    below = profile(ingested(csv([f"x{i}" for i in range(DISTINCT_CAP - 1)]), block_bytes=1 << 14))
    beyond = profile(ingested(csv([f"x{i}" for i in range(DISTINCT_CAP + 5)]), block_bytes=1 << 14))
    assert (below.distinct_count, len(below.top_values)) == (DISTINCT_CAP - 1, 10)
    assert (beyond.distinct_count, beyond.top_values) == (DISTINCT_CAP, ())


def test_long_text_is_counted_but_not_listed(ingested) -> None:
    found = profile(ingested(csv(["x" * 300, "x" * 300, "x" * 301, "y"])))
    assert (found.distinct_count, found.top_values) == (3, (("y", 1),))


def test_infinities_are_left_out_and_overflow_is_none(ingested) -> None:
    found = profile(ingested(csv(["inf", 1.5, "-inf", 2.5])))
    assert (found.count, found.minimum, found.maximum, found.mean) == (4, 1.5, 2.5, 2)
    huge = profile(ingested(csv(["1.5e308", "-1.5e308", "1.6e308"])))
    assert (huge.maximum, huge.standard_deviation) == (1.6e308, None)


def test_timestamps_are_profiled_in_epoch_seconds(ingested) -> None:
    found = profile(ingested(csv(["1970-01-01", "1970-01-03"])))
    assert (found.minimum, found.maximum, found.mean) == (0, 172_800, 86_400)
