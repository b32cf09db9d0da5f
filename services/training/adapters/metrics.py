"""Metrics of training jobs."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from threading import Lock

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.training.application.ports import Store
from services.training.domain.job import LIVE, Job, JobState
from services.training.domain.usage import Usage

log = logging.getLogger("metrics")


class TrainingMetrics(Collector):
    """See `Observer`. Jobs by state are counted in the store when somebody asks: all replicas say the same.

    What training uses is written down by other processes, so what the attempts that this one started have
    used is looked up as well, and counters grow by what is new. So they add up over replicas.
    """

    def __init__(self, store: Store, registry: CollectorRegistry) -> None:
        self._store = store
        self._followed: dict[str, Usage] = {}  # what is counted of each job already
        self._adopted = False  # attempts that an earlier process began
        self._lock = Lock()
        self._samples = Counter(
            "ml_api_training_samples", "Rows trained on, each pass counted", registry=registry
        )
        self._gpu = Counter("ml_api_gpu_seconds", "Seconds of GPUs that attempts held", registry=registry)
        self._cpu = Counter("ml_api_cpu_seconds", "Processor time of attempts", registry=registry)
        self._attempts = Counter("ml_api_job_attempts", "Attempts that were started", registry=registry)
        self._lost = Counter(
            "ml_api_job_attempts_lost",
            "Attempts whose process ended without a result",
            ["reason"],
            registry=registry,
        )
        self._evicted = Counter(
            "ml_api_job_attempts_evicted", "Attempts that were ended for want of memory", registry=registry
        )
        registry.register(self)

    def started(self, job: Job) -> None:
        self._attempts.inc()
        with self._lock:
            self._followed.setdefault(job.job_id, job.usage)

    def lost(self, reason: str) -> None:
        self._lost.labels(reason).inc()

    def evicted(self) -> None:
        self._evicted.inc()

    def collect(self) -> Iterable[Metric]:
        """One sample for each state, also for those that no job is in."""
        gauge = GaugeMetricFamily("ml_api_jobs", "Jobs by state", labels=["state"])
        try:
            with self._store.read() as tx:
                counts = tx.jobs.counts()
            self._follow()
        except Exception:
            # The rest of the page is needed most when the store is away, which the reconciler tells. After
            # the end it is closed, when the last figures are sent by OTLP.
            log.debug("jobs could not be counted", exc_info=True)
            return [gauge]
        for state in JobState:
            gauge.add_metric([state.lower()], counts.get(state, 0))
        return [gauge]

    def _follow(self) -> None:
        with self._lock, self._store.read() as tx:
            if not self._adopted:
                for live in tx.jobs.in_states(LIVE):
                    self._followed.setdefault(live.job_id, live.usage)
                self._adopted = True
            for job_id, counted in list(self._followed.items()):
                job = tx.jobs.get(job_id)
                if job is None or not job.state.live:
                    del self._followed[job_id]
                if job is not None:
                    self._grow(counted, job.usage)
                    if job.state.live:
                        self._followed[job_id] = job.usage

    def _grow(self, before: Usage, now: Usage) -> None:
        """A replaced outbox may take something back, which a counter cannot."""
        self._samples.inc(max(0, now.samples - before.samples))
        self._gpu.inc(max(0.0, now.gpu_seconds - before.gpu_seconds))
        self._cpu.inc(max(0.0, now.cpu_seconds - before.cpu_seconds))
