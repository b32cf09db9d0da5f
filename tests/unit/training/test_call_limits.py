"""What takes of a caller's limits, and what does not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from mlapi.training.v1 import job_service_pb2

from services.chassis import callers
from services.chassis.callers import Caller
from services.chassis.rates.limits import RateLimited
from services.chassis.scopes import Scope
from services.training.rpc.call_limits import CallLimits, rate_book
from tests.contract.limiters import limiter_on
from tests.unit.training.samples import sqlite_url

JOBS, MODELS = "/mlapi.training.v1.JobService/", "/mlapi.training.v1.ModelService/"
SOMEBODY = Caller("lab", "a1b2c3d4e5f6", frozenset((Scope.TRAINING_WRITE,)))
A_SERVICE = Caller("lab", "b1b2c3d4e5f6", frozenset((Scope.TRAINING_WRITE,)), delegated=True)


@pytest.fixture
def passed(tmp_path: Path) -> Any:
    """How many of ten calls are let through, for a caller who has 3 of them and 4 predictions a day."""

    async def count(method: str, request: Any, caller: Caller | None) -> int:
        async with limiter_on(sqlite_url(tmp_path), rate_book("3/day", "4/day", lambda key: "")) as limiter:
            callers.enter(caller, {})
            limit, found = CallLimits(limiter), 0
            for _ in range(10):
                try:
                    await limit(method, request)
                except RateLimited:
                    continue
                found += 1
            return found

    return lambda method, request=None, caller=SOMEBODY: asyncio.run(count(method, request, caller))


@pytest.mark.parametrize("caller", [SOMEBODY, None])
def test_what_makes_or_computes_something_is_limited(passed: Any, caller: Caller | None) -> None:
    assert passed(f"{JOBS}CreateJob", job_service_pb2.CreateJobRequest(), caller) == 3
    assert passed(f"{MODELS}Predict", None, caller) == 4


def test_looks_and_dry_runs_and_what_services_do_for_others_are_free(passed: Any) -> None:
    assert passed(f"{JOBS}DeleteJob") == 10
    assert passed("/grpc.health.v1.Health/Check", None, None) == 10
    assert passed(f"{JOBS}CreateJob", job_service_pb2.CreateJobRequest(validate_only=True)) == 10
    assert passed(f"{JOBS}CreateJob", job_service_pb2.CreateJobRequest(), A_SERVICE) == 10
