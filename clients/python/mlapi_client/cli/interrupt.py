"""Ctrl-C in the middle of a stream."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
_SHOW_CURSOR = "\x1b[?25h"


@contextmanager
def leaving_at_once(message: str) -> Iterator[None]:
    """Ctrl-C writes `message` to stderr and ends the process there and then.

    Not by KeyboardInterrupt: it can come while gRPC holds a lock of the call, which is then never given back,
    and whoever tidies up waits for it for ever.
    """

    def leave(*_: object) -> None:
        # A live display has hidden the cursor. Written past the buffer, which may be in use just now.
        cursor = _SHOW_CURSOR if sys.stderr.isatty() else ""
        os.write(2, f"{cursor}\n{message}\n".encode())
        os._exit(INTERRUPTED)

    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
