"""Writes the Arrow file: whole and durable, or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def durable(destination: Path) -> Iterator[Path]:
    """A path to write to, in place at `destination` when the block ends well.

    The file is fsynced before it is renamed over whatever was there. When the block raises, nothing is left
    behind and `destination` is as it was. Raises OSError when the disk does.
    """
    partial = destination.with_name(f".{destination.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
        _sync(partial)
        partial.replace(destination)
        _sync(destination.parent)
    finally:
        partial.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
