"""`client.ai`: what the providers are up to, and proposals for better models."""

from __future__ import annotations

from mlapi.ai_gateway.v1 import (
    enhancement_service_pb2,
    enhancement_service_pb2_grpc,
    status_service_pb2,
    status_service_pb2_grpc,
)

from mlapi_client.transport import Connection


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
        job_id: str = "",
        model_id: str = "",
        dataset_id: str = "",
        target: str = "",
        max_proposals: int = 0,
    ) -> enhancement_service_pb2.EnhanceResponse:
        """Proposes hyperparameters for one of a job, a model, or a dataset with its target; trains nothing.

        Raises NotFound, InvalidArgument, and FailedPrecondition when the job has not ended.
        """
        request = enhancement_service_pb2.EnhanceRequest(
            job_id=job_id,
            model_id=model_id,
            dataset_id=dataset_id,
            target=target,
            max_proposals=max_proposals,
        )
        return self._connection.call(self._enhancement.Enhance, request, repeatable=True)
