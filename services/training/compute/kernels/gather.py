"""Picks the rows of a batch. No CUDA body of its own: `take` is one kernel in both modules."""

from __future__ import annotations

from services.training.compute.kernels.launch import Array, Kernels


def gather(kernels: Kernels, source: Array, rows: Array, out: Array) -> None:
    """out[i] ← source[rows[i]]; `rows` (len(out),) int64, all in range."""
    if kernels.on_device:
        kernels.xp.take(source, rows, axis=0, out=out)
    else:
        # The default mode, raise, makes a second copy so as to leave `out` whole on an error.
        source.take(rows, axis=0, out=out, mode="clip")
