"""OpenAI's list of models."""

from __future__ import annotations

from collections.abc import Sequence

from services.ai_gateway.dialects.reading import dumped

# OpenAI says when a model was made; nobody tells us.
_CREATED = 0


def written(models: Sequence[tuple[str, str]]) -> bytes:
    """(name, who owns it) of each."""
    return dumped(
        {
            "object": "list",
            "data": [
                {"id": name, "object": "model", "created": _CREATED, "owned_by": owner}
                for name, owner in models
            ],
        }
    )
