"""How often each text of a column occurs, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

# What an entry takes beside its characters.
_ENTRY_BYTES = 150


class Occurrences:
    """Exact counts while they fit `room` bytes.

    Beyond, what is frequent stays, with counts that are a little low, and what is rare is forgotten
    (J. Misra, D. Gries, "Finding repeated elements", 1982).

    forgotten: no count is too low by more than this, and nothing that is missing occurs more often.
    """

    def __init__(self, room: int) -> None:
        self.counts: dict[str, int] = {}
        self.forgotten = 0
        self._room = room
        self._bytes = 0

    def add(self, texts: Sequence[str], counts: Sequence[int]) -> None:
        """Takes a block: distinct texts, and how often each occurs in it."""
        known = self.counts
        for text, count in zip(texts, counts, strict=True):
            if text in known:
                known[text] += count
            else:
                known[text] = count
                self._bytes += _ENTRY_BYTES + len(text)
        if self._bytes > self._room:
            self._forget()

    def _forget(self) -> None:
        """Takes so much from each count that no more than half remain."""
        amount = sorted(self.counts.values())[len(self.counts) // 2]
        self.counts = {text: count - amount for text, count in self.counts.items() if count > amount}
        self.forgotten += amount
        self._bytes = sum(_ENTRY_BYTES + len(text) for text in self.counts)
