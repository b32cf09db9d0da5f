"""What the edge is measured beside. Both answer one job, read from a file at their start.

    python bench/peers.py PORT FILE                 the empty handler: bare gRPC, a constant message
    gunicorn "peers:flask_app('FILE')"              Flask: a constant dictionary, as JSON

Each runs in an environment that lacks the other's packages, which is why neither is imported above.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any


async def empty_handler(port: int, file: Path) -> None:
    """GetJob without interceptors, database or mapping; `file` is a Job as protobuf bytes."""
    import grpc  # noqa: PLC0415
    from mlapi.training.v1 import job_pb2, job_service_pb2_grpc  # noqa: PLC0415

    job = job_pb2.Job.FromString(file.read_bytes())

    class Empty(job_service_pb2_grpc.JobServiceServicer):
        async def GetJob(self, request: Any, context: Any) -> job_pb2.Job:
            return job

    server = grpc.aio.server()
    job_service_pb2_grpc.add_JobServiceServicer_to_server(Empty(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def flask_app(file: str) -> Any:
    """The same route in Flask; `file` is the job as JSON."""
    from flask import Flask  # noqa: PLC0415

    app = Flask("peers")
    job = json.loads(Path(file).read_bytes())

    @app.get("/v1/jobs/<job_id>")
    def get_job(job_id: str) -> Any:
        return job

    return app


if __name__ == "__main__":
    asyncio.run(empty_handler(int(sys.argv[1]), Path(sys.argv[2])))
