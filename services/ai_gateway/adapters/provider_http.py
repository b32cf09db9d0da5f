"""The vendors, asked over HTTPS whether they take our key: by their list of models, which costs nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib import error, request

from services.ai_gateway.application.ports import Check, Keys
from services.chassis.telemetry import VERSION

TIMEOUT_SECONDS = 4.0


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _anthropic(key: str) -> dict[str, str]:
    return {"x-api-key": key, "anthropic-version": "2023-06-01"}


def _gemini(key: str) -> dict[str, str]:
    return {"x-goog-api-key": key}


@dataclass(frozen=True)
class Vendor:
    """How a vendor is asked. path: beyond the base URL. has_list: whether the path is dependably there; where
    it is not, any answer counts that is neither a refused key nor a failure of the vendor's."""

    name: str
    path: str
    headers: Callable[[str], Mapping[str, str]]
    has_list: bool = True


VENDORS = (
    Vendor("openai", "/models", _bearer),
    Vendor("anthropic", "/v1/models?limit=1", _anthropic),
    Vendor("perplexity", "/models", _bearer, has_list=False),
    Vendor("gemini", "/v1beta/models?pageSize=1", _gemini),
    Vendor("xai", "/models", _bearer),
)


class HttpProvider:
    """See `Provider`. Messages are made of status codes and the system's words only: an exception's text may
    hold a header, and an answer's body may repeat the key."""

    def __init__(self, vendor: Vendor, keys: Keys, base_url: str, timeout: float = TIMEOUT_SECONDS) -> None:
        self.name = vendor.name
        self._vendor = vendor
        self._keys = keys
        self._base_url = base_url
        self._timeout = timeout
        # A thread of its own, so that a vendor that hangs delays nobody else.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=vendor.name)

    @property
    def configured(self) -> bool:
        return bool(self._keys.of(self.name))

    async def check(self) -> Check:
        began = time.perf_counter()
        try:
            # The socket's timeout is for each read: one that drips would go on for ever.
            async with asyncio.timeout(self._timeout):
                code = await asyncio.get_running_loop().run_in_executor(self._thread, self._ask)
        except TimeoutError:
            return self._failed(f"gave no answer within {self._timeout:g} seconds", began)
        except OSError as problem:
            return self._failed(f"cannot be reached: {_reason(problem)}", began)
        except Exception as problem:
            return self._failed(f"gave no answer that is HTTP ({type(problem).__name__})", began)
        return self._judged(code, began)

    def _ask(self) -> int:
        """The status code. Blocks."""
        headers = {"User-Agent": f"ml-training-api/{VERSION}", "Accept": "application/json"}
        headers.update(self._vendor.headers(self._keys.of(self.name)[0].secret))
        asked = request.Request(self._base_url + self._vendor.path, headers=headers)
        try:
            with request.build_opener(_NoRedirects).open(asked, timeout=self._timeout) as answer:
                return int(answer.status)
        except error.HTTPError as refusal:
            with refusal:
                return refusal.code

    def _judged(self, code: int, began: float) -> Check:
        if code in (401, 403):
            return self._failed(f"refuses the key (HTTP {code})", began)
        if code < 300 or (not self._vendor.has_list and code < 500):
            return Check(True, "Answers.", time.perf_counter() - began)
        return self._failed(f"answered HTTP {code}", began)

    def _failed(self, what: str, began: float) -> Check:
        return Check(False, f"The provider {what}.", time.perf_counter() - began)


class _NoRedirects(request.HTTPRedirectHandler):
    """Following one would hand the key to whatever host it names."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _reason(problem: OSError) -> str:
    cause = problem.reason if isinstance(problem, error.URLError) else problem
    if isinstance(cause, TimeoutError):
        return "it timed out"
    return (isinstance(cause, OSError) and cause.strerror) or type(cause).__name__
