"""What a sweep searches: parameters with their ranges, and how values become hyperparameters.

A parameter is named by the path of a hyperparameter, such as `learning_rate`, or `mlp.learning_rate` of a
blend. Where the algorithm itself is searched, names begin with it, and hold only with that algorithm.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, fields, replace
from typing import Any, Literal, TypeAlias

from services.training.domain.hyperparameters import ALGORITHMS, Bounds, Hyperparameters, asked, parts

Value: TypeAlias = int | float | str | tuple[int, ...]
ALGORITHM = "algorithm"
SEED = "seed"
LARGEST_SEED = 2**32 - 1


class Unfit(Exception):
    """Values that are no hyperparameters. problems: name → what is wrong with it."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in problems.items()))
        self.problems = dict(problems)


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

    def in_force(self, parameter: Parameter, chosen: Mapping[str, Value]) -> bool:
        """Whether it is searched beside what was chosen for those before it."""
        other = parameter.name.partition(".")[0] != chosen.get(ALGORITHM)
        if self.several and parameter.name != ALGORITHM and other:
            return False
        return all(chosen.get(one.parameter) in one.values for one in parameter.conditions)

    def values_of(self, params: Hyperparameters) -> dict[str, Value]:
        """The values of `params` for the parameters in force with it, also outside of their ranges."""
        found: dict[str, Value] = {}
        for parameter in self.parameters:
            if self.in_force(parameter, found):
                value = self._value(parameter.name, params)
                if value is not None:
                    found[parameter.name] = value
        return found

    def located(self, params: Hyperparameters) -> dict[str, Value]:
        """The same, but for those outside of their ranges."""
        ranges = {one.name: one.range for one in self.parameters}
        return {name: value for name, value in self.values_of(params).items() if ranges[name].holds(value)}

    def _value(self, name: str, params: Hyperparameters) -> Value | None:
        if name == ALGORITHM:
            return params.name
        path = name.partition(".")[2] if self.several else name
        item: Any = params
        for step in path.split("."):
            item = getattr(item, step, None)
        return None if item is None else item  # type: ignore[no-any-return]

    def applied(self, base: Hyperparameters, values: Mapping[str, Value]) -> Hyperparameters:
        """`base`, or its like of another algorithm, with `values` in place of its own; raises Unfit."""
        rest = {name: value for name, value in values.items() if name not in {ALGORITHM, SEED}}
        kind, prefix = type(base), ""
        problems = _seed_problems(values)
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
        params = replaced(base, given)
        if found := params.problems():
            raise Unfit({prefix + name: text for name, text in found.items()})
        return params

    def problems(self, base: Hyperparameters, task: str) -> dict[str, str]:
        """Path in the request → what is wrong; empty when the space can be searched."""
        if not self.parameters:
            return {"space": f"is required for {base.name}, which has no usual one"}
        found: dict[str, str] = {}
        before: dict[str, Parameter] = {}
        for number, parameter in enumerate(self.parameters):
            path = f"space[{number}]"
            if parameter.name in before:
                found[f"{path}.name"] = f"{parameter.name!r} is there twice"
            else:
                for field, text in self._parameter_problems(parameter, base, task, before):
                    found.setdefault(f"{path}.{field}", text)
            before[parameter.name] = parameter
        return found

    def _parameter_problems(
        self, parameter: Parameter, base: Hyperparameters, task: str, before: Mapping[str, Parameter]
    ) -> Iterator[tuple[str, str]]:
        if parameter.name == ALGORITHM:
            yield from _algorithm_problems(parameter, task, before)
            return
        if parameter.name == SEED:
            yield "name", "a seed is not searched; a proposal may name one"
            return
        kind, prefix = type(base), ""
        if self.several:
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


def _seed_problems(values: Mapping[str, Value]) -> dict[str, str]:
    seed = values.get(SEED, 0)
    whole = isinstance(seed, int) or (isinstance(seed, float) and seed.is_integer())
    if whole and 0 <= seed <= LARGEST_SEED:  # type: ignore[operator]
        return {}
    return {SEED: f"has to be a whole number from 0 to {LARGEST_SEED}, got {seed!r}"}


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
                problem = value_problem(item, _typed(item, value))
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
    return _typed(item, value)


def _typed(item: Field[Any], value: Value) -> Value:
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
    if isinstance(value, bool) or not isinstance(value, int | float) or int_or_none(value) is None:
        raise ValueError(f"has to be a whole number, got {value!r}")
    return int(value)


def int_or_none(value: float) -> int | None:
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


# What is usually searched. A range holds the defaults of its algorithm, so that they are the first trial.

_TREES: tuple[Parameter, ...] = (
    Parameter("learning_rate", FloatRange(0.01, 0.3, log=True)),
    Parameter("max_depth", IntRange(3, 10)),
    Parameter("min_child_weight", FloatRange(0.5, 20, log=True)),
    Parameter("subsample", FloatRange(0.5, 1)),
    Parameter("colsample_bytree", FloatRange(0.5, 1)),
    Parameter("reg_lambda", FloatRange(0.01, 10, log=True)),
)
_SIZES = ((64, 64), (128, 128, 128), (256, 256, 256), (512, 512, 512))


def usual_space(base: Hyperparameters, task: str) -> SearchSpace:
    """What is usually searched for an algorithm, but for what `base` sets by itself. Empty for kmeans: with
    more clusters its metric only falls."""
    return SearchSpace(tuple(_usual(base, task)))


def _usual(base: Any, task: str) -> Iterator[Parameter]:
    for part in parts(type(base)):
        for parameter in _usual(getattr(base, part), task):
            yield replace(parameter, name=f"{part}.{parameter.name}")
    yield from (one for one in _all_usual(base, task) if one.name not in changes(base))


def _all_usual(base: Hyperparameters, task: str) -> tuple[Parameter, ...]:
    match base.name:
        case "mlp":
            return _of_mlp(base, task)
        case "boosted_trees":
            return _TREES
        case "logistic":
            return (Parameter("l2", FloatRange(1e-4, 1e4, log=True)),)
        case "linear":
            return (Parameter("l2", FloatRange(1e-4, 1e5, log=True)),)
    return ()


def _of_mlp(base: Any, task: str) -> tuple[Parameter, ...]:
    rate = base.settled(task, 1).learning_rate
    smoothing = Parameter("label_smoothing", FloatRange(0, 0.2))
    return (
        Parameter("learning_rate", FloatRange(rate / 8, rate * 4, log=True)),
        Parameter("weight_decay", FloatRange(0, 0.1)),
        Parameter("dropout", FloatRange(0, 0.4)),
        Parameter("hidden_sizes", Choice(_SIZES)),
        *((smoothing,) if task == "classification" else ()),
    )
