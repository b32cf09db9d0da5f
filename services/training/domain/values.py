"""Values by name: how they become hyperparameters, and what is wrong with those that do not.

A name is the path of a hyperparameter, such as `learning_rate`, or `mlp.learning_rate` of a blend.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, fields
from typing import Any, TypeAlias

from services.training.domain.hyperparameters import Bounds, asked, parts
from services.training.domain.transforms import FeatureTransform


@dataclass(frozen=True)
class ColumnNames:
    """A list of columns. A tuple of texts could not be told from one of numbers in a document."""

    names: tuple[str, ...]


Value: TypeAlias = int | float | str | tuple[int, ...] | ColumnNames | tuple[FeatureTransform, ...]


class Unfit(Exception):
    """Values that are no hyperparameters. problems: name → what is wrong with it."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in problems.items()))
        self.problems = dict(problems)


def field_of(kind: Any, path: str) -> Field[Any] | None:
    """The field of an algorithm's hyperparameters that `path` names; None when there is none."""
    head, _, rest = path.partition(".")
    item = next((one for one in fields(kind) if one.name == head), None)
    if item is not None and "part" in item.metadata:
        return field_of(item.metadata["part"], rest)
    return None if rest else item


def unknown(kind: Any, name: str, prefix: str) -> str:
    """Says that a kind of hyperparameters has none of that name, and which it has."""
    known = ", ".join(prefix + one for one in names(kind))
    return f"{name!r} is no hyperparameter of {kind.name}; known are {known}"


def names(kind: Any) -> Iterator[str]:
    """The paths of all its hyperparameters."""
    within = parts(kind)
    for item in fields(kind):
        if item.name in within:
            yield from (f"{item.name}.{path}" for path in names(within[item.name]))
        else:
            yield item.name


def typed(kind: Any, name: str, prefix: str, value: Value) -> Value:
    """The value as the hyperparameter of that name has it; raises ValueError, which says what is wrong."""
    item = field_of(kind, name.removeprefix(prefix)) if name.startswith(prefix) else None
    if item is None:
        raise ValueError(unknown(kind, name, prefix))
    return typed_as(item, value)


def typed_as(item: Field[Any], value: Value) -> Value:
    """JSON has one kind of number, and enumerations are written in capitals there."""
    match item.default:
        case str() if isinstance(value, str):
            return value.lower()
        case tuple() if isinstance(value, tuple):
            return tuple(_whole(one) for one in value)
        case int():
            return _whole(value)
        case float() if (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        ):
            return float(value)
    wanted = {str: "text", tuple: "a list of whole numbers", float: "a number"}[type(item.default)]
    raise ValueError(f"has to be {wanted}, got {value!r}")


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or _int_or_none(value) is None:
        raise ValueError(f"has to be a whole number, got {value!r}")
    return int(value)


def _int_or_none(value: float) -> int | None:
    """The whole number that it is, if it is one."""
    return int(value) if math.isfinite(value) and value == int(value) else None


def value_problem(item: Field[Any], value: Value) -> str | None:
    """What is wrong with a value of the right type, going by the hyperparameter's bounds; None if nothing."""
    if choices := item.metadata.get("choices"):
        return None if value in choices else f"must be one of {', '.join(choices)}, got {value!r}"
    bounds: Bounds = item.metadata["bounds"]
    numbers = value if isinstance(value, tuple) else (value,)
    return next((text for one in numbers if (text := bounds.problem(one))), None)  # type: ignore[arg-type]


def changes(params: Any) -> dict[str, Any]:
    """What is not as usual for its kind, or its architecture; of parts, nothing."""
    usual = asked(type(params), _architecture(params))
    own = [item.name for item in fields(params) if "part" not in item.metadata]
    return {name: getattr(params, name) for name in own if getattr(params, name) != getattr(usual, name)}


def _architecture(params: Any) -> dict[str, Any]:
    return {"architecture": params.architecture} if hasattr(params, "architecture") else {}


def replaced(base: Any, given: Mapping[str, Value]) -> Any:
    """`base` with `given`, by path; what `base` leaves at its usual goes with the architecture given."""
    own: dict[str, Any] = {**_architecture(base), **changes(base)}
    for part in parts(type(base)):
        inner = {name.partition(".")[2]: one for name, one in given.items() if name.startswith(f"{part}.")}
        own[part] = replaced(getattr(base, part), inner)
    return asked(type(base), {**own, **{name: one for name, one in given.items() if "." not in name}})
