"""Metrics of training: what attempts of this process use is counted once, whatever happens to the job."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from services.training.adapters.metrics import TrainingMetrics
from services.training.domain.job import Job, JobState
from services.training.domain.usage import Usage
from tests.unit.training.samples import NOW, job
from tests.unit.training.stand_ins import Outage

LATER = NOW + timedelta(seconds=9)


class Scene:
    """A page of metrics over a store."""

    def __init__(self, outage: Outage) -> None:
        self.outage = outage
        self.registry = CollectorRegistry()
        self.metrics = TrainingMetrics(outage, self.registry)

    def put(self, changed: Job, *, new: bool = False) -> Job:
        with self.outage.store.write() as tx:
            (tx.jobs.add if new else tx.jobs.update)(changed)
        return changed

    def value(self, name: str, **labels: str) -> float | None:
        """As a scrape would find it, the second time: counters grow while the page is made."""
        list(self.registry.collect())
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def scene(outage: Outage) -> Scene:
    return Scene(outage)


def test_jobs_are_counted_by_state_and_states_without_any_are_there(scene: Scene) -> None:
    for name in ("a", "b"):
        scene.put(job(name), new=True)
    assert scene.value("ml_api_jobs", state="queued") == 2
    assert scene.value("ml_api_jobs", state="failed") == 0


def test_usage_counts_from_the_start_of_the_attempt_to_its_end_and_once(scene: Scene) -> None:
    before = replace(job(), usage=Usage(samples=100, gpu_seconds=1.0))  # of an earlier attempt
    running = scene.put(before.started(NOW, LATER), new=True)
    scene.metrics.started(running)
    running = scene.put(replace(running, usage=Usage(samples=150, gpu_seconds=1.5)))
    assert scene.value("ml_api_training_samples_total") == 50
    done = running.moved(JobState.SUCCEEDED, LATER, usage=Usage(samples=400, gpu_seconds=3.0))
    scene.put(done)
    for _ in range(2):
        assert scene.value("ml_api_training_samples_total") == 300
    assert scene.value("ml_api_gpu_seconds_total") == 2.0
    assert scene.value("ml_api_job_attempts_total") == 1


def test_an_attempt_of_an_earlier_process_counts_from_now_on(scene: Scene) -> None:
    running = replace(job().started(NOW, LATER), usage=Usage(samples=100))
    scene.put(running, new=True)
    assert scene.value("ml_api_training_samples_total") == 0
    scene.put(replace(running, usage=Usage(samples=130)))
    assert scene.value("ml_api_training_samples_total") == 30


def test_while_the_store_is_away_the_rest_of_the_page_is_there(scene: Scene) -> None:
    scene.metrics.lost("TRAINING_PROCESS_LOST")
    scene.outage.down = True
    assert scene.value("ml_api_jobs", state="queued") is None
    assert scene.value("ml_api_job_attempts_lost_total", reason="TRAINING_PROCESS_LOST") == 1
