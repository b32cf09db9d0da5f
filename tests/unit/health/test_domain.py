"""What the parts' health makes of the whole."""

from __future__ import annotations

import pytest

from services.health import domain
from services.health.domain import Component, Status

GOOD = {name: Component(Status.HEALTHY, "") for name in ("training", "ai_gateway", "database", "disk")}


def with_status(name: str, status: Status) -> dict[str, Component]:
    return {**GOOD, name: Component(status, "")}


@pytest.mark.parametrize(
    ("name", "status", "overall"),
    [
        ("training", Status.UNHEALTHY, Status.UNHEALTHY),
        ("database", Status.UNHEALTHY, Status.UNHEALTHY),
        ("disk", Status.UNHEALTHY, Status.UNHEALTHY),
        ("disk", Status.DEGRADED, Status.DEGRADED),
        ("ai_gateway", Status.UNHEALTHY, Status.DEGRADED),
        ("ai_gateway", Status.HEALTHY, Status.HEALTHY),
    ],
)
def test_a_part_makes_the_whole(name: str, status: Status, overall: Status) -> None:
    assert domain.overall(with_status(name, status), {}) is overall


def test_a_provider_without_a_key_is_no_fault_and_one_that_fails_degrades() -> None:
    keyless, failing = domain.provider(False, False, ""), domain.provider(True, False, "")
    assert domain.overall(GOOD, {"openai": keyless}) is Status.HEALTHY
    assert domain.overall(GOOD, {"openai": keyless, "xai": failing}) is Status.DEGRADED


@pytest.mark.parametrize(
    ("free", "status"),
    [(49, Status.UNHEALTHY), (50, Status.DEGRADED), (999, Status.DEGRADED), (1000, Status.HEALTHY)],
)
def test_a_disk_fills_up(free: int, status: Status) -> None:
    component = domain.disk(free, 1000)
    assert component.status is status
    assert f"{free} bytes" in component.message


def test_ready_means_that_both_services_take_calls() -> None:
    assert domain.ready(GOOD)
    assert not domain.ready(with_status("ai_gateway", Status.UNHEALTHY))
    assert not domain.ready(with_status("training", Status.UNHEALTHY))
