"""Callers whose changes are written down, in a process of their own.

`python -m tests.contract.audit_process URL NAME CALLERS`: each caller changes something again and again, and
prints the request id when it is answered. Ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from mlapi.training.v1 import job_service_pb2
from prometheus_client import CollectorRegistry

from services.chassis.audit.auditor import Auditor
from services.chassis.database import Database
from services.chassis.errors import AppError

CANCEL = "/mlapi.training.v1.JobService/CancelJob"


@dataclass
class Called:
    """A call that has ended."""

    request_id: str = "request-1"
    method: str = CANCEL
    request: Any = field(default_factory=lambda: job_service_pb2.CancelJobRequest(job_id="job-1"))
    refusal: AppError | None = None


async def caller(auditor: Auditor, name: str, ended: asyncio.Event) -> None:
    """Changes things until the end."""
    number = 0
    while not ended.is_set():
        number += 1
        request_id = f"{name}-{number}"
        storing = auditor.note(Called(request_id), "OK", None)
        assert storing
        await storing
        print(request_id, flush=True)


async def main(url: str, name: str, callers: int) -> None:
    """All callers at once."""
    ended = asyncio.Event()
    with closing(Database(url)) as database:
        auditor = Auditor("training", database, CollectorRegistry())
        asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
        async with auditor.running():
            await asyncio.gather(*(caller(auditor, f"{name}{one}", ended) for one in range(callers)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
