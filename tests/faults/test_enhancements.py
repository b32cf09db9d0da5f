"""A training service and an AI gateway, killed by turns in the middle of an enhancement."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from mlapi.ai_gateway.v1 import enhancement_pb2, enhancement_service_pb2, enhancement_service_pb2_grpc
from mlapi.training.v1 import job_pb2

from tests.contract.waiting import until
from tests.e2e.journeys import straight
from tests.faults.extent import LONG
from tests.faults.gateway import Gateway, Vendors, vendors
from tests.faults.processes import end_workers
from tests.faults.service import Client, Service
from tests.faults.test_sweeps import board

TIMES = 8 if LONG else 2  # that each of the two is killed
PATIENCE = 300
ASKED: dict[str, Any] = {
    "arms": ["random", "tpe", "hybrid"] if LONG else ["llm"],
    "max_trials": 3,
    "seed": 5,
    "providers": ["openai/gpt-5-mini"],
}
SETTINGS = {
    "TRAINING_SLOTS": "2",
    "TRAINING_LEASE_SECONDS": "2",
    "TRAINING_CHECKPOINT_SECONDS": "0.1",
    "AI_GATEWAY_GRPC_PORT": "0",
    "AI_GATEWAY_METRICS_PORT": "0",
    "AI_ENHANCE_POLL_SECONDS": "0.1",
    "AI_ENHANCE_LEASE_SECONDS": "2",
}
PROPOSALS = [
    {"changes": [{"name": "algorithm", "value": "linear"}, {"name": "linear.l2", "value": l2}]}
    for l2 in (0.01, 0.1, 1.0)
]
# What is otherwise when the same is done again.
OF_THE_RUN = {
    "enhancement_id",
    "task_id",
    "create_time",
    "end_time",
    "expire_time",
    "cost",
    "seconds",
    "nano_usd",
    "model_id",
    "model_ids",
    "sweep_ids",
}


class Pair:
    """Both services, and whoever asks them."""

    def __init__(self, folder: Path, fakes: Vendors) -> None:
        with socket.socket() as free:  # the gateway finds it there again after each death
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        shared = {**SETTINGS, **fakes.settings()}
        self.training = Service("training", folder, **shared, TRAINING_GRPC_PORT=port)
        self.gateway = Gateway("gateway", folder, **shared, TRAINING_ADDRESS=f"127.0.0.1:{port}")
        self.jobs, self._enhancements = Client(self.training), Client(self.gateway)

    def enhance(self, job_id: str, request_id: str) -> str:
        """The task of the one enhancement of that request."""
        request = enhancement_service_pb2.EnhanceRequest(job_id=job_id, request_id=request_id, **ASKED)
        return str(self._insist(lambda stub: stub.EnhanceAsync(request, timeout=10)).task_id)

    def task(self, task_id: str) -> Any:
        request = enhancement_service_pb2.GetTaskRequest(task_id=task_id)
        return self._insist(lambda stub: stub.GetTask(request, timeout=10))

    def ended(self, task_id: str) -> Any:
        """What came of it."""
        deadline = time.monotonic() + PATIENCE
        while (task := self.task(task_id)).status == "processing":
            assert time.monotonic() < deadline, task
            time.sleep(0.1)
        return task.result

    def _insist(self, call: Any) -> Any:
        stub = enhancement_service_pb2_grpc.EnhancementServiceStub
        return self._enhancements.insist(lambda channel: call(stub(channel)))


@contextmanager
def pair(folder: Path) -> Iterator[Pair]:
    """Serving; nothing of them or of their workers is left at the end."""
    with vendors() as fakes, ExitStack() as ending:
        fakes.script(says=json.dumps({"proposals": PROPOSALS}))
        made = Pair(folder, fakes)
        ending.callback(end_workers, folder)
        for service in (made.training, made.gateway):
            ending.callback(service.kill)
            service.start()
            service.wait()
        yield made


def told(result: enhancement_pb2.Enhancement) -> Any:
    """What the report says, but for ids, times and costs."""
    return _without(MessageToDict(result, preserving_proto_field_name=True))


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without(one) for name, one in value.items() if name not in OF_THE_RUN}
    return [_without(one) for one in value] if isinstance(value, list) else value


def boards(both: Pair, result: enhancement_pb2.Enhancement) -> Any:
    """Every trial of every arm."""
    return {arm.name: [board(both.jobs.sweep(one)) for one in arm.sweep_ids] for arm in result.arms}


def test_an_enhancement_that_loses_its_services_comes_to_the_same(
    tmp_path: Path, chance: random.Random
) -> None:
    with pair(tmp_path) as both:
        both.jobs.upload("straight", straight())
        job_id = both.jobs.create(dataset_id="straight", target="y", linear={"l2": 30.0})
        until(lambda: both.jobs.job(job_id).state == job_pb2.Job.SUCCEEDED, 60)
        wanted = both.ended(both.enhance(job_id, "undisturbed"))
        assert wanted.state == enhancement_pb2.Enhancement.SUCCEEDED, wanted
        task_id = both.enhance(job_id, "killed")
        for service in [both.gateway, both.training] * TIMES:
            time.sleep(chance.uniform(0.5, 2.5))
            assert both.task(task_id).status == "processing"  # else nothing would be in its way
            service.kill()
            service.start()
        result = both.ended(task_id)
        assert told(result) == told(wanted)
        assert boards(both, result) == boards(both, wanted)
        for service in (both.gateway, both.training):
            assert service.wait().end() == 0
