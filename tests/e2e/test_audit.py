"""Who changed what is on record, with the key that was shown and no secret; and it is proved to be whole."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from mlapi_client.cli import main

from tests.contract.waiting import until
from tests.e2e.journeys import flowers, upload
from tests.e2e.keyed import EVERYTHING, Keyed
from tests.e2e.test_keys import UNKNOWN


def run(keyed: Keyed, *arguments: object) -> Any:
    command = ["audit", *map(str, arguments), "--data-dir", str(keyed.stack.settings.data_dir)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    return done.stdout


def listed(keyed: Keyed, *wanted: str) -> list[tuple[str, str, str]]:
    found = json.loads(run(keyed, "list", "--json", "--limit", 1000, *wanted))["entries"]
    return [(one["method"].rpartition("/")[2], one["resource"], one["code"]) for one in found]


def test_changes_are_listed_with_their_key_and_tenant(keyed: Keyed, tmp_path: Path) -> None:
    key = keyed.key(*EVERYTHING, tenant="audited")
    with keyed.rest(key) as rest:
        upload(rest, "seeds", flowers())
        asked = {"dataset_id": "seeds", "target": "kind", "logistic": {}}
        job_id = rest.post("/v1/jobs", json=asked).json()["job_id"]
        until(lambda: rest.get(f"/v1/jobs/{job_id}").json()["state"] == "SUCCEEDED", 60)
        assert rest.post(f"/v1/jobs/{job_id}:cancel", json={}).status_code == 400
        assert rest.delete(f"/v1/jobs/{job_id}").status_code == 200
        limits = {"limits": [{"period": "DAY", "usd": 1}]}
        headers = {"x-request-id": "the-budget"}
        assert rest.put("/v1/ai/budgets/audited", json=limits, headers=headers).status_code == 200
        said = {"model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": "say 2"}]}
        assert rest.post("/v1/ai/chat/completions", json=said).status_code == 200
    assert listed(keyed, "--key", key[4:16]) == [
        ("UploadDataset", "seeds", "OK"),
        ("CreateJob", job_id, "OK"),
        ("CancelJob", job_id, "FAILED_PRECONDITION"),
        ("DeleteJob", job_id, "OK"),
        ("PutBudget", "audited", "OK"),
    ]
    assert len(listed(keyed, "--tenant", "audited", "--service", "training")) == 4
    assert "the-budget" in run(keyed, "list")
    assert len(listed(keyed, "--resource", job_id)) == 3
    verdicts = json.loads(run(keyed, "verify", "--json"))
    assert verdicts.keys() == {"training", "ai_gateway"}
    run(keyed, "verify", "--service", "training", "--head", verdicts["training"]["head"])
    archive = tmp_path / "archive.jsonl"
    run(keyed, "export", archive)
    assert len(archive.read_text().splitlines()) >= sum(one["entries"] for one in verdicts.values())
    assert "training: " in run(keyed, "verify", "--archive", archive)


def test_who_was_turned_away_is_listed_and_no_key_is_there(keyed: Keyed, key: str) -> None:
    reader = keyed.key("training:read", tenant="curious")
    with keyed.rest(reader) as rest:
        assert rest.delete("/v1/jobs/job-of-others").status_code == 403
        assert rest.get("/v1/ai/usage").status_code == 403
    assert listed(keyed, "--tenant", "curious", "--key", reader[4:16])[-2:] == [
        ("DeleteJob", "job-of-others", "PERMISSION_DENIED"),
        ("GetUsage", "", "PERMISSION_DENIED"),
    ]
    with keyed.rest(key) as rest:  # by mistake
        assert rest.delete(f"/v1/models/{key}", headers={"x-request-id": key}).status_code == 404
    assert ("DeleteModel", "[key]", "NOT_FOUND") in listed(keyed, "--key", key[4:16])
    with keyed.rest(UNKNOWN) as rest:
        assert rest.delete("/v1/models/anything").status_code == 401
    secrets = [one[17:] for one in (*keyed.shown, UNKNOWN)]
    for service in ("training", "ai_gateway"):
        file = f"file:{keyed.stack.settings.data_dir}/{service}.db?mode=ro"
        with closing(sqlite3.connect(file, uri=True)) as connection:
            rows = str(connection.execute(f"SELECT * FROM {service}_audit").fetchall())
        assert not [secret for secret in secrets if secret in rows]


def test_what_was_rewritten_is_named(keyed: Keyed, tmp_path: Path, key: str) -> None:
    with keyed.rest(key) as rest:
        for name in ("one", "two"):
            rest.delete(f"/v1/jobs/{name}")
    source = Path(keyed.stack.settings.data_dir) / "training.db"
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as read,
        closing(sqlite3.connect(tmp_path / "training.db")) as copy,
    ):
        read.backup(copy)
        copy.execute("UPDATE training_audit SET tenant = 'other' WHERE seq = 2")
        copy.commit()
    done = CliRunner().invoke(main, ["audit", "verify", "--service", "training", "--data-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "training: entry 2 is not what was written" in done.output
