"""Who is let in: keys that `mlapi keys` has made, in a file that changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import copy_context
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from mlapi_client import key_file as writer

from services.chassis import callers, key_file
from services.chassis.auth import Door, shown
from services.chassis.changes import LOOK_SECONDS
from services.chassis.errors import AppError, PermissionDenied, Unauthenticated
from services.chassis.key_file import KeyFile
from services.chassis.scopes import Scope

GET, CREATE = "/mlapi.training.v1.JobService/GetJob", "/mlapi.training.v1.JobService/CreateJob"
CHAT, PUT = "/mlapi.ai_gateway.v1.WireService/Messages", "/mlapi.ai_gateway.v1.UsageService/PutBudget"
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


class Time:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def opened(path: Path, time: Time) -> Callable[[], Door]:
    return lambda: Door(KeyFile(path, time), time)


def made(path: Path, *scopes: str, tenant: str = "team-a", **more: Any) -> str:
    return writer.create(path, tenant, scopes, **more)[1]


def admitted(door: Door, key: str, method: str = GET) -> callers.Caller | None:
    return door.admit(method, {"authorization": f"Bearer {key}"})


def problem(door: Door, metadata: dict[str, str], method: str = GET) -> str:
    with pytest.raises(AppError) as refused:
        door.admit(method, metadata)
    assert refused.value.reason == refused.value.code
    return f"{refused.value.code}: {refused.value}"


def test_a_key_says_who_calls(path: Path, opened: Callable[[], Door]) -> None:
    record, key = writer.create(path, "team-a", ["training:read", "ai:call"])
    wanted = callers.Caller("team-a", record.id, frozenset((Scope.TRAINING_READ, Scope.AI_CALL)))
    door = opened()
    for shown_as in (
        {"authorization": f"Bearer {key}"},
        {"authorization": f"bearer  {key}"},
        {"x-api-key": key},
    ):
        assert door.admit(GET, shown_as) == wanted
    assert door.admit(GET, {"authorization": "Basic dTpw", "x-api-key": key}) == wanted


def test_who_shows_no_good_key_is_not_known(path: Path, opened: Callable[[], Door]) -> None:
    key, other = made(path, "admin"), made(path, "admin")
    door = opened()
    assert problem(door, {}).startswith("UNAUTHENTICATED: This call needs an API key")
    mixed = f"{key[:17]}{other[17:]}"  # one key's id, another's secret
    for wrong in (key[:-1], key + "x", key.replace("mlk", "mlx"), mixed, key[4:], "mlk_", "any", key * 9):
        said = problem(door, {"authorization": f"Bearer {wrong}"})
        assert said == "UNAUTHENTICATED: The API key is not known."
        assert problem(door, {"x-api-key": wrong}) == said


@pytest.mark.parametrize(
    ("scopes", "method", "allowed"),
    [
        (["training:read"], GET, True),
        (["training:read"], CREATE, False),
        (["training:write"], CREATE, True),
        (["training:write"], GET, False),
        (["training:read", "training:write"], CHAT, False),
        (["ai:call"], CHAT, True),
        (["ai:call"], PUT, False),
        (["ai:budgets"], PUT, True),
        (["admin"], PUT, True),
        (["ai:call"], REFLECT, True),
        (["ai:call", "ai:budgets", "training:read", "training:write"], "/mlapi.new.v1.Service/Get", False),
        (["admin"], "/mlapi.new.v1.Service/Get", True),
    ],
)
def test_a_key_is_for_what_its_scopes_say(
    path: Path, opened: Callable[[], Door], scopes: list[str], method: str, allowed: bool
) -> None:
    record, key = writer.create(path, "team-a", scopes)
    if allowed:
        assert admitted(opened(), key, method)
        return
    with pytest.raises(PermissionDenied) as refused:
        admitted(opened(), key, method)
    assert refused.value.metadata["key_id"] == record.id
    assert key[17:] not in str(refused.value)


def test_health_is_for_everyone_and_reflection_is_not(path: Path, opened: Callable[[], Door]) -> None:
    made(path, "admin")
    door = opened()
    for free in ("/grpc.health.v1.Health/Check", "/mlapi.health.v1.HealthService/GetHealth"):
        assert door.admit(free, {}) is None
        assert door.admit(free, {"authorization": "Bearer nonsense"}) is None
    with pytest.raises(Unauthenticated):
        door.admit(REFLECT, {})


def test_a_key_ends_when_it_says(path: Path, time: Time, opened: Callable[[], Door]) -> None:
    key = made(path, "admin", expires=NOW)
    door = opened()
    time.now -= 0.5
    assert admitted(door, key)
    time.now += 0.5
    assert problem(door, {"x-api-key": key}).endswith(f"The API key {key[4:16]} has expired.")


def test_keys_change_without_a_gap(path: Path, time: Time, opened: Callable[[], Door]) -> None:
    old = made(path, "admin")
    door = opened()
    new = made(path, "admin")
    time.now += LOOK_SECONDS
    assert admitted(door, old)
    assert admitted(door, new)
    writer.revoke(path, old[4:16])
    time.now += LOOK_SECONDS
    assert problem(door, {"x-api-key": old}) == "UNAUTHENTICATED: The API key is not known."
    assert admitted(door, new)
    writer.revoke(path, new[4:16])  # the last: a file without keys is a file, too
    time.now += LOOK_SECONDS
    assert problem(door, {"x-api-key": new})


@pytest.mark.parametrize("content", [None, "", "[", "[{}]", '["x"]', "\x00", b"\xff"])
def test_a_broken_file_leaves_the_last_keys_in_force(
    path: Path,
    time: Time,
    opened: Callable[[], Door],
    caplog: pytest.LogCaptureFixture,
    content: str | bytes | None,
) -> None:
    key = made(path, "admin")
    good = path.read_bytes()
    door = opened()
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for _ in range(3):
        time.now += LOOK_SECONDS
        assert admitted(door, key)
    assert [record.levelname for record in caplog.records] == ["ERROR"]  # said once
    path.write_bytes(good.replace(key[4:16].encode(), b"abcdefghijkl"))
    time.now += LOOK_SECONDS
    assert problem(door, {"x-api-key": key})


GOOD = {"id": "a1b2c3d4e5f6", "sha256": "0" * 64, "tenant": "t", "scopes": ["admin"]}


def test_one_key_a_line_will_do_as_well(path: Path) -> None:
    second = {
        **GOOD,
        "id": "a" * 12,
        "expires": "2027-01-01T00:00:00Z",
        "requests": "5/hour",
        "note": "more is no harm",
    }
    path.write_text(f"{json.dumps(GOOD)}\n\n{json.dumps(second)}\n")
    found = key_file.read(path)
    assert [key.requests for key in found.values()] == ["", "5/hour"]
    assert [key.caller.key for key in found.values()] == [GOOD["id"], "a" * 12]
    assert found["a" * 12].expires == datetime(2027, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "A1B2C3D4E5F6"}, "key 1: id"),
        ({"sha256": "swordfish"}, "key 1: sha256"),
        ({"tenant": "-"}, "key 1: tenant"),
        ({"scopes": ["swordfish"]}, "scopes are a list of training:read, "),
        ({"scopes": "admin"}, "scopes are"),
        ({"expires": "swordfish"}, "expires is not a time"),
        ({"expires": "2027-01-01T00:00:00"}, "no time zone"),
        ({"requests": "swordfish"}, "requests is not a limit"),
        ({"requests": ["5/hour"]}, "requests is not a limit"),
    ],
)
def test_what_is_wrong_is_said_and_not_repeated(path: Path, change: dict[str, Any], said: str) -> None:
    path.write_text(json.dumps([{**GOOD, **change}]))
    with pytest.raises(ValueError, match=said) as refused:
        key_file.read(path)
    assert "swordfish" not in str(refused.value)


def test_two_keys_of_one_id_are_none(path: Path) -> None:
    path.write_text(json.dumps([GOOD, GOOD]))
    with pytest.raises(ValueError, match="same id"):
        key_file.read(path)


@pytest.mark.parametrize(
    ("scopes", "asked", "tenant", "only"),
    [
        (None, "", "default", None),
        (None, "team-b", "team-b", None),
        (["ai:call"], "", "team-a", "team-a"),
        (["ai:call"], "team-a", "team-a", "team-a"),
        (["ai:call"], "team-b", "", "team-a"),
        (["admin"], "", "team-a", None),
        (["admin"], "team-b", "team-b", None),
    ],
)
def test_a_call_is_for_the_keys_tenant(
    scopes: list[str] | None, asked: str, tenant: str, only: str | None
) -> None:
    def call() -> str:
        caller = None
        if scopes is not None:
            caller = callers.Caller("team-a", "a1b2c3d4e5f6", frozenset(map(Scope, scopes)))
        try:
            callers.enter(caller, {"x-tenant": asked} if asked else {})
        finally:
            assert callers.only() == only
        return callers.tenant()

    if tenant:
        assert copy_context().run(call) == tenant
    else:
        with pytest.raises(PermissionDenied):
            copy_context().run(call)


def test_what_is_shown_is_handed_on() -> None:
    assert shown({"authorization": "Bearer a", "x-api-key": "b"}) == "a"
    assert shown({"x-api-key": "b"}) == "b"
    assert shown({}) == ""


def test_a_delegate_is_one_tenants_for_a_call_and_for_training_only(
    path: Path, opened: Callable[[], Door]
) -> None:
    key = made(path, "training:delegate", "ai:call", tenant="gateway")
    door = opened()
    for tenant in ("team-a", "team-b"):
        caller = door.admit(CREATE, {"authorization": f"Bearer {key}", callers.HEADER: tenant})
        assert caller
        assert (caller.tenant, caller.everywhere, caller.delegated) == (tenant, False, True)
        assert caller.scopes == {Scope.TRAINING_READ, Scope.TRAINING_WRITE}
        named = {"authorization": f"Bearer {key}", callers.HEADER: tenant}
        assert problem(door, named, CHAT).startswith("PERMISSION_DENIED")
        assert problem(door, named, PUT).startswith("PERMISSION_DENIED")
    assert problem(door, {"authorization": f"Bearer {key}"}).startswith("PERMISSION_DENIED")
    reader = made(path, "training:read", tenant="team-a")
    other = {"authorization": f"Bearer {reader}", callers.HEADER: "team-b"}
    found = opened().admit(GET, other)
    assert found
    assert not found.delegated
    assert found.tenant == "team-a"  # and who asks for another tenant's is refused where it is asked for
