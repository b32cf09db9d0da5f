"""How many refused calls are written down: a stranger may not fill the disk."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from services.chassis.audit.entry import Entry

# Codes of calls whose caller may not make them; of these reads are written down too.
STRANGERS = frozenset(("UNAUTHENTICATED", "PERMISSION_DENIED"))
# Codes of calls that were turned away before they did anything.
REFUSED = STRANGERS | {"RESOURCE_EXHAUSTED"}
# Of each key in a period, and of all strangers together.
MOST = 10


class Refusals:
    """The first few of each key in a period are written when they come, and at its end the last one with the
    number of those between. So many strangers hide nobody who has a key. One event loop."""

    def __init__(self) -> None:
        self._written: Counter[str] = Counter()
        self._last: dict[str, Entry] = {}

    def take(self, entry: Entry) -> bool:
        """Whether it is to be written now."""
        if self._written[entry.key] < MOST:
            self._written[entry.key] += 1
            return True
        before = self._last.get(entry.key)
        self._last[entry.key] = replace(entry, left_out=before.left_out + 1 if before else 0)
        return False

    def end_period(self) -> list[Entry]:
        """What is still to be written of it."""
        rest = list(self._last.values())
        self._written.clear()
        self._last.clear()
        return rest
