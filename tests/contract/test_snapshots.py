"""A database of each release becomes one of this release, with all that was in it.

`python -m tests.contract.test_snapshots` writes the newest snapshot anew. That is for a schema that nobody
has yet: a snapshot of a release never changes again, or it proves nothing.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from mlapi_client import audit

from services.chassis.audit.chain import Chain
from services.chassis.audit.entry import Entry
from services.chassis.cursor import Cursor
from services.chassis.database import Database
from services.chassis.schema import migrate
from services.training.adapters import migrations
from services.training.adapters.store_sql import SqlStore
from services.training.adapters.store_sql.tables import RATES
from services.training.application.ports import Page, Replay, Store, Transaction
from services.training.domain.checkpoint import Checkpoint
from services.training.domain.dataset import ColumnType
from services.training.domain.hyperparameters import Linear, Mlp
from services.training.domain.job import Device, Job, JobError, JobState, Source, Task
from services.training.domain.registry import RegisteredModel
from services.training.domain.search_space import (
    Choice,
    Condition,
    FloatRange,
    IntRange,
    Parameter,
    SearchSpace,
)
from services.training.domain.sweep import Proposal, Rejection
from services.training.domain.trial import Measured, Trial, TrialState
from services.training.domain.usage import Usage
from tests.contract.postgres import Postgres
from tests.unit.training.samples import (
    LATER,
    NOW,
    content,
    dataset,
    event,
    job,
    model,
    point,
    spec,
    sqlite_url,
    sweep,
    upload,
    version,
)

SCRIPTS = Path(migrations.__path__[0])
SNAPSHOTS = Path(__file__).with_name("snapshots")
RELEASES = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008")
EVERYTHING = Page(1000)
SECOND = timedelta(seconds=1)
# In full, for defaults may change and what is stored may not.
MLP = Mlp((128, 128), 100, 64, 0.002, 0.01, 0.2, 4, 30)
A_SPEC = spec(hyperparameters=MLP)
ENDED = {"update_time": LATER, "end_time": LATER}
JOBS = {
    state: replace(job(f"job-{state.lower()}", state=state, **changes), spec=A_SPEC)
    for state, changes in {
        JobState.QUEUED: {},
        JobState.RUNNING: {
            "progress": 0.25,
            "attempt": 1,
            "handle": "4321:17.25",
            "usage": Usage(1.5, 1.25, 0.0, 300),
            "start_time": NOW,
        },
        JobState.CANCELLING: {"attempt": 1, "handle": "4322:18.25", "start_time": NOW},
        JobState.CANCELLED: {},
        JobState.FAILED: {
            "attempt": 1,
            "start_time": NOW,
            "error": JobError("INVALID_ARGUMENT", "UNTRAINABLE_DATA", "one class"),
        },
        JobState.SUCCEEDED: {
            "attempt": 1,
            "start_time": NOW,
            "progress": 1.0,
            "model_id": "model-1",
            "validation_metrics": {"accuracy": 0.9},
        },
    }.items()
}
for state in (JobState.CANCELLED, JobState.FAILED, JobState.SUCCEEDED):
    JOBS[state] = replace(JOBS[state], **ENDED)
JOBS[JobState.CANCELLING] = replace(JOBS[JobState.CANCELLING], update_time=LATER)
JOBS[JobState.SUCCEEDED] = replace(
    JOBS[JobState.SUCCEEDED],
    spec=spec(
        target="y",
        target_type=ColumnType.FLOAT,
        task=Task.REGRESSION,
        hyperparameters=Linear(2.5, 1000, 1e-6),
        validation=Source("v", "b2"),
    ),
)
FIRST_CONTENT = content("a1")


def load(release: str, file: Path) -> None:
    """Makes the SQLite file that the release left."""
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((SNAPSHOTS / f"{release}.sql").read_text())


def copy(file: Path, url: str, release: str) -> None:
    """Makes the same on PostgreSQL, where rows have no script of their own."""
    migrate(url, SCRIPTS, release)
    database = Database(url)
    with closing(sqlite3.connect(file)) as source, database.write() as connection:
        tables = [name for (name,) in source.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        tables = [name for name in tables if name not in ("alembic_version", "sqlite_sequence")]
        for table in sorted(
            tables, key=lambda name: name not in ("jobs", "datasets")
        ):  # the others refer to them
            found = source.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in found.description]
            insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"
            for row in found:
                connection.exec_driver_sql(insert, row)
        for table, last in source.execute("SELECT name, seq FROM sqlite_sequence"):
            connection.exec_driver_sql(f"SELECT setval('{table}_position_seq', {last})")
    database.close()


@contextmanager
def opened(url: str, tenant: str | None = None) -> Iterator[Store]:
    database = Database(url)
    yield SqlStore(database, lambda: tenant)
    database.close()


@pytest.fixture(params=["sqlite", "postgres"])
def before(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Makes a database as a release left it, and answers its URL."""
    file = tmp_path / "training.db"
    made: list[str] = []

    def make(release: str) -> str:
        load(release, file)
        if request.param == "sqlite":
            return f"sqlite:///{file}"
        server: Postgres = request.getfixturevalue("postgres")
        made.append(server.empty())
        copy(file, made[-1], release)
        return made[-1]

    yield make
    for url in made:
        request.getfixturevalue("postgres").drop(url)


def all_jobs(tx: Transaction) -> dict[JobState, Job]:
    return {item.state: item for _, item in tx.jobs.page(EVERYTHING, None)}


def assert_first_release_is_there(tx: Transaction) -> None:
    """What 0001.sql holds, as this release says it."""
    table = replace(dataset(held=FIRST_CONTENT), version=1)
    assert tx.datasets.page(EVERYTHING) == [(2, table), (1, dataset("empty"))]
    assert tx.datasets.versions(dataset(), EVERYTHING) == [(1, version(1, FIRST_CONTENT))]
    assert tx.datasets.versions(dataset("empty"), EVERYTHING) == []
    assert tx.datasets.holds_content("a1")
    assert all_jobs(tx) == JOBS
    assert [position for position, _ in tx.jobs.page(EVERYTHING, None)] == [6, 5, 4, 3, 2, 1]
    assert [tx.jobs.reading(name, unended=True) for name in ("a1", "b2")] == [True, False]
    assert tx.jobs.reading("b2")
    assert [one.job_id for one in tx.jobs.standings()] == ["job-queued", "job-running", "job-cancelling"]
    assert {(one.tenant, one.priority, one.device) for one in tx.jobs.standings()} == {
        ("default", 0, Device.CPU)
    }
    assert tx.models.page(EVERYTHING) == [(1, replace(model(), job_id="job-succeeded"))]
    assert tx.models.trained_on("a1")
    assert tx.jobs.history("job-succeeded", 0, 100) == [
        replace(point(step), progress=step / 3, time=LATER + (step - 1) * SECOND, position=step)
        for step in (1, 2, 3)
    ]
    running = replace(point(7), progress=0.25, values={"train_loss": 0.5}, position=4)
    assert tx.jobs.points("job-running", 3, 100) == [running]
    assert tx.jobs.events("job-running", 0, 100) == []


def test_the_first_release_is_read_back(before: Callable[[str], str]) -> None:
    url = before("0001")
    migrate(url, SCRIPTS)
    with opened(url) as store, store.read() as tx:
        assert_first_release_is_there(tx)
        assert tx.requests.find("request-1") == Replay("CreateJob", "f00d", JOBS[JobState.QUEUED])


def test_the_first_release_goes_on_where_it_was(before: Callable[[str], str]) -> None:
    """Attempts are fenced by the number they had, cursors stay good, no position is given twice."""
    url = before("0001")
    database = Database(url)
    with database.write() as connection:  # given out once, and deleted since
        connection.exec_driver_sql("DELETE FROM metric_points WHERE position = 4")
        connection.exec_driver_sql("DELETE FROM jobs WHERE job_id = 'job-succeeded'")
    database.close()
    migrate(url, SCRIPTS)
    running = JOBS[JobState.RUNNING]
    with opened(url) as store:
        with store.write() as tx:
            tx.jobs.update_held(replace(running, progress=0.5))
            tx.jobs.record("job-running", [point(1, seq=1), event(seq=2), point(1, seq=1)])
            tx.jobs.add(job("job-new"))
            tx.datasets.put(dataset("new"))
            tx.models.add(model("new"))
        with store.read() as tx:
            assert [one.position for one in tx.jobs.history("job-running", 4, 100)] == [5, 6]
            assert tx.jobs.page(Page(1), None)[0] == (7, job("job-new"))
            assert tx.datasets.page(Page(1))[0][0] == 3
            assert tx.models.page(Page(1))[0][0] == 2


def test_requests_of_the_first_release_are_answered_from_what_is_there(before: Callable[[str], str]) -> None:
    url = before("0001")
    database = Database(url)
    rows = [
        ("dataset", "CreateDataset", "table"),
        ("cancel", "CancelJob", "job-cancelled"),
        ("gone", "CreateJob", "job-gone"),
        ("odd", "TurnRound", "job-queued"),
        *((f"many-{number}", "CreateJob", "job-failed") for number in range(1100)),
    ]
    with database.write() as connection:
        for request_id, method, resource_id in rows:
            values = f"('{request_id}', '{method}', 'f', '{resource_id}')"
            connection.exec_driver_sql(f"INSERT INTO requests VALUES {values}")
    database.close()
    migrate(url, SCRIPTS)
    table = replace(dataset(held=FIRST_CONTENT), version=1)
    with opened(url) as store, store.write() as tx:
        assert tx.requests.find("dataset") == Replay("CreateDataset", "f", table)
        assert tx.requests.find("cancel") == Replay("CancelJob", "f", JOBS[JobState.CANCELLED])
        assert tx.requests.find("many-1099") == Replay("CreateJob", "f", JOBS[JobState.FAILED])
        assert tx.requests.find("gone") is tx.requests.find("odd") is None
        assert tx.requests.forget(NOW) == 0  # they live on as if they had come today


def test_many_points_of_the_first_release_keep_their_order(before: Callable[[str], str]) -> None:
    url = before("0001")
    database = Database(url)
    mark = "?" if database.embedded else "%s"
    insert = f"INSERT INTO metric_points VALUES ({', '.join([mark] * 7)})"
    with database.write() as connection:
        for number in range(5, 2505):
            # With gaps, as deleted jobs leave them.
            row = (
                2 * number,
                "job-running",
                1,
                number,
                number / 2504,
                NOW.timestamp() + number,
                '{"a": 1e-9}',
            )
            connection.exec_driver_sql(insert, row)
    database.close()
    migrate(url, SCRIPTS)
    with opened(url) as store, store.read() as tx:
        points = tx.jobs.points("job-running", 4, 10_000)
        assert [one.position for one in points] == [2 * number for number in range(5, 2505)]
        assert [one.step for one in points] == list(range(5, 2505))
        assert points[-1] == replace(
            points[0], position=5008, step=2504, progress=1.0, time=NOW + 2504 * SECOND
        )


VERSIONS = [replace(content("a1"), content_id=name) for name in ("c1", "c2")]
TABLE = replace(dataset(held=VERSIONS[1]), version=2)
SAVED = Checkpoint("step-7", 1, 7, 0.25, NOW, "f00d", 2**40, 0.5)
SOURCE = Source("table", "a1", 2, "c2")
HISTORY = [point(1, seq=1), event("warmed up", seq=2), event("moved"), point(2, attempt=2, seq=1)]
ANSWERS = {"none": None, "job": JOBS[JobState.QUEUED], "dataset": TABLE, "upload": upload()}
TRIAL = Trial(
    0, {"hidden_sizes": (16,), "learning_rate": 0.01}, "größe", "job-1-0", TrialState.SUCCEEDED, {"f1": 0.5}
)
# In full, as a job's; of each kind of range one.
SWEEP = sweep(
    base=A_SPEC,
    space=SearchSpace(
        (
            Parameter("learning_rate", FloatRange(0.001, 0.1, log=True)),
            Parameter("batch_size", IntRange(16, 64, step=16)),
            Parameter("hidden_sizes", Choice(((16,), (32, 32))), (Condition("batch_size", (16,)),)),
        )
    ),
    proposals=(Proposal(TRIAL.values, "größe"),),
    rejections=(Rejection(1, "proposal", "values.x: unknown"),),
    learned=(Measured({"learning_rate": 0.02}, -0.5),),
    trials=(TRIAL,),
)


NAMED = RegisteredModel("roses", NOW, NOW).registered("model-1", LATER, ["champion"], comment="größe")

AUDITED = [
    Entry(
        time=LATER.isoformat(timespec="microseconds"),
        tenant="größe",
        key="0123456789ab",
        method="/mlapi.training.v1.JobService/CancelJob",
        resource=name,
        request_id="request-1",
        trace_id="0" * 32,
        code="OK",
    )
    for name in ("job-1", "job-2")
]


def second_release() -> dict[JobState, Job]:
    """The jobs of 0002.sql."""
    jobs = dict(JOBS)
    jobs[JobState.RUNNING] = replace(
        jobs[JobState.RUNNING],
        spec=replace(A_SPEC, train=SOURCE, device=Device.GPU, max_attempts=5, time_limit=60.0),
        tenant="größe",
        priority=7,
        step=7,
        attempt=2,
        deadline=LATER,
        progress_time=NOW,
        checkpoints=(SAVED,),
    )
    return jobs


TAKEN = {"{caller}:requests:50:3600:training": {7: 1, 8: 2}}


def fill(store: Store) -> None:
    """At least one row for every table of a store, and for each thing that a row can be."""
    with store.write() as tx:
        tx.datasets.put(dataset("empty"))
        for number, held in enumerate(VERSIONS, 1):
            tx.datasets.put(replace(TABLE, content=held, version=number))
            tx.datasets.add_version(TABLE, version(number, held))
        for one in second_release().values():
            tx.jobs.add(one)
        tx.jobs.record("job-running", HISTORY)
        tx.models.add(replace(model(), source=SOURCE))
        tx.registry.put(NAMED)
        tx.uploads.put(upload())
        tx.sweeps.add(SWEEP)
        tx.jobs.add(replace(job("job-1-0"), spec=A_SPEC, sweep_id="sweep-1"))
        for name, answer in ANSWERS.items():
            tx.requests.add(name, Replay("Method", "f00d", answer), NOW)


def taken(url: str) -> dict[str, dict[int, int]]:
    """What is on record of callers' rates."""
    database = Database(url)
    with database.write() as connection:
        found = RATES.kept(Cursor(connection), list(TAKEN))
    database.close()
    return found


def take(url: str) -> None:
    """Puts that on record."""
    database = Database(url)
    with database.write() as connection:
        RATES.put(Cursor(connection), [(name, "7:1 8:2", 9.0) for name in TAKEN])
    database.close()


@pytest.mark.parametrize("release", RELEASES[1:])
def test_this_release_is_read_back(before: Callable[[str], str], release: str) -> None:
    url = before(release)
    migrate(url, SCRIPTS)
    with opened(url) as store:
        with store.read() as tx:
            assert [item for _, item in tx.datasets.page(EVERYTHING)] == [TABLE, dataset("empty")]
            expected = [(number, version(number, VERSIONS[number - 1])) for number in (2, 1)]
            assert tx.datasets.versions(dataset(), EVERYTHING) == expected
            assert all_jobs(tx) == second_release()
            history = tx.jobs.history("job-running", 0, 100)
            assert [replace(one, position=0) for one in history] == HISTORY
            assert tx.models.get("model-1") == replace(model(), source=SOURCE)
            assert tx.uploads.get("upload-1") == upload()
            assert tx.sweeps.get("sweep-1") == (SWEEP if release >= "0003" else None)
            assert tx.registry.get("roses") == (NAMED if release >= "0004" else None)
            assert (tx.jobs.get("job-1-0") is None) == (release == "0002")
            found = {name: tx.requests.find(name) for name in ANSWERS}
            assert found == {name: Replay("Method", "f00d", answer) for name, answer in ANSWERS.items()}
            assert taken(url) == (TAKEN if release >= "0007" else {name: {} for name in TAKEN})
        with store.write() as tx:
            tx.jobs.update_held(replace(second_release()[JobState.RUNNING], step=8))
            tx.jobs.add(job("job-new"))
    assert_audited(url, AUDITED if release >= "0006" else [])


def assert_audited(url: str, expected: list[Entry]) -> None:
    """What was on record is, and its chain is whole."""
    file = Path(url.removeprefix("sqlite:///"))
    place = audit.Place("training", file.parent, "" if url.startswith("sqlite") else url)
    assert audit.verify(place.read()).entries == len(expected)
    assert [entry["resource"] for entry in place.read()] == [one.resource for one in expected]


def test_names_become_each_tenants_own(before: Callable[[str], str]) -> None:
    url = before("0004")
    database = Database(url)
    with database.write() as connection:
        sqlite = connection.dialect.name == "sqlite"
        given = "json_set(document, '$.tenant', 'lab')"
        if not sqlite:
            given = "jsonb_set(document::jsonb, '{tenant}', '\"lab\"')::json"
        for table, key in (("datasets", "dataset_id = 'table'"), ("registered_models", "name = 'roses'")):
            connection.exec_driver_sql(f"UPDATE {table} SET document = {given} WHERE {key}")
    database.close()
    migrate(url, SCRIPTS)
    table = replace(TABLE, tenant="lab")
    for tenant, held in {"lab": table, "default": None}.items():
        with opened(url, tenant) as store, store.write() as tx:
            assert tx.datasets.get("table") == held
            assert (tx.registry.get("roses") is not None) == (held is not None)
            assert (tx.datasets.get("empty") is not None) == (held is None)
            assert [number for number, _ in tx.datasets.versions(table, EVERYTHING)] == [2, 1]
            assert [name for name, _ in tx.registry.pointing_to("model-1")] == ["roses"]
    with opened(url, "lab") as store, store.write() as tx:
        tx.datasets.delete(table)
        assert tx.datasets.versions(table, EVERYTHING) == []


def test_the_newest_snapshot_is_of_this_schema_and_leaves_no_table_out(tmp_path: Path) -> None:
    load(RELEASES[-1], tmp_path / "snapshot.db")
    sqlite_url(tmp_path)
    schemas = []
    for name in ("snapshot.db", "training.db"):
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            schemas.append(set(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql <> ''")))
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            rows = {
                table: connection.execute(f"SELECT count(*) FROM {table}").fetchone() for (table,) in tables
            }
            assert name == "training.db" or (0,) not in rows.values(), rows
    assert schemas[0] == schemas[1]


def test_every_release_has_a_snapshot() -> None:
    revisions = {path.name.partition("_")[0] for path in (SCRIPTS / "versions").glob("*.py")}
    assert {path.stem for path in SNAPSHOTS.glob("*.sql")} == revisions == set(RELEASES)


def dumped(folder: Path) -> str:
    """A database of this release as SQL."""
    url = sqlite_url(folder)
    with opened(url) as store:
        fill(store)
    with closing(Database(url)) as database, database.write() as connection:
        Chain("training").append(Cursor(connection), AUDITED)
    take(url)
    with closing(sqlite3.connect(folder / "training.db")) as connection:
        return "\n".join(connection.iterdump()) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        (SNAPSHOTS / f"{RELEASES[-1]}.sql").write_text(dumped(Path(name)))
