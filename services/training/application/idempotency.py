"""A request id makes a call safe to repeat: its first success is answered again."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TypeVar

from services.chassis.errors import AlreadyExists, invalid_fields
from services.training.application.ports import Replay, Resource, Transaction

LONGEST_ID = 128
Answer = TypeVar("Answer")


def fingerprint(*parts: object) -> str:
    """A hash of what is asked for, to tell another request under the same id.

    parts: text, numbers, enums, None, and tuples and dataclasses of these; their repr is the same in every
    process, whereas that of a set or of a dict built in another order is not.
    """
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def check_request_id(request_id: str) -> None:
    """Raises InvalidArgument for an id that is too long; `earlier` does so by itself."""
    if len(request_id) > LONGEST_ID:
        raise invalid_fields({"request_id": f"has to be at most {LONGEST_ID} characters"})


def earlier(tx: Transaction, request_id: str, method: str, print_: str) -> Replay | None:
    """What this request was answered before, or None: then it is to be done, and `remember`ed.

    In the transaction that does it, before anything is looked at: a repeat is answered as the first was,
    whatever has become of the resource. Raises AlreadyExists when the id meant something else.
    """
    check_request_id(request_id)
    replay = tx.requests.find(request_id) if request_id else None
    if replay and (replay.method, replay.fingerprint) != (method, print_):
        message = f"The request id {request_id!r} was used before, for something else."
        raise AlreadyExists("REQUEST_ID_REUSED", message, request_id=request_id)
    return replay


def answer_of(replay: Replay, kind: type[Answer]) -> Answer:
    """The answer, for a method that always answers one of `kind`."""
    if not isinstance(replay.answer, kind):
        raise TypeError(f"{replay.method} answered {type(replay.answer).__name__}, not {kind.__name__}")
    return replay.answer


def remember(  # noqa: PLR0917 (what is kept, in its order)
    tx: Transaction, request_id: str, method: str, print_: str, answer: Resource | None, now: datetime
) -> None:
    """Keeps what this request is answered, in the transaction that did it. answer: None for an empty one."""
    if request_id:
        tx.requests.add(request_id, Replay(method, print_, answer), now)
