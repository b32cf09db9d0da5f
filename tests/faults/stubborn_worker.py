"""A worker that does not listen to SIGTERM, with a child that does not either."""

from __future__ import annotations

import signal
import subprocess
import sys

from services.training import attempt_process

CHILD = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def main(job_id: str, attempt: int) -> None:
    """Trains."""
    subprocess.Popen([sys.executable, "-c", CHILD])
    listen = signal.signal
    signal.signal = lambda number, handler: listen(  # type: ignore[assignment]
        number, signal.SIG_IGN if number == signal.SIGTERM else handler
    )
    attempt_process.run(job_id, attempt)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
