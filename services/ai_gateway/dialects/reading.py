"""Reading JSON that callers sent: what is wrong with it, by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from services.chassis.errors import InvalidArgument, invalid_fields

Value = TypeVar("Value")
_PLACE = re.compile(r"^(.*?)(?: - at `\$\.?(.*)`)?$", re.DOTALL)
_PICTURES = re.compile(rb'"data:image/[^"]*"|"data"\s*:\s*"[A-Za-z0-9+/=]{1024,}"')
# Below this a picture is not worth looking for.
_LITTLE = 32 * 1024
# Values that ask for nothing, whatever the field.
_NOTHING = frozenset((b"null", b"false", b"0", b"0.0", b"{}", b"[]"))

# A member that is not there: msgspec knows no `Raw | None`.
ABSENT = msgspec.Raw()

members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read(decoder: msgspec.json.Decoder[Value], body: bytes) -> Value:
    """What `body` says; raises InvalidArgument naming the field at fault."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        found = _PLACE.match(str(error))
        text, place = (found[1], found[2] or "") if found else (str(error), "")
        raise invalid_fields({place or "body": text}) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument("INVALID_JSON", f"The request body is not JSON: {error}") from None


def fields(body: bytes) -> dict[str, bytes]:
    """The members of a JSON object, each as it is written. Raises InvalidArgument."""
    try:
        body.decode()  # what is passed over unread is not looked at otherwise
        return {name: bytes(value) for name, value in members(body).items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument("INVALID_JSON", f"The request body is not a JSON object: {error}") from None


def joined(members: dict[str, bytes]) -> bytes:
    """The object of `fields` again."""
    return b"{" + b",".join(dumped(name) + b":" + value for name, value in members.items()) + b"}"


def dumped(value: Any) -> bytes:
    """Compact JSON."""
    return msgspec.json.encode(value)


def raw(text: str) -> msgspec.Raw:
    """JSON text as a member of something that is to be written."""
    return msgspec.Raw(text.encode())


def text_of(value: msgspec.Raw) -> str:
    """JSON text of a member that was read; empty when it is null, or not there."""
    text = bytes(value).decode()
    return "" if text == "null" else text


def size_of(body: bytes) -> int:
    """Bytes that a model reads of it at most: all but the pictures in it."""
    if len(body) < _LITTLE:
        return len(body)
    return len(body) - sum(len(found[0]) for found in _PICTURES.finditer(body))


def raw_object(text: str, field: str) -> msgspec.Raw:
    """`raw`, of a JSON object; raises InvalidArgument when it is none."""
    try:
        members(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise invalid_fields({field: "is not a JSON object"}) from None
    return raw(text)


def refuse(members: Mapping[str, bytes], names: Iterable[str]) -> None:
    """Raises InvalidArgument for members that would change the answer, and that cannot be translated."""
    given = [name for name in names if members.get(name, b"null") not in _NOTHING]
    if given:
        raise invalid_fields(dict.fromkeys(given, "cannot be translated for this model"))
