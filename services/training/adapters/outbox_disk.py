"""An attempt's outbox: a file that only grows, a line of JSON for each record. Line n is seq n."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import Field

from services.training.application.ports import Artifacts, Outboxes, Record
from services.training.domain.candidate import CandidateResult
from services.training.domain.checkpoint import Checkpoint
from services.training.domain.history import JobEvent, MetricPoint

log = logging.getLogger("outbox")


@dataclass(frozen=True)
class _Point:
    record: MetricPoint
    kind: Literal["point"] = "point"


@dataclass(frozen=True)
class _Event:
    record: JobEvent
    kind: Literal["event"] = "event"


@dataclass(frozen=True)
class _Checkpoint:
    record: Checkpoint
    kind: Literal["checkpoint"] = "checkpoint"


@dataclass(frozen=True)
class _Result:
    record: CandidateResult
    kind: Literal["result"] = "result"


_Line: TypeAlias = Annotated[_Point | _Event | _Checkpoint | _Result, Field(discriminator="kind")]
_lines: TypeAdapter[Any] = TypeAdapter(_Line)
_KINDS: dict[type, Any] = {
    MetricPoint: _Point,
    JobEvent: _Event,
    Checkpoint: _Checkpoint,
    CandidateResult: _Result,
}


class DiskOutbox:
    """See `Outbox`. A record that a crash cut short was never there.

    What the disk has no room for waits in memory, where this process reads it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = Lock()
        self._seq = 0
        self._unwritten = b""
        self._waiting: list[tuple[int, Record]] = []
        self._offset, self._read = 0, 0

    def append(self, record: Record) -> None:
        with self._guard:
            self._seq += 1
            if not isinstance(record, Checkpoint):
                record = replace(record, seq=self._seq)
            self._unwritten += _lines.dump_json(_KINDS[type(record)](record)) + b"\n"
            self._waiting.append((self._seq, record))
            try:
                self._write()
            except OSError as error:
                if len(self._waiting) == 1:  # said once for each time
                    log.warning("the outbox cannot be written, and waits in memory: %s", error)
            else:
                self._waiting.clear()

    def _write(self) -> None:
        with self._path.open("ab", buffering=0) as file:
            while self._unwritten:
                self._unwritten = self._unwritten[file.write(self._unwritten) :]

    def read(self, after: int, limit: int) -> list[tuple[int, Record]]:
        with self._guard:
            found = self._written(after, limit)
            missing = [one for one in self._waiting if one[0] > max(after, self._read)]
            return found + missing[: limit - len(found)]

    def _written(self, after: int, limit: int) -> list[tuple[int, Record]]:
        found: list[tuple[int, Record]] = []
        if after < self._read or not self._path.exists():
            self._offset, self._read = 0, 0
        if not self._path.exists():
            return found
        with self._path.open("rb") as file:
            file.seek(self._offset)
            while len(found) < limit and (line := file.readline()).endswith(b"\n"):
                self._read += 1
                self._offset += len(line)
                if self._read > after and (record := _record(line)):
                    found.append((self._read, record))
        return found


def _record(line: bytes) -> Record | None:
    """None for a line that the disk has damaged: what it said is lost, the rest is not."""
    try:
        record: Record = _lines.validate_json(line).record
    except ValidationError:
        log.warning("a line of the outbox is damaged", exc_info=True)
        return None
    return record


def disk_outboxes(artifacts: Artifacts) -> Outboxes:
    """Each attempt's outbox in its workspace, and gone with it."""
    return lambda job_id, attempt: DiskOutbox(artifacts.workspace(job_id, attempt) / "outbox.jsonl")
