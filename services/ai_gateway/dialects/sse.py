"""Server-sent events, as they arrive in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# A frame that never ends may not fill memory.
LONGEST_FRAME = 16 * 1024 * 1024


class FrameTooLong(ValueError):
    """More came without an end than anyone sends."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One event. data: its lines, joined. raw: as it came, with the empty line at its end."""

    event: str
    data: bytes
    raw: bytes


class Frames:
    """Cuts a stream of bytes into frames; any cut between two pieces will do."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[Frame]:
        """The frames that `piece` completes; raises FrameTooLong."""
        text, start = self._rest + piece if self._rest else piece, 0
        while (end := _end(text, start)) >= 0:
            frame = _frame(text[start:end])
            start = end
            if frame is not None:
                yield frame
        self._rest = text[start:]
        if len(self._rest) > LONGEST_FRAME:
            raise FrameTooLong(f"a frame of over {LONGEST_FRAME} bytes")

    @property
    def unfinished(self) -> bool:
        """Whether the stream stopped within a frame."""
        return bool(self._rest.strip())


def written(data: bytes, event: str = "") -> bytes:
    """A frame of one line of data."""
    head = b"event: " + event.encode() + b"\n" if event else b""
    return head + b"data: " + data + b"\n\n"


def _end(text: bytes, start: int) -> int:
    """Where the frame ends that begins there, behind its empty line; −1 when it has not."""
    plain = text.find(b"\n\n", start)
    end = plain + 2 if plain >= 0 else len(text)
    other = text.find(b"\r\n\r\n", start, end)
    if other >= 0:
        return other + 4
    return end if plain >= 0 else -1


def _frame(raw: bytes) -> Frame | None:
    """None for comments and empty frames."""
    if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:  # nearly all
        return Frame("", raw[6:-2], raw)
    event, data = "", []
    for line in raw.splitlines():
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value.decode("utf-8", "replace")
    return Frame(event, b"\n".join(data), raw) if data else None
