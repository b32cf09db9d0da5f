"""Waiting for what other processes do: never longer than needed, never for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def until(look: Callable[[], Result], seconds: float = 10.0) -> Result:
    """What `look` answers as soon as that is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"nothing after {seconds:g} s"
        time.sleep(0.02)
    return found
