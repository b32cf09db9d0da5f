"""Checks JSON values against a protobuf message, and says what is wrong in words for the caller.

The library's own parser is lenient where this API is not ("NaN" for a number, an array for a message, two
members of a oneof) and speaks of Python when it refuses.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor

Problem: TypeAlias = tuple[str, str]  # field path, what is wrong

# Messages whose JSON form is not an object of their fields; the library reads them.
_WELL_KNOWN = "google.protobuf."
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_INT64_TEXT = re.compile("-?[0-9]{1,20}")
_REALS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)


def problems(
    values: dict[str, Any], descriptor: Descriptor, hidden: str = "", path: str = ""
) -> Iterator[Problem]:
    """Yields (path, problem) for everything in `values` that `descriptor` does not allow.

    hidden: a field that callers may not set. Null stands for an absent field.
    """
    allowed = [field for field in descriptor.fields if field.name != hidden]
    known = {name: field for field in allowed for name in (field.name, field.json_name)}
    chosen: dict[str, str] = {}
    given: dict[str, str] = {}  # field → the name that it was given by
    for name, value in values.items():
        field = known.get(name)
        if field is None:
            yield path + name, _unknown(name, descriptor, hidden)
        elif given.setdefault(field.name, name) != name:
            yield path + name, f"is the same field as {given[field.name]!r}"
        elif value is not None:
            yield from _choice(field, chosen, path)
            yield from _field(field, value, path + name)


def _unknown(name: str, descriptor: Descriptor, hidden: str) -> str:
    names = [field.name for field in descriptor.fields if field.name != hidden]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(names)}"
    return f"is not a field of {descriptor.name}; {hint}"


def _choice(field: FieldDescriptor, chosen: dict[str, str], path: str) -> Iterator[Problem]:
    """A oneof takes one member; `optional` fields are oneofs of one, and never clash."""
    group = field.containing_oneof
    if group and chosen.setdefault(group.name, field.name) != field.name:
        yield path + field.name, f"cannot stand beside {chosen[group.name]!r}: at most one {group.name}"


def _field(field: FieldDescriptor, value: Any, path: str) -> Iterator[Problem]:
    if field.message_type and field.message_type.GetOptions().map_entry:
        yield from _map(field.message_type, value, path)
    elif field.is_repeated:
        yield from _list(field, value, path)
    else:
        yield from _single(field, value, path)


def _map(entry: Descriptor, value: Any, path: str) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield path, f"has to be an object, got {_kind(value)}"
        return
    for key, item in value.items():
        yield from _single(entry.fields_by_name["value"], item, f"{path}.{key}")


def _list(field: FieldDescriptor, value: Any, path: str) -> Iterator[Problem]:
    if not isinstance(value, list):
        yield path, f"has to be an array, got {_kind(value)}"
        return
    for position, item in enumerate(value):
        yield from _single(field, item, f"{path}[{position}]")


def _single(field: FieldDescriptor, value: Any, path: str) -> Iterator[Problem]:
    if field.message_type is None:
        problem = _scalar(field, value)
        if problem:
            yield path, problem
    elif field.message_type.full_name.startswith(_WELL_KNOWN) and field.message_type.name != "Struct":
        return
    elif not isinstance(value, dict):
        yield path, f"has to be an object, got {_kind(value)}"
    elif field.message_type.name != "Struct":
        yield from problems(value, field.message_type, path=f"{path}.")


def _scalar(field: FieldDescriptor, value: Any) -> str | None:
    if field.cpp_type in _INTEGERS:
        return _integer(value, *_INTEGERS[field.cpp_type])
    if field.cpp_type in _REALS:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and _finite(value)
        return None if fits else f"has to be a finite number, got {_kind(value)}"
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return None if isinstance(value, bool) else f"has to be true or false, got {_kind(value)}"
    if field.enum_type is not None:
        names = [item.name for item in field.enum_type.values if item.number]
        return None if value in names else f"has to be one of {', '.join(names)}, got {_kind(value)}"
    if not isinstance(value, str):
        return f"has to be text, got {_kind(value)}"
    return None if _encodable(value) else "holds half a surrogate pair, which is not text"


def _integer(value: Any, low: int, high: int) -> str | None:
    # Proto JSON writes 64-bit integers as text.
    if isinstance(value, str) and high > 2**32 and _INT64_TEXT.fullmatch(value):
        value = int(value)
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if not whole or isinstance(value, bool):
        return f"has to be a whole number, got {_kind(value)}"
    return None if low <= value <= high else f"has to be from {low} to {high}, got {_kind(value)}"


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: Any) -> str:
    """A short word for the value that was sent."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
