"""What is wrong with values that a proposal names for a trial's job, going by its data."""

from __future__ import annotations

from collections.abc import Mapping

from services.training.application.features import excluded_problems, transform_problems
from services.training.domain.dataset import Content
from services.training.domain.job import JobSpec, Task
from services.training.domain.job_values import CLASS_WEIGHT, EXCLUDED_COLUMNS, TRANSFORMS, with_values
from services.training.domain.transforms import MOST_TRANSFORMS
from services.training.domain.values import ColumnNames, Value


def trial_problems(base: JobSpec, values: Mapping[str, Value], content: Content) -> dict[str, str]:
    """Value → what is wrong with it; empty when all is well. values: of the types that the domain has."""
    problems: dict[str, str] = {}
    if CLASS_WEIGHT in values and base.task is not Task.CLASSIFICATION:
        problems[CLASS_WEIGHT] = f"is for classification, and this is {base.task}"
    if base.warm_start_model_id:
        named = {EXCLUDED_COLUMNS, TRANSFORMS} & values.keys()
        return problems | dict.fromkeys(named, "has to be left out: the model to begin with has its columns")
    spec = with_values(base, values)
    target, weights = base.target, base.weighting.column
    excluded = values.get(EXCLUDED_COLUMNS)
    if isinstance(excluded, ColumnNames):
        beside = base.excluded_columns
        problems |= excluded_problems(content, target, weights, excluded.names, beside)
        problems |= _needed(base, excluded.names)
    new = spec.transforms[len(base.transforms) :]
    made = [name for one in base.transforms for name in one.names]
    problems |= transform_problems(content, (target, weights, *spec.excluded_columns), new, made)
    if len(spec.transforms) > MOST_TRANSFORMS:
        problems[TRANSFORMS] = f"with the job's own at most {MOST_TRANSFORMS}, got {len(spec.transforms)}"
    return problems


def _needed(base: JobSpec, excluded: tuple[str, ...]) -> dict[str, str]:
    sources = {name: one.names[0] for one in base.transforms for name in one.columns}
    return {
        f"{EXCLUDED_COLUMNS}[{place}]": f"{name!r} is what {sources[name]!r} of the job is made of"
        for place, name in enumerate(excluded)
        if name in sources
    }
