"""The one error of compute: the data or a setting does not allow training or predicting."""

from __future__ import annotations


class ComputeError(ValueError):
    """`field` (a column or a setting) and what is wrong with it, fit to be shown to the caller."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
