"""What a sweep searches: parameters with their ranges.

A parameter is named by the path of a hyperparameter, such as `learning_rate`, or `mlp.learning_rate` of a
blend. Where the algorithm itself is searched, names begin with it, and hold only with that algorithm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from services.training.domain.hyperparameters import ALGORITHMS, Hyperparameters, asked
from services.training.domain.job_values import CLASS_WEIGHT, JOB_VALUES, value_problems
from services.training.domain.values import Unfit, Value, replaced, typed

ALGORITHM = "algorithm"


NONE: Mapping[str, Value] = {}


@dataclass(frozen=True)
class FloatRange:
    """Numbers from `low` to `high`; log: what counts is the ratio of two values."""

    low: float
    high: float
    log: bool = False
    kind: Literal["float"] = "float"

    def holds(self, value: Value) -> bool:
        """Whether the value is within."""
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class IntRange:
    """Whole numbers from `low` to `high`, `step` apart; log: what counts is the ratio of two values."""

    low: int
    high: int
    log: bool = False
    step: int = 1
    kind: Literal["int"] = "int"

    def holds(self, value: Value) -> bool:
        """Whether the value is within."""
        within = isinstance(value, int) and self.low <= value <= self.high
        return within and (value - self.low) % self.step == 0  # type: ignore[operator]


@dataclass(frozen=True)
class Choice:
    """Values without an order."""

    values: tuple[Value, ...]
    kind: Literal["choice"] = "choice"

    def holds(self, value: Value) -> bool:
        """Whether the value is one of them."""
        return value in self.values


@dataclass(frozen=True)
class Condition:
    """That the parameter of that name, which stands before, has one of some values."""

    parameter: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Parameter:
    """What is searched for one hyperparameter, and where: everywhere, or only where all conditions hold."""

    name: str
    range: FloatRange | IntRange | Choice
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class SearchSpace:
    """Parameters, in the order in which they are chosen."""

    parameters: tuple[Parameter, ...]

    @property
    def several(self) -> bool:
        """Whether the algorithm itself is searched."""
        return any(one.name == ALGORITHM for one in self.parameters)

    @property
    def algorithms(self) -> frozenset[Value]:
        """The algorithms that are searched; empty where there is only the base's."""
        ranges = [one.range for one in self.parameters if one.name == ALGORITHM]
        return frozenset(value for one in ranges if isinstance(one, Choice) for value in one.values)

    def in_force(self, parameter: Parameter, chosen: Mapping[str, Value]) -> bool:
        """Whether it is searched beside what was chosen for those before it."""
        other = parameter.name.partition(".")[0] != chosen.get(ALGORITHM)
        if self.several and parameter.name not in {ALGORITHM, CLASS_WEIGHT} and other:
            return False
        return all(chosen.get(one.parameter) in one.values for one in parameter.conditions)

    def values_of(self, params: Hyperparameters, job: Mapping[str, Value] = NONE) -> dict[str, Value]:
        """The values of `params` for the parameters in force with it, also outside of their ranges.

        job: those that are searched of the job itself.
        """
        found: dict[str, Value] = {}
        for parameter in self.parameters:
            if self.in_force(parameter, found):
                value = job.get(parameter.name, self._value(parameter.name, params))
                if value is not None:
                    found[parameter.name] = value
        return found

    def located(self, params: Hyperparameters, job: Mapping[str, Value] = NONE) -> dict[str, Value]:
        """The same, but for those outside of their ranges."""
        ranges = {one.name: one.range for one in self.parameters}
        return {
            name: value for name, value in self.values_of(params, job).items() if ranges[name].holds(value)
        }

    def _value(self, name: str, params: Hyperparameters) -> Value | None:
        if name == ALGORITHM:
            return params.name
        path = name.partition(".")[2] if self.several else name
        item: Any = params
        for step in path.split("."):
            item = getattr(item, step, None)
        found: Value | None = item
        return found

    def applied(self, base: Hyperparameters, values: Mapping[str, Value]) -> Hyperparameters:
        """`base`, or its like of another algorithm, with `values` in place of its own; raises Unfit."""
        rest = {name: value for name, value in values.items() if name != ALGORITHM and name not in JOB_VALUES}
        kind, prefix = type(base), ""
        problems = value_problems(values)
        if self.several:
            name = values.get(ALGORITHM, base.name)
            if name not in ALGORITHMS:
                raise Unfit({ALGORITHM: f"{name!r} is none; there are {', '.join(ALGORITHMS)}"})
            kind, prefix = ALGORITHMS[str(name)], f"{name}."
            base = base if kind is type(base) else asked(kind, {})
        elif ALGORITHM in values:
            problems[ALGORITHM] = "is not searched here"
        given: dict[str, Value] = {}
        for name, value in rest.items():
            try:
                given[name.removeprefix(prefix)] = typed(kind, name, prefix, value)
            except ValueError as error:
                problems[name] = str(error)
        if problems:
            raise Unfit(problems)
        params: Hyperparameters = replaced(base, given)
        if found := params.problems():
            raise Unfit({prefix + name: text for name, text in found.items()})
        return params
