"""Anthropic's counts of tokens, both ways. None of its three counts of input has a token of another."""

from __future__ import annotations

from typing import Any

import msgspec

from services.ai_gateway.domain.usage import Usage


class _Creation(msgspec.Struct):
    ephemeral_1h_input_tokens: int = 0


class _ServerTools(msgspec.Struct):
    web_search_requests: int = 0


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int = 0


class UsageBlock(msgspec.Struct):
    """As in an answer, and in a stream's events, where what is left out stays as it was."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _Creation | None = None
    server_tool_use: _ServerTools | None = None
    output_tokens_details: _OutputDetails | None = None

    def then(self, later: UsageBlock) -> UsageBlock:
        """With what a later event of the same stream says: counts there are of the whole stream."""
        told = {name: value for name in self.__struct_fields__ if (value := getattr(later, name)) is not None}
        return msgspec.structs.replace(self, **told)

    def usage(self) -> Usage:
        """Disjoint counts."""
        written = self.cache_creation_input_tokens or 0
        for_an_hour = min(
            self.cache_creation.ephemeral_1h_input_tokens if self.cache_creation else 0, written
        )
        return Usage(
            input=self.input_tokens or 0,
            cache_read=self.cache_read_input_tokens or 0,
            cache_write=written - for_an_hour,
            cache_write_1h=for_an_hour,
            output=self.output_tokens or 0,
            reasoning=self.output_tokens_details.thinking_tokens if self.output_tokens_details else 0,
            searches=self.server_tool_use.web_search_requests if self.server_tool_use else 0,
        )


def written(usage: Usage) -> dict[str, Any]:
    """For an answer, or for the first event of a stream."""
    return {
        **written_last(usage),
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
    }


def written_last(usage: Usage) -> dict[str, Any]:
    """For the last event but one of a stream."""
    found: dict[str, Any] = {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write + usage.cache_write_1h,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
    }
    if usage.reasoning:
        found["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    if usage.searches:
        found["server_tool_use"] = {"web_search_requests": usage.searches, "web_fetch_requests": 0}
    return found
