"""What can be told of a job's features before it trains, from what is asked for and from profiles."""

from __future__ import annotations

from collections.abc import Sequence

from services.chassis.errors import invalid_fields
from services.training.application.weights import check_weights
from services.training.domain.dataset import Content
from services.training.domain.model import Model


def check_columns(content: Content, target: str, weights: str, excluded: Sequence[str]) -> None:
    """Raises InvalidArgument unless the weights are such, the excluded columns can be, and some are left."""
    if weights:
        if weights == target:
            raise invalid_fields({"weight_column": f"is {target!r}, as the target is"})
        check_weights(content, weights, "dataset")
    if problems := excluded_problems(content, target, weights, excluded):
        raise invalid_fields(problems)
    if not all(item.column.name in {target, weights} for item in content.columns):
        return
    named = " and ".join(repr(name) for name in (target, weights) if name)
    only = "are the only columns" if target and weights else "is the only column"
    field = "target" if target else "weight_column"
    raise invalid_fields({field: f"{named} {only}; there is nothing to learn from"})


def excluded_problems(content: Content, target: str, weights: str, excluded: Sequence[str]) -> dict[str, str]:
    """Field → what is wrong with leaving out these columns; empty when all is well."""
    problems: dict[str, str] = {}
    for place, name in enumerate(excluded):
        if problem := _excluded_problem(content, target, weights, name):
            problems[f"excluded_columns[{place}]"] = problem
        elif name in excluded[:place]:
            problems[f"excluded_columns[{place}]"] = f"{name!r} is there twice"
    left = {item.column.name for item in content.columns} - {target, weights, *excluded}
    if excluded and not left and not problems:
        problems["excluded_columns"] = "are all that there is to learn from"
    return problems


def _excluded_problem(content: Content, target: str, weights: str, name: str) -> str:
    if content.column(name) is None:
        names = ", ".join(repr(item.column.name) for item in content.columns[:20])
        return f"{name!r} is not a column of the dataset; it has {names}"
    if name in {target, weights}:
        return f"{name!r} is the {'target' if name == target else 'weight column'}, and so no feature"
    return ""


def check_start_columns(start: Model | None, excluded: Sequence[str]) -> None:
    """Raises InvalidArgument when the model to begin with reads a column that is to be left out."""
    read = {feature.name for feature in start.features} & set(excluded) if start else set()
    if read:
        named = ", ".join(repr(name) for name in sorted(read))
        raise invalid_fields({"warm_start_model_id": f"reads {named}, which excluded_columns leaves out"})
