"""What can be told of a job's weights before it trains, from what is asked for and from profiles."""

from __future__ import annotations

import math

from services.chassis.errors import invalid_fields
from services.training.domain.dataset import ColumnType, Content, ProfiledColumn
from services.training.domain.job import Task
from services.training.domain.weighting import Weighting

LARGEST_CLASS_WEIGHT = 1e6
# Digits of a whole number that a class may be named otherwise by: 1e+16.
_LONGEST_WHOLE = 16


def class_weight_problems(asked: Weighting) -> dict[str, str]:
    """Field → what is wrong with it; empty when all is well."""
    problems = {
        f"class_weights.{name}": f"has to be above 0, and at most {LARGEST_CLASS_WEIGHT:g}, got {weight:g}"
        for name, weight in asked.class_weights
        if not (math.isfinite(weight) and 0 < weight <= LARGEST_CLASS_WEIGHT)
    }
    if asked.class_weight and asked.class_weights:
        problems["class_weights"] = f"class_weight is {asked.class_weight} already; give one of the two"
    return problems


def check_classes(asked: Weighting, task: Task, target: ProfiledColumn | None) -> None:
    """Raises InvalidArgument for a task without classes, and naming a class that the target does not have."""
    if not asked.class_weight and not asked.class_weights:
        return
    if task is not Task.CLASSIFICATION or target is None:
        field = "class_weight" if asked.class_weight else "class_weights"
        raise invalid_fields({field: f"is for classification, and this is {task}"})
    classes = _classes(target)
    unknown = {f"class_weights.{name}" for name, _ in asked.class_weights if classes and name not in classes}
    if unknown:
        known = ", ".join(repr(name) for name in sorted(classes))
        raise invalid_fields(dict.fromkeys(unknown, f"there is no such class; there are {known}"))


def check_weights(content: Content, name: str, where: str) -> None:
    """Raises InvalidArgument naming `weight_column` unless every value of the column is a weight.

    where: what the content is of, in words.
    """
    found = content.profiled(name)
    if found is None:
        names = ", ".join(repr(item.column.name) for item in content.columns[:20])
        raise invalid_fields({"weight_column": f"{name!r} is not a column of the {where}; it has {names}"})
    if problem := _problem(found):
        raise invalid_fields({"weight_column": f"{name!r} {problem} in the {where}"})


def _problem(found: ProfiledColumn) -> str:
    profile, kind = found.profile, found.column.type
    if kind not in (ColumnType.INTEGER, ColumnType.FLOAT):
        return f"holds {kind}, and weights are numbers,"
    if profile.null_count:
        return f"has no value in {profile.null_count} rows"
    if profile.minimum is not None and profile.minimum < 0:
        return f"is {profile.minimum:g} at the least, and weights are at least 0,"
    return "is 0 in every row" if profile.maximum == 0 else ""


def _classes(target: ProfiledColumn) -> set[str]:
    """All of them as predictions name them; none where the profile does not say."""
    kind = target.column.type
    if kind is ColumnType.BOOLEAN:
        return {"false", "true"}
    listed = {text for text, _ in target.profile.top_values}
    whole = kind is ColumnType.INTEGER and all(len(text) < _LONGEST_WHOLE for text in listed)
    known = (whole or kind is ColumnType.TEXT) and len(listed) == target.profile.distinct_count
    return listed if known else set()
