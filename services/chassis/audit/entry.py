"""An entry of the audit log, and the hash that ties it to the one before."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from services.chassis.redaction import redacted

# What the first entry comes after.
NOTHING = "0" * 64
# Characters kept of what callers choose.
LONGEST = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """A call that has ended. Nothing of what was asked but the name of what it was about.

    time: UTC, ISO 8601 with microseconds. key: its public id. code: as gRPC names it. left_out: how many
    other refusals of the same key this one stands for.
    """

    time: str
    tenant: str
    key: str
    method: str
    resource: str
    request_id: str
    trace_id: str
    code: str
    left_out: int = 0


def digest(seq: int, entry: Entry, previous: str) -> str:
    """SHA-256, in hex, of the entry as JSON: names sorted, no spaces, ASCII only."""
    fields = {**asdict(entry), "seq": seq, "previous": previous}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def clean(text: str) -> str:
    """What a caller chose, as it may stand in the log: short, printable, nothing secret.

    No database changes any of it, and so the hash stays that of what is read.
    """
    kept = "".join(character if character.isprintable() else "?" for character in text[: 2 * LONGEST])
    return redacted(kept)[:LONGEST]
