"""How the tests read: streams cut anywhere, and deltas put together again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from services.ai_gateway.dialects import sse
from services.ai_gateway.dialects.codec import StreamReader
from services.ai_gateway.domain.chat import Delta, Finish
from services.ai_gateway.domain.usage import Usage


def frames(*data: str, event: bool = False) -> bytes:
    """A stream of these objects, as vendors write them; with their `type` as the event's name."""
    return b"".join(
        sse.written(text.encode(), text.split('"type":"', 1)[1].split('"', 1)[0] if event else "")
        for text in data
    )


def deltas(reader: StreamReader, stream: bytes, cut: int = 0) -> list[Delta]:
    """What a reader says of a stream that comes in two pieces."""
    taken = sse.Frames()
    pieces = (stream[:cut], stream[cut:])
    found = [reader.read(frame) for piece in pieces for frame in taken.feed(piece)]
    return [delta for delta in found if delta is not None]


def every_cut(stream: bytes) -> Iterator[int]:
    """All places between two bytes."""
    return iter(range(len(stream) + 1))


@dataclass
class Heard:
    """What the deltas of a stream come to."""

    text: str = ""
    reasoning: str = ""
    signature: str = ""
    completion_id: str = ""
    model: str = ""
    finish: Finish | None = None
    usage: Usage | None = None
    calls: dict[int, list[str]] = field(default_factory=dict)


def heard(found: Iterable[Delta]) -> Heard:
    """Calls: by their place, their id, name, arguments and signature."""
    all = Heard()
    for delta in found:
        all.text += delta.text
        all.reasoning += delta.reasoning
        all.signature += delta.signature
        all.completion_id = delta.completion_id or all.completion_id
        all.model = delta.model or all.model
        all.finish, all.usage = delta.finish or all.finish, delta.usage or all.usage
        for tool in delta.tools:
            call = all.calls.setdefault(tool.index, ["", "", "", ""])
            said = (tool.call_id, tool.name, tool.arguments, tool.signature)
            all.calls[tool.index] = [had + more for had, more in zip(call, said, strict=True)]
    return all
