"""Whether a request is so simple that a cheap model will do: a rule of thumb that takes microseconds.

It errs towards "no": a wrong "yes" costs an answer, a wrong "no" some cents.
"""

from __future__ import annotations

import re

from services.ai_gateway.domain.prompt import Prompt

MOST_BYTES, MOST_TURNS, MOST_TOKENS = 2_000, 4, 1_000
# Members of a request that ask for more than words.
_DEMANDS = frozenset(
    [
        "tools",
        "functions",
        "response_format",
        "reasoning_effort",
        "reasoning",
        "thinking",
        "output_config",
        "modalities",
        "audio",
    ]
)
_HARD = re.compile(
    rb"```|step by step|\b(prove|derive|debug|refactor|implement|optimi[sz]e|analy[sz]e|compare|translate"
    rb"|architecture|algorithm|theorem|contract|diagnos\w+)\b",
    re.IGNORECASE,
)


def is_simple(prompt: Prompt) -> bool:
    """A short question without pictures, tools, schemas, code or words of hard work."""
    if prompt.size > MOST_BYTES or prompt.images or prompt.choices != 1:
        return False
    if prompt.max_tokens is not None and prompt.max_tokens > MOST_TOKENS:
        return False
    words = prompt.words
    return not _demanding(prompt) and not _HARD.search(words) and words.count(b"role") <= MOST_TURNS


def _demanding(prompt: Prompt) -> bool:
    if prompt.dialect:
        return not _DEMANDS.isdisjoint(prompt.fields)
    chat = prompt.chat
    return bool(chat.tools or chat.schema or chat.reasoning_effort)
