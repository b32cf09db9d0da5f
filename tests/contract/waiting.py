"""Waiting for what other processes do: hardly longer than needed, never for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
SHORTEST, LONGEST = 0.02, 0.25


def until(look: Callable[[], Result], seconds: float = 10.0) -> Result:
    """What `look` answers soon after that is true; fails after `seconds`.

    Who has waited for long looks less often: looking takes the time of the machine from what is waited for.
    """
    began = time.monotonic()
    while not (found := look()):
        waited = time.monotonic() - began
        assert waited < seconds, f"nothing after {seconds:g} s"
        time.sleep(min(max(SHORTEST, waited / 20), LONGEST))
    return found
