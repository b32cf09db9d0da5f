"""Each job is created once, however often it is asked for and whoever goes away meanwhile."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
from mlapi_client import audit

from services.chassis.database import Database
from services.training.adapters.store_sql import SqlStore
from services.training.application.ports import Page
from tests.e2e.journeys import flowers
from tests.faults.extent import LONG
from tests.faults.service import RETRIED, Client, Service, create_request, jobs, services

SENDS = 10
THREADS = 16
# Holds the only slot, so that the others are created and no more.
ENDLESS = {"max_epochs": 100_000, "early_stopping_patience": 100_000}


def test_a_job_is_created_once_however_often_it_is_asked_for(
    url: str, tmp_path: Path, chance: random.Random, say: list[str]
) -> None:
    count = 1000 if LONG else 50
    with services("AB", tmp_path, DATABASE_URL=url, TRAINING_SLOTS="1") as pair:
        client = Client(*pair)
        client.upload("flowers", flowers())
        client.create("first", dataset_id="flowers", target="kind", priority=100, mlp=ENDLESS)
        with killing(pair, chance, LONG):
            answers, lost = send_all(pair, client, count, chance)
        assert {len(answer) for answer in answers.values()} == {1}
        made = {job_id for answer in answers.values() for job_id in answer}
        assert len(made) == count
        database = Database(url)
        with SqlStore(database).read() as tx:
            stored = {job.job_id for _, job in tx.jobs.page(Page(10_000), None)}
        database.close()
        assert made < stored
        assert len(stored) == count + 1
        # Whoever is killed: what was answered is on record, in one chain.
        record = audit.Place("training", tmp_path, "" if url.startswith("sqlite") else url)
        assert audit.verify(record.read()).entries > count
        assert made < {entry["resource"] for entry in record.read() if entry["code"] == "OK"}
        starts = sum(service.starts for service in pair)
        say.append(
            f"creating: {url.partition(':')[0]}: {count * SENDS} requests, {lost} of them given up by the "
            f"caller, {starts} starts of services: {count} jobs"
        )


def send_all(
    pair: list[Service], client: Client, count: int, chance: random.Random
) -> tuple[dict[str, set[str]], int]:
    """What each request id was answered; and how many sends their callers gave up."""
    answers: dict[str, set[str]] = defaultdict(set)
    lost = [0]
    sends = [f"id-{number}" for number in range(count)] * SENDS
    chance.shuffle(sends)
    # Most answers take a few milliseconds: some callers are gone before, some after the job is there.
    patience = [chance.choice([0.001, 0.003, 0.01, 0.03, 5.0]) for _ in sends]

    def send(request_id: str, seconds: float) -> None:
        channel = chance.choice(pair).channel()
        if channel is None:
            lost[0] += 1
            return
        message = request_for(request_id)
        try:
            if seconds < 1 and chance.random() < 0.5:
                call = jobs(channel).CreateJob.future(message)
                threading.Timer(seconds, call.cancel).start()
                job = call.result(10)
            else:
                job = jobs(channel).CreateJob(message, timeout=seconds)
            answers[request_id].add(job.job_id)
        except (ValueError, grpc.FutureCancelledError):  # the channel was closed; we have cancelled
            lost[0] += 1
        except grpc.RpcError as error:
            if error.code() not in RETRIED:
                raise
            lost[0] += 1

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(send, sends, patience))
        whole = pool.map(lambda number: client.create(f"id-{number}", **BODY), range(count))
        for number, job_id in enumerate(whole):
            answers[f"id-{number}"].add(job_id)
    return answers, lost[0]


BODY = {"dataset_id": "flowers", "target": "kind", "mlp": {"max_epochs": 3}}


def request_for(request_id: str) -> object:
    return create_request(request_id=request_id, **BODY)


@contextmanager
def killing(pair: list[Service], chance: random.Random, wanted: bool) -> Iterator[None]:
    """Kills the services in turn, and starts them again."""
    over = threading.Event()

    def kill() -> None:
        while not over.wait(chance.uniform(0.5, 3)):
            service = chance.choice(pair)
            service.kill()
            service.start()

    thread = threading.Thread(target=kill)
    if wanted:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if wanted:
            thread.join()
        for service in pair:
            service.wait()
