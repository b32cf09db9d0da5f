"""A request id makes a call safe to repeat: its first success is answered again."""

from __future__ import annotations

import hashlib

from services.chassis.errors import AlreadyExists, invalid_fields
from services.training.application.ports import Replay, Transaction

LONGEST_ID = 128


def fingerprint(*parts: object) -> str:
    """A hash of what is asked for, to tell another request under the same id."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def earlier(tx: Transaction, request_id: str, method: str, print_: str) -> str | None:
    """Id of the resource that this request made before, or None; raises when the id meant something else."""
    if len(request_id) > LONGEST_ID:
        raise invalid_fields({"request_id": f"has to be at most {LONGEST_ID} characters"})
    replay = tx.requests.find(request_id) if request_id else None
    if replay is None:
        return None
    if (replay.method, replay.fingerprint) != (method, print_):
        message = f"The request id {request_id!r} was used before, for something else."
        raise AlreadyExists("REQUEST_ID_REUSED", message, request_id=request_id)
    return replay.resource_id


def remember(tx: Transaction, request_id: str, method: str, print_: str, resource_id: str) -> None:
    """Keeps what this request made, in the transaction that made it."""
    if request_id:
        tx.requests.add(request_id, Replay(method, print_, resource_id))
