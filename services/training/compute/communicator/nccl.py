"""A communicator of CuPy arrays over NCCL, which the ranks enter by way of a TCP communicator.

NCCL knows neither secrets nor timeouts, and hangs when a rank is missing or does something else. So every
call is first agreed upon over TCP, which costs its round trip, and then watched until the device is done.
"""

from __future__ import annotations

import importlib
import threading
import time
from typing import Any

import numpy as np

from services.training.compute.communicator.base import CommunicatorError, Leaving
from services.training.compute.communicator.tcp import TYPES, TcpCommunicator
from services.training.compute.kernels.launch import Array

# NCCL's unique ids, of characters.
_ID_LENGTH = 128
# Between two looks at what the device does, in seconds.
_LOOK = 20e-6
# How long a call goes on after a rank has left.
_GRACE = 1.0


class NcclCommunicator(Leaving):
    """See Communicator. Each rank has a device of its own, the current one; arrays on the host go over TCP.

    Sums have the same bits on all ranks, and from run to run as long as NCCL chooses the same algorithm: on
    the same devices, set NCCL_ALGO and NCCL_PROTO to be sure.
    """

    def __init__(self, control: TcpCommunicator) -> None:
        """control: joins the same ranks, and belongs to this from now on.

        Raises CommunicatorError when not all are there in time. NCCL's own start cannot be called off: the
        thread that it then hangs in stays until the process ends.
        """
        self.rank, self.world_size, self.timeout = control.rank, control.world_size, control.timeout
        self._control = control
        self._cupy = importlib.import_module("cupy")
        self._nccl = importlib.import_module("cupy.cuda.nccl")
        if not self._nccl.available:
            control.abort("CuPy finds no NCCL here")
            raise CommunicatorError("CuPy finds no NCCL here")
        self._types = {
            "float32": self._nccl.NCCL_FLOAT32,
            "float64": self._nccl.NCCL_FLOAT64,
            "int64": self._nccl.NCCL_INT64,
        }
        self._ranks: Any = self._enter()

    def allreduce(self, array: Array) -> None:
        """See Communicator."""
        if isinstance(array, np.ndarray):
            self._control.allreduce(array)
            return
        kind = self._agreed("a sum", array)
        here, stream = array.data.ptr, self._cupy.cuda.get_current_stream()
        self._ranks.allReduce(here, here, array.size, kind, self._nccl.NCCL_SUM, stream.ptr)
        self._watch("a sum")

    def broadcast(self, array: Array, root: int = 0) -> None:
        """See Communicator."""
        if isinstance(array, np.ndarray):
            self._control.broadcast(array, root)
            return
        kind = self._agreed(f"a broadcast from rank {root}", array)
        here, stream = array.data.ptr, self._cupy.cuda.get_current_stream()
        self._ranks.broadcast(here, here, array.size, kind, root, stream.ptr)
        self._watch("a broadcast")

    def barrier(self) -> None:
        """See Communicator."""
        self._control.barrier()

    def abort(self, reason: str) -> None:
        """See Communicator."""
        self._control.abort(reason)
        if self._ranks is not None:
            self._ranks.abort()

    def close(self) -> None:
        """See Communicator."""
        if self._ranks is not None:
            # Unlike `destroy`, it waits for nobody.
            self._ranks.abort()
        self._control.close()

    def _enter(self) -> Any:
        """NCCL's communicator, begun in a thread because it waits for all ranks without end."""
        found: list[Any] = []
        ident, device = self._ident(), self._cupy.cuda.Device()

        def begin() -> None:
            try:
                with device:
                    found.append(self._nccl.NcclCommunicator(self.world_size, ident, self.rank))
            except Exception as error:  # CuPy's own, told to the others below
                found.append(error)

        thread = threading.Thread(target=begin, name="nccl", daemon=True)
        thread.start()
        thread.join(self.timeout)
        if found and not isinstance(found[0], Exception):
            self._control.barrier()
            return found[0]
        reason = f"NCCL did not start: {found[0] if found else 'not all ranks came in time'}"
        self._control.abort(reason)
        raise CommunicatorError(reason)

    def _ident(self) -> tuple[int, ...]:
        ident = np.zeros(_ID_LENGTH, np.int64)
        if self.rank == 0:
            ident[:] = self._nccl.get_unique_id()
        self._control.broadcast(ident)
        return tuple(ident.tolist())

    def _agreed(self, name: str, array: Array) -> int:
        """NCCL's number of the array's type, once all ranks have come with the like."""
        if array.dtype.name not in TYPES or not array.flags.c_contiguous:
            problem = (
                f"sums and broadcasts are of contiguous {', '.join(sorted(TYPES))}, not of {array.dtype}"
            )
            self.abort(problem)
            raise CommunicatorError(problem)
        self._control.agree(f"{name} of {array.dtype}{list(array.shape)}")
        return int(self._types[array.dtype.name])

    def _watch(self, call: str) -> None:
        """Until the device is done; a rank that ends or hangs meanwhile is noticed."""
        event = self._cupy.cuda.Event(disable_timing=True)
        event.record()
        deadline = time.monotonic() + self.timeout
        try:
            while not event.done:
                self._ranks.check_async_error()
                if self._control.look():
                    # It may have ended well, just before this rank; then the device is done in no time.
                    deadline = min(deadline, time.monotonic() + _GRACE)
                if time.monotonic() > deadline:
                    raise CommunicatorError(f"{call} did not end in time")
                time.sleep(_LOOK)
        except Exception as error:  # CuPy's own, or that of the control
            self.abort(str(error))
            raise CommunicatorError(str(error)) from error
