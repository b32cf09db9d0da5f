"""Settings: read once, frozen, and refused with everything that is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pydantic
import pytest

from services.chassis.settings import ServiceSettings, load
from services.training.settings import (
    TrainingSettings,
    ray_command,
    ray_environment,
    worker_environment,
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TrainingSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def refusal(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Variable → what is wrong with it, as a starting service says it."""
    with pytest.raises(SystemExit) as ended:
        load(TrainingSettings)
    assert ended.value.code == 2
    return dict(line.split(": ", 1) for line in capsys.readouterr().err.splitlines())


def test_the_environment_fills_typed_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUEST_TIMEOUT", "2.5")
    monkeypatch.setenv("TRAINING_GRPC_PORT", "0")
    monkeypatch.setenv("NOBODY_KNOWS_THIS", "1")
    settings = load(TrainingSettings)
    assert (settings.request_timeout, settings.training_grpc_port, settings.log_file) == (2.5, 0, None)


def test_every_error_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {
        "HOST": "0.0.0.0",
        "BIND_HOST": "example.com",
        "API_KEYS_FILE": "/dev/null",
        "ARTIFACTS_URL": "ftp://server/folder",
        "RAY_ADDRESS": "ray://head:10001",
        "REQUEST_TIMEOUT": "-1",
        "LOG_LEVEL": "LOUD",
        "MAX_JSON_BYTES": "many",
        "TRAINING_GRPC_PORT": "65536",
        "TRAINING_SLOTS": "0",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    assert refusal(capsys).keys() == wrong.keys()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("ray://head:10001", "http://HOST:8265"),
        ("auto", "http://HOST:8265"),
        ("https://head:8265", "need DATABASE_URL and ARTIFACTS_URL"),
    ],
)
def test_a_ray_cluster_has_to_be_of_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str, why: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert why in refusal(capsys)["RAY_ADDRESS"]


def test_what_a_ray_cluster_is_given_holds_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("token-of-ray\n")
    secrets = {"DATABASE_URL": "postgresql://me:secret@db/x", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    for name, value in {**secrets, "ARTIFACTS_URL": "s3://b/x", "RAY_ADDRESS": "https://head:8265"}.items():
        monkeypatch.setenv(name, value)
    settings = load(TrainingSettings)
    assert settings.ray_token() == "token-of-ray"
    given = f"{ray_command(settings)} {ray_environment(settings)}"
    assert "DATABASE_URL,ARTIFACTS_URL" in given
    assert "secret" not in given
    assert "token" not in given
    assert not [name for name in worker_environment() if name.startswith("RAY_")]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", "127.0.0.1.example.com"])
@pytest.mark.parametrize("name", ["HOST", "BIND_HOST"])
def test_nothing_opens_without_authentication(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, host: str
) -> None:
    monkeypatch.setenv(name, host)
    assert "AUTH_MODE=off" in refusal(capsys)[name]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_enough(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("HOST", host)
    assert load(ServiceSettings).host == host


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "REQUEST_TIMEOUT", "LOG_FILE", "AUTH_MODE"):
        monkeypatch.setenv(name, "")
    assert load(ServiceSettings) == ServiceSettings()
    with pytest.raises(pydantic.ValidationError):
        ServiceSettings(host="")


def test_a_refusal_does_not_repeat_what_was_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "redis://:swordfish@cache:6379"
    monkeypatch.setenv("REDIS_URL", secret)
    monkeypatch.setenv("MAX_JSON_BYTES", "swordfish")
    assert "swordfish" not in str(refusal(capsys))
    with pytest.raises(pydantic.ValidationError) as raised:
        ServiceSettings()
    assert "swordfish" not in str(raised.value)


def test_settings_are_frozen() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        load(ServiceSettings).host = "0.0.0.0"


def test_an_empty_database_url_means_a_file_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", os.path.join("some", "where"))
    url = load(ServiceSettings).database("training")
    assert url == f"sqlite:///{os.getcwd()}/some/where/training.db"
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/one")
    assert load(ServiceSettings).database("training") == "postgresql://db/one"


def test_with_keys_any_address_may_be_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("[]")
    given = {"AUTH_MODE": "keys", "API_KEYS_FILE": str(tmp_path / "keys.json")}
    for name, value in {**given, "HOST": "0.0.0.0", "BIND_HOST": "::"}.items():
        monkeypatch.setenv(name, value)
    settings = load(ServiceSettings)
    assert (settings.host, settings.bind_host) == ("0.0.0.0", "::")
    # A worker listens nowhere: a file of keys that is being changed may not keep it from starting.
    for name, value in worker_environment().items():
        monkeypatch.setenv(name, value)
    assert load(ServiceSettings).auth_mode == "off"


@pytest.mark.parametrize("content", [None, "", "[", '[{"id": "short"}]'])
def test_keys_have_to_be_there_from_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str | None
) -> None:
    monkeypatch.setenv("AUTH_MODE", "keys")
    assert refusal(capsys).keys() == {"API_KEYS_FILE"}
    if content is not None:
        (tmp_path / "keys.json").write_text(content)
    monkeypatch.setenv("API_KEYS_FILE", str(tmp_path / "keys.json"))
    assert refusal(capsys).keys() == {"API_KEYS_FILE"}
