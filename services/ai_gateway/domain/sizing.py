"""Sizes of a first model, from the size of the data."""

from __future__ import annotations

from services.ai_gateway.domain.findings import Data
from services.ai_gateway.domain.hyperparameters import Hyperparameters

# Fewer rows than this, and the next sample of them would give a rather different model.
SMALL_ROWS = 2_000
LARGE_ROWS = 20_000
HUGE_ROWS = 200_000


def sized_network(defaults: Hyperparameters, data: Data) -> Hyperparameters:
    """The default network, made as wide as the data can fill, with steps of about a hundredth of a pass."""
    changed = defaults.changed(hidden_sizes=_widths(data), batch_size=_batch(data.rows))
    if data.rows >= HUGE_ROWS:
        return changed.changed(max_epochs=30, early_stopping_patience=5)
    return changed.changed(ensemble_size=8) if data.rows < SMALL_ROWS else changed


def sized_linear(defaults: Hyperparameters, data: Data) -> Hyperparameters:
    """The default linear model, with ten times the penalty where a column has fewer than ten rows."""
    return defaults.changed(l2=10 * defaults.number("l2")) if data.columns * 10 > data.rows else defaults


def _widths(data: Data) -> tuple[int, ...]:
    width = 64 if data.rows < 500 else 128 if data.rows < LARGE_ROWS else 256
    first = max(width, 256) if data.columns > 256 and data.rows >= SMALL_ROWS else width
    return (first, width)


def _batch(rows: int) -> int:
    """A power of two near a hundredth of the rows, in 32 to 1,024."""
    return min(max(1 << (max(rows, 1) // 100).bit_length(), 32), 1024)
