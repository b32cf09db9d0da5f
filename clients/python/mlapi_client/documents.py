"""Messages as the JSON that REST answers: proto field names, every field there."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message


def to_document(message: Message) -> dict[str, Any]:
    """For `json.dumps`. Whole numbers of 64 bits are text, as proto's JSON has it."""
    document: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return document
