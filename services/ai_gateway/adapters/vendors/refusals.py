"""What it means when a vendor refuses."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from services.ai_gateway.application.ports import Failure, Key, VendorError
from services.ai_gateway.dialects.codec import Codec

_BY_STATUS = {
    401: Failure.KEY_REFUSED,
    403: Failure.KEY_REFUSED,
    404: Failure.MODEL_UNKNOWN,
    408: Failure.TIMEOUT,
    429: Failure.RATE_LIMITED,
    503: Failure.OVERLOADED,
    529: Failure.OVERLOADED,
}
# By the vendors' own names, which tell more than the status, or come without one.
_BY_KIND = {
    "API_KEY_INVALID": Failure.KEY_REFUSED,
    "insufficient_quota": Failure.KEY_REFUSED,
    "invalid_api_key": Failure.KEY_REFUSED,
    "authentication_error": Failure.KEY_REFUSED,
    "permission_error": Failure.KEY_REFUSED,
    "billing_error": Failure.KEY_REFUSED,
    "not_found_error": Failure.MODEL_UNKNOWN,
    "model_not_found": Failure.MODEL_UNKNOWN,
    "rate_limit_error": Failure.RATE_LIMITED,
    "rate_limit_exceeded": Failure.RATE_LIMITED,
    "RESOURCE_EXHAUSTED": Failure.RATE_LIMITED,
    "overloaded_error": Failure.OVERLOADED,
    "UNAVAILABLE": Failure.OVERLOADED,
    "invalid_request_error": Failure.BAD_REQUEST,
}
LONGEST_MESSAGE = 500
# What may be told of a key: less than anybody needs to tell it from others of its kind.
SHOWN = 10


def of_answer(  # noqa: PLR0917 (what came)
    vendor: str, codec: Codec, status: int, headers: Mapping[str, str], body: bytes, key: Key
) -> VendorError:
    """Of an HTTP answer that is no success."""
    said = codec.refusal(body)
    by_status = _BY_STATUS.get(status, Failure.SERVER if status >= 500 else Failure.BAD_REQUEST)
    failure = _BY_KIND.get(said.kind, by_status) if by_status.broken or status == 400 else by_status
    message = _without(key, said.message.encode()).decode("utf-8", "replace")[:LONGEST_MESSAGE]
    return VendorError(
        vendor,
        failure,
        message or f"it answered HTTP {status}",
        status,
        said.retry_after if said.retry_after is not None else retry_after(headers),
        _without(key, body),
        codec.dialect,
    )


def of_stream(vendor: str, codec: Codec, body: bytes, key: Key) -> VendorError:
    """Of an error in the place of a frame."""
    said = codec.refusal(body)
    failure = _BY_KIND.get(said.kind, Failure.SERVER)
    message = _without(key, said.message.encode()).decode("utf-8", "replace")[:LONGEST_MESSAGE]
    body = _without(key, body)
    return VendorError(vendor, failure, message, body=body, dialect=codec.dialect, charged=True)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds; None when nothing was said that can be understood."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(float(milliseconds) / 1000, 0.0)
        text = headers.get("retry-after", "")
        return max(float(text), 0.0) if text.replace(".", "", 1).isdigit() else _until(text)
    except ValueError:
        return None


def _until(date: str) -> float | None:
    if not date:
        return None
    return max(parsedate_to_datetime(date).timestamp() - time.time(), 0.0)


def _without(key: Key, text: bytes) -> bytes:
    """Vendors repeat the key they refuse, or its beginning."""
    start = key.secret[:SHOWN].encode()
    if not start or start not in text:
        return text
    return re.sub(re.escape(start) + rb"[\w.~+/=*-]*", b"***", text)
