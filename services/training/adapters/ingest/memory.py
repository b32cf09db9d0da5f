"""Which allocator Arrow takes memory from."""

from __future__ import annotations

import contextlib

import pyarrow as pa

# At once would halve the memory again and cost a third more processor time; longer than this, no less of it.
_DECAY_MS = 20


def give_back_soon() -> None:
    """From now on, what Arrow frees soon goes back to the system, for the whole process.

    Measured, CSV then costs two thirds of the memory; the default allocator keeps what it may need.
    Where the library was built without this allocator, nothing changes.
    """
    with contextlib.suppress(NotImplementedError):
        pa.set_memory_pool(pa.jemalloc_memory_pool())
        pa.jemalloc_set_decay_ms(_DECAY_MS)
