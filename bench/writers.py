"""Writers that contend for one SQLite file: turns beside plain BEGIN IMMEDIATE with a busy timeout.

python bench/writers.py [TRANSACTIONS PER WRITER]

A transaction is what a worker's progress is: read the job, replace it, append a point to its history.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import sqlalchemy

from services.chassis import clock
from services.chassis.database import Database
from services.chassis.schema import migrate
from services.training.adapters import migrations
from services.training.adapters.store_sql import SqlStore
from services.training.application.ports import Store
from services.training.domain.dataset import ColumnType
from services.training.domain.history import MetricPoint
from services.training.domain.hyperparameters import Mlp
from services.training.domain.job import Job, JobSpec, JobState, Source, Task

RESULTS = Path(__file__).parent / "results" / "writers.json"
# Name → processes, and writing threads in each.
SHAPES = {"32 threads": (1, 32), "8 processes x 4 threads": (8, 4)}


class PlainDatabase(Database):
    """The peer: whoever wants to write says BEGIN IMMEDIATE, and SQLite's busy handler does the waiting."""

    @contextmanager
    def write(self) -> Iterator[sqlalchemy.Connection]:
        with self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                connection.exec_driver_sql("ROLLBACK")
                raise


KINDS = {"turns": Database, "plain": PlainDatabase}


@dataclass
class Written:
    """What one writer did: seconds for each transaction, and what reached it as an error."""

    latencies: list[float]
    errors: list[str]


def write(store: Store, writer: int, count: int) -> Written:
    """`count` transactions on a job of this writer's own, which has to be there."""
    done = Written([], [])
    for number in range(1, count + 1):
        began = time.perf_counter()
        try:
            with store.write() as tx:
                job = tx.jobs.lock(f"job-{writer}")
                assert job is not None
                tx.jobs.update_held(job.reported(number, number / count, job.usage, job.create_time))
                values = {"train_loss": 1 / number}
                tx.jobs.record(
                    job.job_id, [MetricPoint(1, number, number / count, values, job.create_time, seq=number)]
                )
        except Exception as error:
            done.errors.append(repr(error))
        done.latencies.append(time.perf_counter() - began)
    return done


def process(run: tuple[str, str, int], writers: range, start: Barrier, answers: Any) -> None:
    """One process of a run."""
    kind, url, count = run
    database = KINDS[kind](url)
    store = SqlStore(database)
    with ThreadPoolExecutor(len(writers)) as pool:
        start.wait()
        began, processor = time.time(), time.process_time()
        done = list(pool.map(lambda writer: write(store, writer, count), writers))
        ended, processor = time.time(), time.process_time() - processor
    database.close()
    answers.put((began, ended, processor, done))


def fill(url: str, writers: int) -> None:
    """The schema, and a running job for each writer."""
    migrate(url, Path(migrations.__path__[0]))
    database = Database(url)
    now = clock.now()
    spec = JobSpec(Source("table", "a1"), "kind", ColumnType.TEXT, Task.CLASSIFICATION, Mlp())
    with SqlStore(database).write() as tx:
        for writer in range(writers):
            tx.jobs.add(Job(f"job-{writer}", "", spec, now, now, JobState.RUNNING, attempt=1))
    database.close()


def kept(url: str, writers: int) -> int:
    """Points that are there at the end."""
    database = Database(url)
    with SqlStore(database).read() as tx:
        count = sum(len(tx.jobs.points(f"job-{writer}", 0, 10**9)) for writer in range(writers))
    database.close()
    return count


def run(kind: str, processes: int, threads: int, count: int) -> dict[str, float]:
    """One run on a new file. Latencies, and processor time for each transaction, in milliseconds."""
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(processes), context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/training.db"
        fill(url, processes * threads)
        began = [
            context.Process(
                target=process,
                args=((kind, url, count), range(one * threads, (one + 1) * threads), start, answers),
            )
            for one in range(processes)
        ]
        for one in began:
            one.start()
        parts = [answers.get() for _ in began]
        for one in began:
            one.join()
        stored = kept(url, processes * threads)
    done = [writer for *_, part in parts for writer in part]
    latencies = sorted(latency * 1000 for writer in done for latency in writer.latencies)
    ends = sorted(sum(writer.latencies) for writer in done)
    hundredths = statistics.quantiles(latencies, n=100)
    seconds = max(part[1] for part in parts) - min(part[0] for part in parts)
    return {
        "transactions": len(latencies),
        "stored": stored,
        "errors": sum(len(writer.errors) for writer in done),
        "seconds": round(seconds, 1),
        "per_second": round(len(latencies) / seconds),
        "processor_ms": round(sum(part[2] for part in parts) * 1000 / len(latencies), 2),
        "p50_ms": round(hundredths[49], 2),
        "p99_ms": round(hundredths[98], 2),
        "max_ms": round(latencies[-1], 1),
        "first_writer_done_s": round(ends[0], 1),
    }


def main(count: int) -> int:
    """Every shape with turns and without; 0 when turns lost nothing."""
    results: dict[str, Any] = {"cores": os.cpu_count(), "transactions_per_writer": count, "runs": {}}
    names = ("per_second", "processor_ms", "p50_ms", "p99_ms", "max_ms", "first_writer_done_s", "errors")
    header = ("writers", "kind", *names)
    print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for shape, (processes, threads) in SHAPES.items():
        for kind in KINDS:
            found = run(kind, processes, threads, count)
            results["runs"].setdefault(shape, {})[kind] = found
            print(
                "| " + " | ".join([shape, kind, *(str(found[name]) for name in names)]) + " |",
                flush=True,
            )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    turns = [kinds["turns"] for kinds in results["runs"].values()]
    return 0 if all(run["errors"] == 0 and run["stored"] == run["transactions"] for run in turns) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
