"""The same work over and over: as one CUDA graph, launched at once instead of kernel by kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.training.compute.backend import Backend

Work = Callable[[], None]


def repeated(backend: Backend, work: Work) -> Work:
    """What to call in place of `work`: itself on the host, and on a device what replays it.

    work: starts kernels and products, always the same ones on the same arrays. What differs from call to call
    it reads from arrays that are filled before; it neither allocates nor waits for the device.
    """
    return _Graph(backend, work) if backend.name == "cupy" else work


class _Graph:
    """Calls `work` once, since compilers and libraries may still allocate then; the next call records it."""

    def __init__(self, backend: Backend, work: Work) -> None:
        self._cuda, self._work = backend.xp.cuda, work
        self._called = False
        self._recorded: Any = None

    def __call__(self) -> None:
        if not self._called:
            self._called = True
            self._work()
            return
        if self._recorded is None:
            self._recorded = self._record()
        # On the stream that everything else goes to, so that it comes after what was asked before.
        self._recorded.launch()

    def _record(self) -> Any:
        stream = self._cuda.Stream()
        with stream:
            stream.begin_capture()
            self._work()
            return stream.end_capture()
