"""`mlapi keys`, and keys on calls."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from mlapi_client import Client, InvalidValue, key_file
from mlapi_client.cli import main

from services.chassis.key_file import read
from services.chassis.scopes import Scope
from tests.unit.client.fake_api import JOB_ID, FakeApi

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    file = str(tmp_path / "keys.json")
    return lambda *arguments: CliRunner().invoke(main, ("keys", *arguments), env={"API_KEYS_FILE": file})


def test_a_key_is_created_listed_and_revoked(run: Run, tmp_path: Path) -> None:
    scopes = ("--scope", "training:read", "--scope", "ai:call")
    before = datetime.now(UTC)
    key = run("create", "--tenant", "team-a", *scopes, "--expires", "90d", "--name", "nightly").stdout.strip()
    prefix, key_id, secret = key.split("_", 2)
    assert (prefix, len(key_id), len(secret)) == ("mlk", 12, 32)
    file = tmp_path / "keys.json"
    assert secret not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)  # as containers need it, whose user is another
    limited = ("--tenant", "b", "--scope", "admin", "--requests", "9/day, 5/hour")
    other = json.loads(run("create", *limited, "--json").stdout)
    assert file.stat().st_mode & 0o777 == 0o644

    listed = run("list", "--json").stdout
    assert secret not in listed
    assert "sha256" not in listed
    first, second = json.loads(listed)["keys"]
    assert (first["id"], first["tenant"], first["name"]) == (key_id, "team-a", "nightly")
    left = datetime.fromisoformat(first["expires"]) - before
    assert timedelta(days=89, hours=23) < left < timedelta(days=90, minutes=5)
    assert (second["id"], second["expires"]) == (other["id"], None)
    assert key_id in run("list").stdout

    assert run("revoke", key_id).exit_code == 0
    assert [key.requests for key in read(file).values()] == ["9/day, 5/hour"]
    assert list(read(file)) == [other["id"]]
    assert run("revoke", key_id).exit_code == 3
    assert run("revoke", other["id"]).exit_code == 0
    assert read(file) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


@pytest.mark.parametrize(
    "wrong",
    [
        ("--tenant", "-", "--scope", "admin"),
        ("--tenant", "a", "--scope", "root"),
        ("--tenant", "a"),
        ("--tenant", "a", "--scope", "admin", "--expires", "soon"),
        ("--tenant", "a", "--scope", "admin", "--requests", "5"),
        ("--tenant", "a", "--scope", "admin", "--requests", "0/hour"),
        ("--tenant", "a", "--scope", "admin", "--requests", "5/hour 6/day"),
    ],
)
def test_what_the_services_would_not_read_is_not_written(run: Run, tmp_path: Path, wrong: tuple[str]) -> None:
    assert run("create", *wrong).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_something_else_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("precious")
    for command in (("create", "--tenant", "a", "--scope", "admin"), ("list",), ("revoke", "x")):
        assert run(*command).exit_code == 4
    assert (tmp_path / "keys.json").read_text() == "precious"


def test_both_sides_know_the_same_scopes() -> None:
    assert tuple(Scope) == key_file.SCOPES


def test_every_call_shows_the_key(api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    with Client(api.address, api_key="mlk_id_secret", tenant="team-a") as client:
        client.jobs.get(JOB_ID)
        list(client.jobs.watch(JOB_ID))
        client.datasets.upload(tmp_path / "a.csv", "a")
    met = {method: set(shown) for method, shown in api.shown.items()}
    assert {"GetJob", "WatchJob", "UploadDataset"} <= met.keys()
    assert set().union(*met.values()) == {"Bearer mlk_id_secret"}
    assert set().union(*api.tenants.values()) == {"team-a"}


def test_the_cli_takes_the_key_from_its_variable(api: FakeApi) -> None:
    env = {"MLAPI_ADDRESS": api.address, "MLAPI_API_KEY": "mlk_id_secret"}
    assert CliRunner().invoke(main, ("jobs", "get", JOB_ID), env=env).exit_code == 0
    assert api.shown["GetJob"] == ["Bearer mlk_id_secret"]


def test_a_key_that_no_header_can_carry_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidValue) as refused:
        Client("127.0.0.1:1", api_key="sécret")
    assert "cret" not in str(refused.value)
