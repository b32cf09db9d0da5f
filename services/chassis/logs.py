"""JSON logs, one object a line, each with the request and the trace that it belongs to."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
TRACE_ID: ContextVar[str] = ContextVar("trace_id", default="")


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
            "request_id": REQUEST_ID.get(),
            "trace_id": TRACE_ID.get(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps({key: value for key, value in line.items() if value != ""}, default=str)


def configure(service: str, level: str, file: Path | None) -> None:
    """Sends the root logger to standard output and, when asked, to a file as well."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(file))
    for handler in handlers:
        handler.setFormatter(JsonFormatter(service))
    logging.basicConfig(level=level, handlers=handlers, force=True)
    # A record need not know its thread, process or task: looking them up costs more than writing the line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
