"""A whole answer as the pieces of a stream, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from services.ai_gateway.domain.chat import (
    Completion,
    Delta,
    Finish,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolFragment,
)
from services.ai_gateway.domain.usage import Usage


def pieces(answer: Completion) -> list[Delta]:
    """One for each part, and one for all the rest."""
    calls = [part for part in answer.parts if isinstance(part, ToolCall)]
    last = Delta(
        completion_id=answer.completion_id,
        model=answer.model,
        finish=answer.finish,
        usage=answer.usage,
        raw=answer.raw,
        dialect=answer.dialect,
    )
    return [*(_piece(part, calls) for part in answer.parts), last]


def whole(deltas: Iterable[Delta]) -> Completion:
    """The answer that `pieces` made them of."""
    found = list(deltas)
    last = found[-1]
    return Completion(
        last.completion_id,
        last.model,
        tuple(part for delta in found[:-1] for part in _parts(delta)),
        last.finish or Finish.STOP,
        last.usage or Usage(),
        last.raw,
        last.dialect,
    )


def _piece(part: Part, calls: list[ToolCall]) -> Delta:
    match part:
        case Text():
            return Delta(text=part.text)
        case Reasoning():
            return Delta(reasoning=part.text, signature=part.signature)
        case ToolCall():
            index = next(place for place, call in enumerate(calls) if call is part)
            fragment = ToolFragment(index, part.arguments, part.call_id, part.name, part.signature)
            return Delta(tools=(fragment,))
    raise TypeError(f"a model does not say {type(part).__name__}")


def _parts(delta: Delta) -> Iterator[Part]:
    if delta.tools:
        for tool in delta.tools:
            yield ToolCall(tool.call_id, tool.name, tool.arguments, tool.signature)
    elif delta.reasoning or delta.signature:
        yield Reasoning(delta.reasoning, delta.signature)
    else:
        yield Text(delta.text)
