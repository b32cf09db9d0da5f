"""`client.ai`: what the providers are up to, and better models."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Literal

from mlapi.ai_gateway.v1 import (
    enhancement_pb2,
    enhancement_service_pb2,
    enhancement_service_pb2_grpc,
    status_service_pb2,
    status_service_pb2_grpc,
)
from mlapi.training.v1 import registry_pb2

from mlapi_client.transport import Connection

LOOK_SECONDS = 0.5
_FORMATS = {
    "html": enhancement_service_pb2.GetReportRequest.HTML,
    "markdown": enhancement_service_pb2.GetReportRequest.MARKDOWN,
}


class Ai:
    """Calls of the AI gateway."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._status = status_service_pb2_grpc.StatusServiceStub(connection.channel)
        self._enhancement = enhancement_service_pb2_grpc.EnhancementServiceStub(connection.channel)

    def status(self) -> status_service_pb2.GetStatusResponse:
        """Every provider: configured, reachable, how fast."""
        request = status_service_pb2.GetStatusRequest()
        return self._connection.call(self._status.GetStatus, request, repeatable=True)

    def enhance(
        self,
        *,
        on_progress: Callable[[float], None] = lambda _: None,
        **asked: object,
    ) -> enhancement_pb2.Enhancement:
        """Searches for a better model, and answers when the search has ended, however it did.

        asked: see `enhance_async`. on_progress: told the part that is done, from 0 to 1, now and then.
        """
        return self.wait(self.enhance_async(**asked).task_id, on_progress)  # type: ignore[arg-type]

    def wait(
        self, task_id: str, on_progress: Callable[[float], None] = lambda _: None
    ) -> enhancement_pb2.Enhancement:
        """The enhancement of a task, when it has ended, however it did. Raises NotFound."""
        while (task := self.task(task_id)).status == "processing":
            on_progress(task.progress)
            time.sleep(LOOK_SECONDS)
        on_progress(1.0)
        return task.result

    def enhance_async(
        self,
        *,
        job_id: str = "",
        model_id: str = "",
        dataset_id: str = "",
        target: str = "",
        arms: Sequence[str] = (),
        max_trials: int = 0,
        max_cost_usd: float = 0.0,
        providers: Sequence[str] = (),
        seed: int | None = None,
    ) -> enhancement_service_pb2.Task:
        """Begins to search for a model that is better than one of a job's, a model, or a dataset's default.

        Raises NotFound, InvalidArgument, and FailedPrecondition when the job has not ended.
        """
        request = enhancement_service_pb2.EnhanceRequest(
            job_id=job_id,
            model_id=model_id,
            dataset_id=dataset_id,
            target=target,
            arms=arms,
            max_trials=max_trials,
            max_cost_usd=max_cost_usd,
            providers=providers,
            seed=seed,
            request_id=str(uuid.uuid4()),
        )
        return self._connection.call(self._enhancement.EnhanceAsync, request, repeatable=True)

    def task(self, task_id: str) -> enhancement_service_pb2.Task:
        """A task as it stands; raises NotFound."""
        request = enhancement_service_pb2.GetTaskRequest(task_id=task_id)
        return self._connection.call(self._enhancement.GetTask, request, repeatable=True)

    def cancel(self, task_id: str) -> enhancement_service_pb2.Task:
        """Asks a task to stop; raises NotFound, and FailedPrecondition when it has ended."""
        request = enhancement_service_pb2.CancelTaskRequest(task_id=task_id)
        return self._connection.call(self._enhancement.CancelTask, request, repeatable=True)

    def enhancement(self, enhancement_id: str) -> enhancement_pb2.Enhancement:
        """An enhancement as far as it has come; raises NotFound."""
        request = enhancement_service_pb2.GetEnhancementRequest(enhancement_id=enhancement_id)
        return self._connection.call(self._enhancement.GetEnhancement, request, repeatable=True)

    def report(self, enhancement_id: str, format: Literal["html", "markdown"] = "markdown") -> str:
        """Its report; raises NotFound, and FailedPrecondition before its end."""
        request = enhancement_service_pb2.GetReportRequest(
            enhancement_id=enhancement_id, format=_FORMATS[format]
        )
        answer = self._connection.call(self._enhancement.GetReport, request, repeatable=True)
        return str(answer.data.decode())

    def adopt(
        self, enhancement_id: str, name: str, *, alias: str = "", force: bool = False
    ) -> registry_pb2.ModelVersion:
        """Registers the best model under `name`, and moves the alias, `champion` by default, to it.

        Raises FailedPrecondition where the report does not recommend it, unless `force`.
        """
        request = enhancement_service_pb2.AdoptEnhancementRequest(
            enhancement_id=enhancement_id, name=name, alias=alias, force=force
        )
        return self._connection.call(self._enhancement.AdoptEnhancement, request, repeatable=True)
