"""`SweepService`: parse, call, map."""

from __future__ import annotations

from typing import Any

from google.protobuf.empty_pb2 import Empty
from mlapi.training.v1 import sweep_pb2, sweep_service_pb2, sweep_service_pb2_grpc

from services.chassis.callers import tenant
from services.training.application.create_sweep import CreateSweep
from services.training.application.sweeps import Sweeps
from services.training.domain.sweep import Prices
from services.training.rpc import mapping_sweeps as mapping


class SweepServicer(sweep_service_pb2_grpc.SweepServiceServicer):
    """See the proto."""

    def __init__(self, sweeps: Sweeps, create: CreateSweep, prices: Prices) -> None:
        self._sweeps = sweeps
        self._create = create
        self._prices = prices

    def CreateSweep(self, request: Any, context: Any) -> sweep_pb2.Sweep:
        asked = mapping.sweep_request(request, tenant())
        return mapping.sweep(self._create(asked, request.request_id, request.validate_only), self._prices)

    def GetSweep(self, request: Any, context: Any) -> sweep_pb2.Sweep:
        return mapping.sweep(self._sweeps.get(request.sweep_id), self._prices)

    def ListSweeps(self, request: Any, context: Any) -> sweep_service_pb2.ListSweepsResponse:
        items, token = self._sweeps.page(request.page_size, request.page_token)
        messages = [mapping.sweep(item, self._prices, trials=False) for item in items]
        return sweep_service_pb2.ListSweepsResponse(sweeps=messages, next_page_token=token)

    def CancelSweep(self, request: Any, context: Any) -> sweep_pb2.Sweep:
        return mapping.sweep(self._sweeps.cancel(request.sweep_id, request.request_id), self._prices)

    def ResumeSweep(self, request: Any, context: Any) -> sweep_pb2.Sweep:
        return mapping.sweep(self._sweeps.resume(request.sweep_id, request.request_id), self._prices)

    def DeleteSweep(self, request: Any, context: Any) -> Empty:
        self._sweeps.delete(request.sweep_id, request.request_id)
        return Empty()
