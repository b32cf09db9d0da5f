"""The process of one attempt: `python -m services.training.worker JOB_ID ATTEMPT`. Executors start it."""

from __future__ import annotations

import sys

from services.training.application.losses import EXIT_ENVIRONMENT


def main(job_id: str, attempt: int) -> None:
    """Runs the attempt, or says in one line why nothing can run here."""
    try:
        # Imported here, so that a library that is missing is told apart from a crash.
        from services.training import attempt_process  # noqa: PLC0415

        attempt_process.run(job_id, attempt)
    except ImportError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_ENVIRONMENT)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
