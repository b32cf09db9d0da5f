"""Hyperparameters as keyword arguments and as `name=value` text. The generated messages know the names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from mlapi.training.v1 import job_service_pb2

from mlapi_client.errors import InvalidValue

_ONEOF: Any = job_service_pb2.CreateJobRequest.DESCRIPTOR.oneofs_by_name["algorithm"]
ALGORITHMS: tuple[str, ...] = tuple(field.name for field in _ONEOF.fields)


def set_algorithm(
    request: job_service_pb2.CreateJobRequest, algorithm: str | None, hyperparameters: Mapping[str, Any]
) -> None:
    """Sets the algorithm; what is not in `hyperparameters` gets the service's defaults.

    Raises InvalidValue, a ValueError, naming what is wrong and the nearest name.
    """
    if algorithm is None:
        if hyperparameters:
            raise InvalidValue.of("algorithm", "is required with hyperparameters")
        return
    _message(algorithm)  # raises for an unknown one
    message = getattr(request, algorithm)
    message.SetInParent()
    for name, value in hyperparameters.items():
        _set(message, algorithm, name, value)


def parse(algorithm: str, assignments: Iterable[str]) -> dict[str, Any]:
    """`["learning_rate=0.01", "hidden_sizes=64,32"]` as values; raises InvalidValue.

    One of a part has the part's name before its own: `mlp.learning_rate`.
    """
    values = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise InvalidValue.of(f"{algorithm}.{name}", "has to be written NAME=VALUE")
        field = _field(algorithm, name)
        if field.enum_type:
            values[name] = text.upper()
            continue
        values[name] = _parsed(f"[{text.strip('[]')}]" if field.is_repeated else text, algorithm, name)
    return values


def _parsed(text: str, algorithm: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise InvalidValue.of(f"{algorithm}.{name}", f"{text!r} is not a number") from None


def _set(message: Any, algorithm: str, name: str, value: Any) -> None:
    field = _field(algorithm, name)
    if isinstance(value, Mapping):
        for inner, one in value.items():
            _set(message, algorithm, f"{name}.{inner}", one)
        return
    *parts, own = name.split(".")
    for part in parts:
        message = getattr(message, part)
    try:
        if field.is_repeated:
            getattr(message, own)[:] = value
        elif isinstance(value, str) and field.enum_type:
            setattr(message, own, field.enum_type.values_by_name[value].number)
        else:
            setattr(message, own, value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidValue.of(f"{algorithm}.{name}", f"cannot be {value!r}: {error}") from None


def _field(algorithm: str, name: str) -> Any:
    message = _message(algorithm)
    *parts, own = name.split(".")
    for part in parts:
        message = _among(message, part, algorithm, name).message_type or message
    return _among(message, own, algorithm, name)


def _among(message: Any, wanted: str, algorithm: str, name: str) -> Any:
    fields: Mapping[str, Any] = message.fields_by_name
    if wanted not in fields:
        nearest = _nearest(wanted, fields)
        raise InvalidValue.of(f"{algorithm}.{name}", f"{algorithm} has no such hyperparameter{nearest}")
    return fields[wanted]


def _message(algorithm: str) -> Any:
    if algorithm not in ALGORITHMS:
        nearest = _nearest(algorithm, ALGORITHMS)
        raise InvalidValue.of("algorithm", f"{algorithm!r} is unknown{nearest}")
    return _ONEOF.containing_type.fields_by_name[algorithm].message_type


def _nearest(name: str, names: Iterable[str]) -> str:
    known = sorted(names)
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(known)}"
