"""Embeddings that depend on the text alone."""

from __future__ import annotations

import base64
import hashlib
import struct

DIMENSIONS = 8


def vector(text: str, dimensions: int | None = None) -> list[float]:
    """Numbers in [-1, 1) that float32 holds exactly."""
    size = 2 * (dimensions or DIMENSIONS)
    digest = hashlib.shake_128(text.encode()).digest(size)
    return [number / 32768 for number in struct.unpack(f"<{size // 2}h", digest)]


def packed(numbers: list[float]) -> str:
    """Little-endian float32 in base64, as OpenAI sends them."""
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
