"""Products of rows with one input for each category, without the inputs that are zero. On the host only."""

from __future__ import annotations

from typing import Any

from services.training.compute.kernels.host import host


@host
def add_chosen(table: Any, chosen: Any, out: Any) -> None:
    """out (n, k) ← out + the sum of table[c] over a row's `chosen` (n, m) int32, where those are ≥ 0."""
    for row in range(len(chosen)):
        for column in range(chosen.shape[1]):
            index = chosen[row, column]
            if index >= 0:
                for k in range(table.shape[1]):
                    out[row, k] += table[index, k]


@host
def add_to_chosen(rows: Any, chosen: Any, table: Any) -> None:
    """table[c] ← table[c] + rows[i] (n, k) for each c ≥ 0 of `chosen[i]`, one after the other."""
    for row in range(len(chosen)):
        for column in range(chosen.shape[1]):
            index = chosen[row, column]
            if index >= 0:
                for k in range(table.shape[1]):
                    table[index, k] += rows[row, k]
