"""Requests from REST: the JSON body, read strictly.

Envoy's transcoder drops unknown JSON fields without a word, so that `epohcs: 5` would train with the default.
Request messages that REST callers send a body for therefore take it raw, in a field `http_body`, and it is
read here: unknown and doubled fields, NaN, and wrong types are refused by name.
"""

from __future__ import annotations

import json
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from services.chassis import json_check
from services.chassis.errors import InvalidArgument, invalid_fields

BODY = "http_body"
REQUEST_ID = "request_id"


class RequestReader:
    """Fills requests in from their JSON body and checks what the protos mark REQUIRED."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._required: dict[str, tuple[str, ...]] = {}

    def read(self, request: Any, idempotency_key: str = "") -> None:
        """Completes `request` in place; raises InvalidArgument naming every field at fault.

        idempotency_key: what the header of that name says; stands in for an absent `request_id`.
        """
        descriptor = request.DESCRIPTOR
        if BODY in descriptor.fields_by_name and request.HasField(BODY):
            self._merge(request)
        if idempotency_key and REQUEST_ID in descriptor.fields_by_name and not request.request_id:
            request.request_id = idempotency_key
        missing = [name for name in self._required_fields(descriptor) if not getattr(request, name)]
        if missing:
            raise invalid_fields(dict.fromkeys(missing, "is required"))

    def _merge(self, request: Any) -> None:
        body = request.http_body.data
        if len(body) > self._most_bytes:
            message = f"The request body is larger than {self._most_bytes} bytes."
            raise InvalidArgument("BODY_TOO_LARGE", message, limit=self._most_bytes)
        request.ClearField(BODY)
        values = _parse(body) if body.strip() else {}
        found = dict(json_check.problems(values, request.DESCRIPTOR, hidden=BODY))
        bound = [name for field, _ in request.ListFields() for name in (field.name, field.json_name)]
        found.update({name: "is given by the path" for name in bound if name in values})
        if found:
            raise invalid_fields(found)
        try:
            json_format.ParseDict(values, request)
        except (json_format.ParseError, RecursionError) as error:
            raise InvalidArgument("INVALID_JSON", f"The request body cannot be read: {error}") from None

    def _required_fields(self, descriptor: Descriptor) -> tuple[str, ...]:
        if descriptor.full_name not in self._required:
            names = tuple(field.name for field in descriptor.fields if _is_required(field))
            self._required[descriptor.full_name] = names
        return self._required[descriptor.full_name]


def _is_required(field: FieldDescriptor) -> bool:
    behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.REQUIRED in behaviors


def _parse(body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument("INVALID_JSON", f"The request body is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise InvalidArgument("INVALID_JSON", "The request body has to be a JSON object.")
    return values


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice!r} is there twice")
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
