"""Before an edge is told to end: `python -m gateway.drain NOTICE PATIENCE`, as its container's preStop.

Envoy leaves at once on SIGTERM. So for NOTICE seconds it serves as ever, until balancers have taken it off
their lists; then it asks callers to connect elsewhere, and this returns when all of them have, after PATIENCE
seconds at the latest. A connection without a request counts too: the next one may be on its way.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request

from gateway.settings import EdgeSettings
from services.chassis.settings import load

POLL_SECONDS = 0.1
# An exchange with Envoy's admin, on this machine.
ADMIN_SECONDS = 5.0
REQUESTS = "http.edge.downstream_rq_active"
CONNECTIONS = "http.edge.downstream_cx_active"


def drain(admin: str, notice: float, patience: float) -> int:
    """How many requests were left in flight. admin: `http://host:port` of Envoy's admin."""
    time.sleep(notice)
    _ask(f"{admin}/drain_listeners?graceful&skip_exit", "POST")
    end = time.monotonic() + patience
    while active(admin, CONNECTIONS) and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    return active(admin, REQUESTS)


def active(admin: str, stat: str) -> int:
    """How many REQUESTS or CONNECTIONS the edge has."""
    stats = json.loads(_ask(f"{admin}/stats?format=json&filter=^{stat}$"))["stats"]
    return sum(stat["value"] for stat in stats)


def _ask(url: str, method: str = "GET") -> bytes:
    request = urllib.request.Request(url, method=method)
    with urllib.request.urlopen(request, timeout=ADMIN_SECONDS) as answer:
        content: bytes = answer.read()
    return content


def main() -> None:
    """Tells how many requests it had to give up."""
    notice, patience = (float(word) for word in sys.argv[1:3])
    left = drain(f"http://127.0.0.1:{load(EdgeSettings).admin_port}", notice, patience)
    print(f"drained; {left} requests left" if left else "drained")


if __name__ == "__main__":
    main()
