"""Asking a language model for configurations: what it is told, and how its answer is read.

It is told what the data look like and what was measured, and never a value of the data or the name of the
dataset, which it may have learned by heart. An answer is taken as it is, or refused: nothing in it is
repaired.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.ai_gateway.domain.chat import ChatRequest, Message, Role, Schema, Text
from services.ai_gateway.domain.enhancement import Parameter, Subject
from services.ai_gateway.domain.prompt import Prompt
from services.ai_gateway.domain.trials import Proposed, Trial, validation

BEST_TOLD, LAST_TOLD = 5, 10
MOST_COLUMNS = 200
MOST_PROPOSALS = 40
LONGEST_ANSWER = 4_096  # tokens
LONGEST_TEXT = 200
MOST_BINS = 1_000
MOST_DIGITS = 16  # of a whole number that a 64-bit float has exactly
TRANSFORMS = ("LOG", "BINS", "RATIO", "DIFFERENCE", "DATE_PARTS", "FREQUENCY")
ALGORITHM = "algorithm"
# What is no hyperparameter: the training service knows what these may be, and says what is wrong with them.
OF_THE_JOB: Mapping[str, str] = {
    "class_weight": '"balanced" or "none"; only for classification',
    "excluded_columns": "list of names of columns that are no features",
    "transforms": 'list of objects such as {"kind": "LOG", "columns": ["a"]}, which add a column; '
    f"kinds: {', '.join(TRANSFORMS)}; RATIO and DIFFERENCE take two columns, BINS has also bins",
}
SYSTEM = (
    "You choose hyperparameters for machine learning on tables. Every configuration that you propose is "
    "trained and measured on validation rows, and you see the results of earlier ones. Propose "
    "configurations that are likely to be better than the best so far, each unlike the others and those "
    "tried. Name only parameters of the space, with values inside their ranges; what you do not name has "
    "the platform's default. Name the `algorithm`, and then only parameters that begin with its name. "
    "Answer with JSON."
)


@dataclass(frozen=True)
class Column:
    """What is told of a column: no value of it."""

    name: str
    type: str
    missing: float
    distinct: int
    skewed: bool = False


@dataclass(frozen=True)
class Profile:
    """What is told of a dataset. class_shares: largest first; empty for a number."""

    rows: int
    columns: tuple[Column, ...]
    class_shares: tuple[float, ...] = ()


@dataclass(frozen=True)
class Read:
    """An answer. rejections: a sentence for each proposal that is none. problem: why none could be read."""

    proposals: tuple[Proposed, ...] = ()
    rejections: tuple[str, ...] = ()
    problem: str = ""

    @property
    def count(self) -> int:
        """Proposals that were in it, good or bad."""
        return len(self.proposals) + len(self.rejections)


def prompt(model: str, subject: Subject, profile: Profile, tried: Sequence[Trial], wanted: int) -> Prompt:
    """The question to a model for so many configurations."""
    card = {
        "task": subject.task,
        "metric": f"{subject.metric} on validation rows; lower is better",
        "data": _data(profile, subject.target),
        "space": [_described(one) for one in subject.parameters],
        "beside_the_space": OF_THE_JOB,
        "start": subject.values or "the platform's defaults",
        "tried": [_told(one) for one in _worth_telling(tried)],
        "wanted": wanted,
    }
    text = json.dumps(card, separators=(",", ":"), allow_nan=False)
    schema = json.dumps(_schema(subject.parameters))
    chat = ChatRequest(
        (Message(Role.SYSTEM, (Text(SYSTEM),)), Message(Role.USER, (Text(text),))),
        schema=Schema("configurations", schema, strict=False),
        max_tokens=LONGEST_ANSWER,
    )
    size = len(SYSTEM) + len(text.encode()) + len(schema)
    return Prompt("", model, size, lambda: chat, max_tokens=LONGEST_ANSWER)


def read(text: str, source: str, parameters: Sequence[Parameter]) -> Read:
    """The configurations in a model's answer."""
    try:
        answer = json.loads(text, parse_constant=_no_constant, parse_int=_number)
    except (ValueError, RecursionError):
        return Read(
            problem=f"the answer is no JSON: {_short(text)}" if text.strip() else "the answer is empty"
        )
    listed = answer.get("proposals") if isinstance(answer, dict) else None
    if not isinstance(listed, list):
        return Read(problem=f"the answer has no list `proposals`: {_short(text)}")
    known = {one.name: one for one in parameters}
    good: list[Proposed] = []
    bad: list[str] = []
    for place, item in enumerate(listed[:MOST_PROPOSALS]):
        try:
            good.append(Proposed(_values(item, known), source))
        except ValueError as error:
            bad.append(f"proposal {place}: {error}")
    if len(listed) > MOST_PROPOSALS:
        bad.append(f"{len(listed) - MOST_PROPOSALS} more than {MOST_PROPOSALS} proposals")
    return Read(tuple(good), tuple(bad))


def _data(profile: Profile, target: str) -> dict[str, Any]:
    columns = [vars(one) for one in profile.columns if one.name != target][:MOST_COLUMNS]
    found: dict[str, Any] = {"rows": profile.rows, "columns": len(profile.columns) - 1, "features": columns}
    if profile.class_shares:
        found["class_shares"] = [round(one, 4) for one in profile.class_shares]
    return found


def _described(one: Parameter) -> dict[str, Any]:
    if one.kind == "choice":
        return {"name": one.name, "one_of": list(one.choices)}
    return {"name": one.name, "type": one.kind, "low": one.low, "high": one.high, "log": one.log}


def _worth_telling(tried: Sequence[Trial]) -> list[Trial]:
    """The best of them, best first, then the last."""
    results = sorted((one for one in tried if one.validation is not None), key=validation)
    best = results[:BEST_TOLD]
    return best + [one for one in tried[-LAST_TOLD:] if one not in best]


def _told(trial: Trial) -> dict[str, Any]:
    values = {name: value for name, value in trial.values.items() if name != "seed"} or "the start"
    if trial.validation is None:
        return {"values": values, "failed": _short(trial.problem)}
    return {"values": values, "result": float(f"{trial.validation:.6g}")}


def _schema(parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Names with values rather than a member for each name: vendors want every member to be required."""
    transform = {
        "type": "object",
        "properties": {
            "kind": {"type": "string", "enum": list(TRANSFORMS)},
            "columns": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["kind", "columns"],
    }
    kinds = [
        {"type": "number"},
        {"type": "string"},
        {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "string"}, transform]}},
    ]
    names = [*(one.name for one in parameters), *OF_THE_JOB]
    change = {
        "type": "object",
        "properties": {"name": {"type": "string", "enum": names}, "value": {"anyOf": kinds}},
        "required": ["name", "value"],
        "additionalProperties": False,
    }
    proposal = {
        "type": "object",
        "properties": {
            "reason": {"type": "string"},
            "changes": {"type": "array", "items": change},
        },
        "required": ["reason", "changes"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"proposals": {"type": "array", "items": proposal}},
        "required": ["proposals"],
        "additionalProperties": False,
    }


def _values(item: Any, known: Mapping[str, Parameter]) -> dict[str, Any]:
    """What a proposal changes; raises ValueError, which says what is wrong."""
    changes = item.get("changes") if isinstance(item, dict) else None
    if not isinstance(changes, list) or not changes:
        raise ValueError("it has no list `changes`")
    found: dict[str, Any] = {}
    for name, value in _pairs(changes):
        if name in found:
            raise ValueError(f"{_short(name)} is there twice")
        if name in known:
            _check(known[name], value)
        elif name not in OF_THE_JOB:
            raise ValueError(f"{_short(name)} is no parameter of the space")
        elif not _fits(name, value):
            raise ValueError(f"{name}: {_short(json.dumps(value))} is none; it takes {OF_THE_JOB[name]}")
        found[name] = value
    _check_written(found)
    algorithm = found.get(ALGORITHM)
    for name in found:
        if "." in name and ALGORITHM in known and name.partition(".")[0] != algorithm:
            raise ValueError(f"{name} goes with another algorithm than {algorithm}")
    return found


def _pairs(changes: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    for change in changes:
        if not isinstance(change, dict) or not isinstance(change.get("name"), str) or "value" not in change:
            raise ValueError("a change is no object with `name` and `value`")
        yield change["name"], change["value"]


def _check(parameter: Parameter, value: Any) -> None:
    name, said = parameter.name, _short(json.dumps(value))
    if parameter.kind == "choice":
        if not any(_same(value, one) for one in parameter.choices):
            raise ValueError(f"{name}: {said} is none of its choices")
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name}: {said} is no number")
    if not parameter.low <= value <= parameter.high:  # NaN is nowhere
        raise ValueError(f"{name}: {said} is not in [{parameter.low:g}, {parameter.high:g}]")
    if parameter.kind == "int" and value != int(value):
        raise ValueError(f"{name}: {said} is no whole number")


def _fits(name: str, value: Any) -> bool:
    """Whether it has the right shape; what is in it the training service checks."""
    if name == "class_weight":
        return isinstance(value, str)
    if not isinstance(value, list):
        return False
    return all(isinstance(one, str) if name == "excluded_columns" else _is_transform(one) for one in value)


def _is_transform(value: Any) -> bool:
    if not isinstance(value, dict) or not value.keys() <= {"kind", "columns", "bins"}:
        return False
    columns, bins = value.get("columns"), value.get("bins", 2)
    named = isinstance(columns, list) and all(isinstance(one, str) for one in columns)
    counted = isinstance(bins, int) and 0 <= bins <= MOST_BINS
    return named and counted and value.get("kind") in TRANSFORMS


def _same(value: Any, choice: Any) -> bool:
    """To Python, true is 1."""
    return isinstance(value, bool) == isinstance(choice, bool) and value == choice


def _check_written(values: Mapping[str, Any]) -> None:
    """Raises ValueError for what cannot be stored: numbers beyond all bounds, halves of characters."""
    try:
        json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        raise ValueError("it has a number or a text that cannot be stored") from None


def _number(text: str) -> float | int:
    """JSON's numbers are those of 64-bit floats; larger ones lose digits, or are infinite."""
    return int(text) if len(text) < MOST_DIGITS else float(text)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _short(text: str) -> str:
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    return line if len(line) <= LONGEST_TEXT else f"{line[:LONGEST_TEXT]}…"
