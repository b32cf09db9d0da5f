"""Kept answers as bytes."""

from __future__ import annotations

import msgspec

from services.ai_gateway.application.ports import Kept

encoded = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Kept)


def decoded(answer: bytes) -> Kept | None:
    """None for what another release wrote, or nobody."""
    try:
        return _decoder.decode(answer)
    except msgspec.MsgspecError:
        return None
