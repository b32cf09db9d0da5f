"""The client: one address, one channel, a group of calls for each noun."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from mlapi.health.v1 import health_service_pb2, health_service_pb2_grpc

from mlapi_client.ai import Ai
from mlapi_client.datasets import Datasets
from mlapi_client.jobs import Jobs
from mlapi_client.models import Models
from mlapi_client.registry import Registry
from mlapi_client.sweeps import Sweeps
from mlapi_client.transport import Connection, Retry

DEFAULT_ADDRESS = "127.0.0.1:5000"


class Client:
    """Calls the API at `address` (host:port, or a URL) over gRPC. Safe to share between threads.

    timeout: seconds that a call gets, repetitions included; uploads and watches take as long as they take.
    retry: how UNAVAILABLE is met, by calls that are safe to repeat: each method says when it is not.
    tenant: whom every call is for; when empty, the API key's or the service's default.
    api_key: `mlk_…`, where the service asks for one. ca_file: with `https://…`, of a CA of one's own, as PEM.
    Every call raises an MlapiError of the fitting subclass.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        timeout: float = 30.0,
        retry: Retry | None = None,
        *,
        tenant: str = "",
        api_key: str = "",
        ca_file: str = "",
    ) -> None:
        self._connection = Connection(
            address, timeout, retry or Retry(), tenant=tenant, api_key=api_key, ca_file=ca_file
        )
        self._health = health_service_pb2_grpc.HealthServiceStub(self._connection.channel)
        self.address = self._connection.address
        self.datasets = Datasets(self._connection)
        self.jobs = Jobs(self._connection)
        self.models = Models(self._connection)
        self.registry = Registry(self._connection)
        self.sweeps = Sweeps(self._connection)
        self.ai = Ai(self._connection)

    def health(self) -> health_service_pb2.HealthReport:
        """What works and what does not."""
        request = health_service_pb2.GetHealthRequest()
        return self._connection.call(self._health.GetHealth, request, repeatable=True)

    def close(self) -> None:
        """Ends every call in flight."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
