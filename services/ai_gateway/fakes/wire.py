"""What a vendor's dialect has to say, and the pieces it says it in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from time import time
from typing import Any, NamedTuple, Protocol

import msgspec
from aiohttp import web

from services.ai_gateway.fakes.faults import Fault
from services.ai_gateway.fakes.speech import UNLIMITED, Answer, Ask, Usage

encode = msgspec.json.Encoder().encode
_RETRY = re.compile(r"\.0+$")


class Frame(NamedTuple):
    """One write of a stream, and the tokens that it brings."""

    data: bytes
    said: int = 0
    thought: int = 0
    shown: bool = True  # False: what it brings is not content yet, so no fault counts it as a piece


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in one body."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    type: str = "application/json"


class Refused(Exception):
    """A request that the vendor would not serve."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def page(items: Sequence[dict[str, Any]], request: web.Request, after: str) -> dict[str, Any]:
    """A page of a list. after: the parameter that names the last item of the page before."""
    names = [item["id"] for item in items]
    cursor = request.query.get(after)
    start = names.index(cursor) + 1 if cursor in names else 0
    found = items[start : start + int(request.query.get("limit", 20))]
    more = start + len(found) < len(items)
    ends = {"first_id": found[0]["id"], "last_id": found[-1]["id"]} if found else {}
    return {"data": found, "has_more": more, "first_id": None, "last_id": None} | ends


class Dialect(Protocol):
    """How a vendor writes. `number` counts the process's calls and makes ids."""

    vendor: str

    def key(self, headers: Mapping[str, str]) -> str:
        """The API key that was sent, or an empty string."""

    def wrong_key(self, key: str, number: int) -> Reply:
        """The refusal of a key, or of none."""

    def check(self, operation: str, headers: Mapping[str, str], body: dict[str, Any], number: int) -> None:
        """Raises Refused for what the vendor would call malformed."""

    def ask(self, operation: str, model: str, body: dict[str, Any]) -> Ask:
        """What is asked; `model` is the one in the path, if the vendor has it there."""

    def id(self, number: int) -> str:
        """Of the answer, as the client sees it."""

    def whole(self, operation: str, ask: Ask, body: dict[str, Any], number: int) -> tuple[bytes, Usage]:
        """An answer in one body, and what it is charged for."""

    def frames(self, ask: Ask, answer: Answer, number: int) -> Iterator[Frame]:
        """A streamed answer, from the first frame to the last."""

    def failure(self, status: int, number: int, model: str, fault: Fault | None = None) -> Reply:
        """The vendor's error of that status."""

    def broken(self, status: int) -> bytes:
        """An error inside a stream."""

    def headers(self, number: int) -> dict[str, str]:
        """Of every answer."""


def limit(*values: object) -> int:
    """The first limit of output tokens that was given."""
    return next((value for value in values if isinstance(value, int) and value > 0), UNLIMITED)


def bearer(headers: Mapping[str, str]) -> str:
    """The token of an Authorization header."""
    return headers.get("Authorization", "").removeprefix("Bearer ").strip()


def masked(key: str) -> str:
    """A key as vendors print it back."""
    return f"{key[:3]}***{key[-2:]}"


def retry_after(fault: Fault | None) -> dict[str, str]:
    """The header, if the fault has one: whole or broken seconds, or a date."""
    if fault is None or fault.retry_after is None:
        return {}
    if fault.as_date:
        return {"retry-after": formatdate(time() + fault.retry_after, usegmt=True)}
    return {"retry-after": _RETRY.sub("", str(fault.retry_after))}


def bad_gateway() -> Reply:
    """What stands before the vendors says it in HTML."""
    page = (
        "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1>"
    )
    return Reply(502, f"{page}</center>\r\n</body>\r\n</html>\r\n".encode(), type="text/html")
