"""How much of an attempt's samples memory holds."""

from __future__ import annotations

import pytest

from services.training.attempt_process import sample_bytes
from services.training.compute.trainer import MEMORY_BUDGET
from services.training.settings import TrainingSettings

GIB = 1 << 30


@pytest.mark.parametrize(
    ("machine", "slots", "most", "expected"),
    [
        (None, 2, 0, MEMORY_BUDGET),
        (64 * GIB, 2, 0, MEMORY_BUDGET),
        (2 * GIB, 4, 0, GIB // 4),
        (64 * GIB, 2, GIB // 2, GIB // 4),
    ],
)
def test_it_is_half_of_what_an_attempt_has(machine: int | None, slots: int, most: int, expected: int) -> None:
    settings = TrainingSettings(training_slots=slots, training_memory_bytes=most)
    assert sample_bytes(settings, machine) == expected
