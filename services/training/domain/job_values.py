"""Values of a trial that are a job's rather than its algorithm's, and what a job becomes by them.

`seed` and `class_weight` stand in the place of the base's; `excluded_columns` and `transforms` come beside
the base's, so that a column that the base leaves out stays out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from services.training.domain.job import JobSpec, Task
from services.training.domain.transforms import DEFAULT_BINS, FeatureTransform, TransformKind
from services.training.domain.values import ColumnNames, Unfit, Value
from services.training.domain.weighting import ClassWeight, Weighting

SEED = "seed"
CLASS_WEIGHT = "class_weight"
EXCLUDED_COLUMNS = "excluded_columns"
TRANSFORMS = "transforms"
JOB_VALUES = frozenset({SEED, CLASS_WEIGHT, EXCLUDED_COLUMNS, TRANSFORMS})
LARGEST_SEED = 2**32 - 1
NO_WEIGHT = "none"
CLASS_WEIGHTS = (str(ClassWeight.BALANCED), NO_WEIGHT)
_FIELDS = ("kind", "columns", "bins")


def typed_values(values: Mapping[str, Any]) -> dict[str, Value]:
    """With the job's own as the domain has them; they may be as JSON has them. Raises Unfit."""
    found, problems = _read(values)
    if problems:
        raise Unfit(problems)
    return found


def value_problems(values: Mapping[str, Any]) -> dict[str, str]:
    """Path of a value of the job's own → what is wrong with it; empty when all is well."""
    return _read(values)[1]


def _read(values: Mapping[str, Any]) -> tuple[dict[str, Value], dict[str, str]]:
    problems: dict[str, str] = {}
    found: dict[str, Value] = dict(values)
    for name, read in _READERS.items():
        if name in values:
            found[name] = read(values[name], problems)
    return found, problems


def with_values(base: JobSpec, values: Mapping[str, Value]) -> JobSpec:
    """What a job becomes; values of its algorithm are left alone."""
    changes: dict[str, Any] = {}
    if SEED in values:
        changes["seed"] = int(values[SEED])  # type: ignore[arg-type]
    if CLASS_WEIGHT in values:
        chosen = None if values[CLASS_WEIGHT] == NO_WEIGHT else ClassWeight.BALANCED
        changes["weighting"] = Weighting(base.weighting.column, chosen)
    if isinstance(given := values.get(EXCLUDED_COLUMNS), ColumnNames):
        changes["excluded_columns"] = tuple(dict.fromkeys((*base.excluded_columns, *given.names)))
    if given := values.get(TRANSFORMS):
        changes["transforms"] = (*base.transforms, *given)  # type: ignore[misc]
    return replace(base, **changes)


def searched_values(spec: JobSpec) -> dict[str, Value]:
    """What a job has of the values that can be searched."""
    if spec.task is not Task.CLASSIFICATION or spec.weighting.class_weights:
        return {}
    return {CLASS_WEIGHT: str(spec.weighting.class_weight or NO_WEIGHT)}


def _seed(given: Any, problems: dict[str, str]) -> Value:
    whole = isinstance(given, int) or (isinstance(given, float) and given.is_integer())
    if isinstance(given, bool) or not whole or not 0 <= given <= LARGEST_SEED:
        problems[SEED] = f"has to be a whole number from 0 to {LARGEST_SEED}, got {given!r}"
        return 0
    return int(given)


def _class_weight(given: Any, problems: dict[str, str]) -> Value:
    if not isinstance(given, str) or given.lower() not in CLASS_WEIGHTS:
        problems[CLASS_WEIGHT] = f"has to be one of {', '.join(CLASS_WEIGHTS)}, got {given!r}"
        return NO_WEIGHT
    return given.lower()


def _excluded(given: Any, problems: dict[str, str]) -> Value:
    if isinstance(given, ColumnNames):
        return given
    return ColumnNames(_names(EXCLUDED_COLUMNS, given, problems))


def _transforms(given: Any, problems: dict[str, str]) -> Value:
    if not isinstance(given, list | tuple):
        problems[TRANSFORMS] = f"has to be a list of transforms, got {given!r}"
        return ()
    return tuple(_transform(f"{TRANSFORMS}[{place}]", one, problems) for place, one in enumerate(given))


def _transform(path: str, given: Any, problems: dict[str, str]) -> FeatureTransform:
    if isinstance(given, FeatureTransform):
        return given
    asked = given if isinstance(given, Mapping) else {}
    if asked is not given:
        problems[path] = f"has to be an object with kind and columns, got {given!r}"
        return FeatureTransform(TransformKind.LOG, ())
    for name in asked:
        if name not in _FIELDS:
            problems[f"{path}.{name}"] = f"is no field of a transform; it has {', '.join(_FIELDS)}"
    kind = asked.get("kind")
    if not isinstance(kind, str) or kind.upper() not in TransformKind.__members__:
        problems[f"{path}.kind"] = f"has to be one of {', '.join(TransformKind)}, got {kind!r}"
        kind = TransformKind.LOG
    kind = TransformKind(kind.upper())
    bins = asked.get("bins") or (DEFAULT_BINS if kind is TransformKind.BINS else 0)
    if isinstance(bins, bool) or not isinstance(bins, int):
        problems[f"{path}.bins"] = f"has to be a whole number, got {bins!r}"
        bins = 0
    return FeatureTransform(kind, _names(f"{path}.columns", asked.get("columns"), problems), bins)


def _names(path: str, given: Any, problems: dict[str, str]) -> tuple[str, ...]:
    if not isinstance(given, list | tuple):
        problems[path] = f"has to be a list of columns, got {given!r}"
        return ()
    for place, one in enumerate(given):
        if not isinstance(one, str):
            problems[f"{path}[{place}]"] = f"has to be a column's name, got {one!r}"
    return tuple(given)


_READERS: Mapping[str, Callable[[Any, dict[str, str]], Value]] = {
    SEED: _seed,
    CLASS_WEIGHT: _class_weight,
    EXCLUDED_COLUMNS: _excluded,
    TRANSFORMS: _transforms,
}
