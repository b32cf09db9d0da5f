"""Pages of lists: their sizes, and tokens that say where the next one begins."""

from __future__ import annotations

import base64

from services.chassis.errors import InvalidArgument, invalid_fields

DEFAULT_SIZE, LARGEST_SIZE = 50, 1_000


def size(asked: int) -> int:
    """Rows of a page; raises InvalidArgument."""
    if asked < 0:
        raise invalid_fields({"page_size": f"has to be at least 0, got {asked}"})
    return min(asked or DEFAULT_SIZE, LARGEST_SIZE)


def token(kind: str, seconds: float, resource_id: str) -> str:
    """Names the last one of a page by when it was made, in seconds since 1970, and its id."""
    return written(kind, f"{seconds!r} {resource_id}")


def place(kind: str, text: str) -> tuple[float, str] | None:
    """What `token` was made of; None for the first page. Raises InvalidArgument."""
    if not text:
        return None
    made, _, resource_id = read(kind, text).partition(" ")
    try:
        return float(made), resource_id
    except ValueError:
        raise no_token(text) from None


def written(kind: str, text: str) -> str:
    """A token of that list."""
    return base64.urlsafe_b64encode(f"{kind}:{text}".encode()).decode().rstrip("=")


def read(kind: str, text: str) -> str:
    """What was written; raises InvalidArgument for what is no token of that list."""
    try:
        said = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise no_token(text) from None
    found, _, rest = said.partition(":")
    if found != kind:
        raise no_token(text)
    return rest


def no_token(text: str) -> InvalidArgument:
    """The error for it."""
    return InvalidArgument("INVALID_PAGE_TOKEN", f"{text[:100]!r} is no page token of this list.")
