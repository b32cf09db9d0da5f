"""`client.sweeps`: searches over hyperparameters."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlapi.training.v1 import job_pb2, job_service_pb2, sweep_pb2, sweep_service_pb2, sweep_service_pb2_grpc

from mlapi_client.documents import from_document
from mlapi_client.errors import DeadlineExceeded, InvalidValue
from mlapi_client.hyperparameters import set_algorithm
from mlapi_client.transport import Connection

State = sweep_pb2.Sweep.State
ACTIVE = (State.RUNNING, State.CANCELLING)
POLL_SECONDS = 0.5


class Sweeps:
    """Calls of `SweepService`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = sweep_service_pb2_grpc.SweepServiceStub(connection.channel)

    def create(
        self,
        dataset_id: str,
        target: str = "",
        *,
        max_trials: int,
        algorithm: str | None = "mlp",
        hyperparameters: Mapping[str, Any] | None = None,
        task: str | None = None,
        seed: int = 0,
        space: Sequence[Mapping[str, Any]] = (),
        sampler: str = "tpe",
        pruner: str | None = None,
        folds: int = 0,
        metric: str = "",
        parallel: int = 0,
        max_seconds: float = 0.0,
        max_cost_usd: float = 0.0,
        proposals: Sequence[Mapping[str, Any]] = (),
        skip_invalid_proposals: bool = False,
        warm_start_sweep_ids: Sequence[str] = (),
        display_name: str = "",
        keep_models: bool = False,
        request_id: str = "",
        validate_only: bool = False,
    ) -> sweep_pb2.Sweep:
        """Begins to search for the hyperparameters with which `target` is told best on validation rows.

        algorithm, hyperparameters: what is not searched. space: parameters as REST takes them, for example
        `{"name": "learning_rate", "float": {"low": 1e-3, "high": 0.1, "log": True}}`; what is usual for the
        algorithm when empty. sampler: "tpe" or "random". pruner: "asha" ends trials early that earlier ones
        were better than. folds: of cross-validation, 1 for the validation part alone; chosen by the number of
        rows when 0. proposals: `{"values": {name: value}}`, tried first.
        parallel: trials at once; as many as there are slots when 0. max_seconds, max_cost_usd: none when 0.
        keep_models: of every trial, not only the best; they are the caller's to delete.
        request_id: makes the call safe to repeat over clients too; generated when absent.
        Raises InvalidValue before anything is sent; InvalidArgument, NotFound and FailedPrecondition as the
        service sees it.
        """
        job = job_service_pb2.CreateJobRequest(dataset_id=dataset_id, target=target, seed=seed)
        job.task = _number(job_pb2.Task, "task", task)
        set_algorithm(job, algorithm, hyperparameters or {})
        budget = sweep_pb2.SweepBudget(
            max_trials=max_trials, max_seconds=max_seconds, max_cost_usd=max_cost_usd
        )
        request = sweep_service_pb2.CreateSweepRequest(
            job=job,
            space=[from_document(f"space[{n}]", one, sweep_pb2.Parameter()) for n, one in enumerate(space)],
            sampler=_number(sweep_pb2.Sampler, "sampler", sampler),
            pruner=_number(sweep_pb2.Pruner, "pruner", pruner),
            folds=folds,
            budget=budget,
            metric=metric,
            parallel=parallel,
            proposals=[
                from_document(f"proposals[{n}]", one, sweep_pb2.SweepProposal())
                for n, one in enumerate(proposals)
            ],
            skip_invalid_proposals=skip_invalid_proposals,
            warm_start_sweep_ids=warm_start_sweep_ids,
            display_name=display_name,
            keep_models=keep_models,
            request_id=request_id or str(uuid.uuid4()),
            validate_only=validate_only,
        )
        return self._connection.call(self._stub.CreateSweep, request, repeatable=True)

    def get(self, sweep_id: str) -> sweep_pb2.Sweep:
        """With all its trials, best first. Raises NotFound."""
        request = sweep_service_pb2.GetSweepRequest(sweep_id=sweep_id)
        return self._connection.call(self._stub.GetSweep, request, repeatable=True)

    def list(self, page_size: int = 0) -> Iterator[sweep_pb2.Sweep]:
        """Every sweep without its trials, newest first, a page at a time."""
        request = sweep_service_pb2.ListSweepsRequest(page_size=page_size)
        while True:
            page = self._connection.call(self._stub.ListSweeps, request, repeatable=True)
            yield from page.sweeps
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def cancel(self, sweep_id: str, request_id: str = "") -> sweep_pb2.Sweep:
        """The sweep, CANCELLING or CANCELLED. Raises NotFound, and FailedPrecondition when it has ended."""
        request = sweep_service_pb2.CancelSweepRequest(
            sweep_id=sweep_id, request_id=request_id or str(uuid.uuid4())
        )
        return self._connection.call(self._stub.CancelSweep, request, repeatable=True)

    def resume(self, sweep_id: str, request_id: str = "") -> sweep_pb2.Sweep:
        """The sweep, RUNNING again. Raises NotFound, and FailedPrecondition when it is not CANCELLED."""
        request = sweep_service_pb2.ResumeSweepRequest(
            sweep_id=sweep_id, request_id=request_id or str(uuid.uuid4())
        )
        return self._connection.call(self._stub.ResumeSweep, request, repeatable=True)

    def delete(self, sweep_id: str, request_id: str = "") -> None:
        """Deletes it with its trials; its model stays; raises NotFound, FailedPrecondition."""
        request = sweep_service_pb2.DeleteSweepRequest(
            sweep_id=sweep_id, request_id=request_id or str(uuid.uuid4())
        )
        self._connection.call(self._stub.DeleteSweep, request, repeatable=True)

    def wait(self, sweep_id: str, timeout: float | None = None) -> sweep_pb2.Sweep:
        """The sweep when it has ended, however it has; raises DeadlineExceeded after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (sweep := self.get(sweep_id)).state in ACTIVE:
            if deadline is not None and time.monotonic() > deadline:
                text = f"the sweep {sweep_id} has not ended after {timeout:g} s"
                raise DeadlineExceeded("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", text)
            time.sleep(POLL_SECONDS)
        return sweep


def _number(kind: Any, field: str, name: str | None) -> Any:
    if name is None:
        return 0
    try:
        return kind.Value(name.upper())
    except ValueError:
        known = ", ".join(one.lower() for one in kind.keys() if not one.endswith("_UNSPECIFIED"))  # noqa: SIM118
        raise InvalidValue.of(field, f"{name!r} is none of {known}") from None
