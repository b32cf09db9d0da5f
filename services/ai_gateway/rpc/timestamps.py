"""Points in time on the wire."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp


def timestamp(time: datetime | None) -> Timestamp | None:
    """None stays None."""
    if time is None:
        return None
    message = Timestamp()
    message.FromDatetime(time)
    return message
