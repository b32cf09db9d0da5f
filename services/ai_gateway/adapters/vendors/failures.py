"""What goes wrong on the way to a vendor and back, as VendorError; exceptions' texts, which may hold headers,
stay here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from services.ai_gateway.application.ports import Failure, VendorError


@contextmanager
def reachable(vendor: str) -> Iterator[None]:
    """Around a request and the reading of its answer."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError:
        raise VendorError(vendor, Failure.TIMEOUT, "it cannot be reached in time") from None
    except TimeoutError:
        raise broken(vendor, Failure.TIMEOUT, "it took too long") from None
    except aiohttp.ClientConnectorError as error:
        text = f"it cannot be reached ({type(error).__name__})"
        raise VendorError(vendor, Failure.CONNECTION, text) from None
    except (aiohttp.ClientError, OSError) as error:
        raise broken(vendor, Failure.CONNECTION, f"it hung up ({type(error).__name__})") from None


@contextmanager
def readable(vendor: str) -> Iterator[None]:
    """Around what makes sense of an answer."""
    try:
        yield
    except ValueError:  # msgspec's are such
        raise broken(vendor, Failure.MALFORMED, "its answer cannot be read") from None


def broken(vendor: str, failure: Failure, message: str) -> VendorError:
    """Of a call that the vendor had taken, and may charge for."""
    return VendorError(vendor, failure, message, charged=True)
