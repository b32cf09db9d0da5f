"""What is wrong with a search space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import Field
from typing import Any

from services.training.domain.hyperparameters import ALGORITHMS, Hyperparameters
from services.training.domain.job_values import CLASS_WEIGHT, CLASS_WEIGHTS, JOB_VALUES
from services.training.domain.search_space import (
    ALGORITHM,
    Choice,
    FloatRange,
    IntRange,
    Parameter,
    SearchSpace,
)
from services.training.domain.values import field_of, typed_as, unknown, value_problem


def space_problems(space: SearchSpace, base: Hyperparameters, task: str) -> dict[str, str]:
    """Path in the request → what is wrong; empty when the space can be searched."""
    if not space.parameters:
        return {"space": f"is required for {base.name}, which has no usual one"}
    found: dict[str, str] = {}
    before: dict[str, Parameter] = {}
    for number, parameter in enumerate(space.parameters):
        path = f"space[{number}]"
        if parameter.name in before:
            found[f"{path}.name"] = f"{parameter.name!r} is there twice"
        else:
            for field, text in _parameter_problems(space, parameter, base, task, before):
                found.setdefault(f"{path}.{field}", text)
        before[parameter.name] = parameter
    return found


def _parameter_problems(
    space: SearchSpace,
    parameter: Parameter,
    base: Hyperparameters,
    task: str,
    before: Mapping[str, Parameter],
) -> Iterator[tuple[str, str]]:
    if parameter.name == ALGORITHM:
        yield from _algorithm_problems(parameter, task, before)
        return
    if parameter.name == CLASS_WEIGHT:
        yield from _class_weight_problems(parameter, task)
        yield from _condition_problems(parameter, before)
        return
    if parameter.name in JOB_VALUES:
        yield "name", f"{parameter.name} is not searched; a proposal may name it"
        return
    kind, prefix = type(base), ""
    if space.several:
        head = parameter.name.partition(".")[0]
        searched = before[ALGORITHM].range if ALGORITHM in before else None
        if not isinstance(searched, Choice) or head not in searched.values or head not in ALGORITHMS:
            yield (
                "name",
                f"{parameter.name!r} has to begin with a searched algorithm, as in mlp.dropout",
            )
            return
        kind, prefix = ALGORITHMS[head], f"{head}."
    item = field_of(kind, parameter.name.removeprefix(prefix))
    if item is None:
        yield "name", unknown(kind, parameter.name, prefix)
        return
    yield from _range_problems(parameter.range, item)
    yield from _condition_problems(parameter, before)


def _class_weight_problems(parameter: Parameter, task: str) -> Iterator[tuple[str, str]]:
    if task != "classification":
        yield "name", f"class_weight is for classification, and this is {task}"
    if not isinstance(parameter.range, Choice):
        yield "choice", f"is required: class_weight is one of {', '.join(CLASS_WEIGHTS)}"
        return
    if not parameter.range.values:
        yield "choice.values", "has to have a value"
    for number, value in enumerate(parameter.range.values):
        if value not in CLASS_WEIGHTS:
            yield f"choice.values[{number}]", f"must be one of {', '.join(CLASS_WEIGHTS)}, got {value!r}"


def _algorithm_problems(
    parameter: Parameter, task: str, before: Mapping[str, Parameter]
) -> Iterator[tuple[str, str]]:
    if parameter.conditions or before:
        yield "name", "the algorithm is chosen first, without conditions"
    if not isinstance(parameter.range, Choice):
        yield "choice", "is required: algorithms are chosen among names"
        return
    fitting = [kind.name for kind in ALGORITHMS.values() if task in kind.tasks]
    for number, value in enumerate(parameter.range.values):
        if value not in fitting:
            yield f"choice.values[{number}]", f"{value!r} does no {task}; {', '.join(fitting)} do"
    if not parameter.range.values:
        yield "choice.values", "has to have a value"


def _range_problems(searched: FloatRange | IntRange | Choice, item: Field[Any]) -> Iterator[tuple[str, str]]:
    kind = searched.kind
    if isinstance(searched, Choice):
        if not searched.values:
            yield "choice.values", "has to have a value"
        for number, value in enumerate(searched.values):
            try:
                problem = value_problem(item, typed_as(item, value))
            except ValueError as error:
                problem = str(error)
            if problem:
                yield f"choice.values[{number}]", problem
        return
    if type(item.default) is not {"float": float, "int": int}[kind]:
        fitting = {int: "int", float: "float"}.get(type(item.default), "choice")
        yield kind, f"{item.name} is searched by `{fitting}`"
        return
    for name in ("low", "high"):
        if problem := value_problem(item, getattr(searched, name)):
            yield f"{kind}.{name}", problem
    if searched.low > searched.high:
        yield f"{kind}.low", f"has to be at most high, got {searched.low:g} and {searched.high:g}"
    if searched.log and searched.low <= 0:
        yield f"{kind}.low", f"has to be above 0 with log, got {searched.low:g}"
    if isinstance(searched, IntRange) and (searched.step < 1 or (searched.log and searched.step != 1)):
        yield "int.step", f"has to be at least 1, and 1 with log, got {searched.step}"


def _condition_problems(parameter: Parameter, before: Mapping[str, Parameter]) -> Iterator[tuple[str, str]]:
    for number, condition in enumerate(parameter.conditions):
        path = f"conditions[{number}]"
        if condition.parameter not in before:
            yield f"{path}.parameter", f"{condition.parameter!r} is no parameter that stands before"
        elif not condition.values:
            yield f"{path}.values", "has to have a value"
        else:
            for place, value in enumerate(condition.values):
                if not before[condition.parameter].range.holds(value):
                    yield f"{path}.values[{place}]", f"{value!r} is never chosen for {condition.parameter}"
