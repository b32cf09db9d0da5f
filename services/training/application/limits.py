"""How long the reconciler waits."""

from __future__ import annotations

from dataclasses import dataclass

# A look that comes this late was not slow: the process, or the machine, was suspended, and knows nothing of
# the time between. By the clock on the wall, as leases go: the monotonic one may stand still meanwhile.
SUSPENDED_SECONDS = 5.0


@dataclass(frozen=True)
class Limits:
    """How long is waited, in seconds.

    start: for a process whose handle nobody wrote down. place: for a machine to run on. lease: for a sign of
    life. progress: for a step. grace: for an attempt that was asked to stop, before it is killed.
    """

    start: float = 10.0
    place: float = 10.0
    lease: float = 15.0
    progress: float = 600.0
    grace: float = 3.0
