"""What a model is to say, whatever it is asked."""

from __future__ import annotations

import msgspec


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text for all chats that match; an empty field matches any."""

    says: str
    vendor: str = ""
    model: str = ""


class Scripts:
    """Those in force; of several that match the last that was added."""

    def __init__(self) -> None:
        self._scripts: list[Script] = []

    def add(self, script: Script) -> None:
        self._scripts.insert(0, script)

    def clear(self) -> None:
        self._scripts.clear()

    def line(self, vendor: str, model: str) -> str | None:
        """What that model says; None: what it says by itself."""
        for script in self._scripts:
            if script.vendor in {"", vendor} and script.model in {"", model}:
                return script.says
        return None
