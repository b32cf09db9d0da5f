"""Messages as the JSON that REST answers: proto field names, every field there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from mlapi_client.errors import InvalidValue

Written = TypeVar("Written", bound=Message)


def to_document(message: Message) -> dict[str, Any]:
    """For `json.dumps`. Whole numbers of 64 bits are text, as proto's JSON has it."""
    document: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return document


def from_document(path: str, value: Mapping[str, Any], message: Written) -> Written:
    """The message, filled in with a JSON object as REST takes it; raises InvalidValue naming `path`."""
    try:
        return json_format.ParseDict(dict(value), message)
    except json_format.ParseError as error:
        raise InvalidValue.of(path, str(error)) from None
