"""Page tokens: opaque to callers, and good only for the list that gave them out."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from services.chassis.errors import InvalidArgument, invalid_fields
from services.training.application.ports import Page

Item = TypeVar("Item")
DEFAULT_SIZE = 50
LARGEST_SIZE = 1000


def parse(kind: str, size: int, token: str, default: int = DEFAULT_SIZE, largest: int = LARGEST_SIZE) -> Page:
    """The page that a caller asks for; `kind` names the list."""
    if size < 0:
        raise invalid_fields({"page_size": f"has to be at least 0, got {size}"})
    return Page(min(size or default, largest), position(kind, token) if token else None)


def token(kind: str, position: int) -> str:
    """The token for what comes after `position` in the list `kind`."""
    return base64.urlsafe_b64encode(f"{kind}:{position}".encode()).decode().rstrip("=")


def position(kind: str, token: str) -> int:
    """The inverse of `token`; raises INVALID_PAGE_TOKEN."""
    prefix, _, number = _text(token).partition(":")
    if prefix == kind and number.isascii() and number.isdecimal() and len(number) < 19:
        return int(number)
    raise _invalid(token)


def _text(token: str) -> str:
    """What a token holds; raises INVALID_PAGE_TOKEN."""
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise _invalid(token) from None


def _invalid(token: str) -> InvalidArgument:
    return InvalidArgument("INVALID_PAGE_TOKEN", f"{token[:100]!r} is no page token or cursor of this list.")


def parse_named(kind: str, size: int, token: str) -> tuple[int, str]:
    """The same of a list in the order of names: how many, and after which name; empty for the first page."""
    page = parse(kind, size, "")
    return page.size, _name(kind, token) if token else ""


def name_token(kind: str, name: str) -> str:
    """The token for what comes after `name` in the list `kind`."""
    return base64.urlsafe_b64encode(f"{kind}:{name}".encode()).decode().rstrip("=")


def _name(kind: str, token: str) -> str:
    """The inverse of `name_token`; raises INVALID_PAGE_TOKEN."""
    prefix, _, name = _text(token).partition(":")
    if prefix == kind:
        return name
    raise _invalid(token)


def one_more(page: Page) -> Page:
    """The page and one item beyond it, which tells whether there is a next page."""
    return replace(page, size=page.size + 1)


def cut(kind: str, page: Page, items: Sequence[tuple[int, Item]]) -> tuple[list[Item], str]:
    """The page out of what `one_more` brought, and the token of the next; empty on the last."""
    following = token(kind, items[page.size - 1][0]) if len(items) > page.size else ""
    return [item for _, item in items[: page.size]], following
