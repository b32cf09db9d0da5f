"""JSON logs, one object a line, each with the request and the trace that it belongs to."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from services.chassis.redaction import redacted

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
TRACE_ID: ContextVar[str] = ContextVar("trace_id", default="")
# `json.dumps` with a default would build an encoder for every line.
_encode = json.JSONEncoder(default=str).encode


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object; `extra={"fields": {...}}` adds its own fields."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, variable in (("request_id", REQUEST_ID), ("trace_id", TRACE_ID)):
            if value := variable.get():  # the first is what the caller says it is
                line[name] = redacted(value)
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = record.exc_text or self.formatException(record.exc_info)
        return _encode(line)


class Redacting(logging.Filter):
    """Takes e-mail addresses, cards and keys out of a record's message, fields and exception."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true: nothing is left out."""
        if hasattr(record, "redacted"):  # by another handler
            return True
        record.redacted = True
        record.msg, record.args = redacted(record.getMessage()), None
        if fields := getattr(record, "fields", None):
            record.fields = {name: _redacted(value) for name, value in fields.items()}
        if record.exc_info:
            record.exc_text = redacted(_exceptions.formatException(record.exc_info))
        return True


_exceptions = logging.Formatter()


def _redacted(value: Any) -> Any:
    """Of any value that JSON has, or that is written as text."""
    if isinstance(value, bool | float | None):
        return value
    if isinstance(value, int):
        return value if abs(value) < 10**12 else _number(value)
    if isinstance(value, Mapping):
        return {name: _redacted(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(one) for one in value]
    return redacted(str(value))


def _number(value: int) -> int | str:
    text = redacted(str(value))
    return value if text == str(value) else text


def configure(service: str, level: str, file: logging.Handler | None = None) -> None:
    """Sends the root logger to standard output and, when asked, to a file as well."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout), *([file] if file else ())]
    for handler in handlers:
        handler.setFormatter(JsonFormatter(service))
        handler.addFilter(Redacting())
    logging.basicConfig(level=level, handlers=handlers, force=True)
    # A record need not know its thread, process, task or place in the code: looking them up costs more than
    # writing the line.
    logging._srcfile = None  # as Python's manual advises
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
