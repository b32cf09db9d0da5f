"""What the process uses, and what its data disk and its memory have left."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.chassis.memory import MemoryWatch


class MachineMetrics(Collector):
    """Looked up when somebody asks. folder: on the disk in question; one that is not there has no figures."""

    def __init__(self, folder: Path, memory: MemoryWatch, registry: CollectorRegistry) -> None:
        self._folder = folder
        self._memory = memory
        ProcessCollector(registry=registry)
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Of disk and memory alone; the library collects the process."""
        return [*self._disk(), *self._of_memory()]

    def _disk(self) -> list[Metric]:
        size = GaugeMetricFamily("ml_api_disk_bytes", "Size of the disk under DATA_DIR")
        free = GaugeMetricFamily("ml_api_disk_free_bytes", "What is free of it")
        try:
            found = shutil.disk_usage(self._folder)
        except OSError:
            return [size, free]
        size.add_metric([], found.total)
        free.add_metric([], found.free)
        return [size, free]

    def _of_memory(self) -> list[Metric]:
        limit = GaugeMetricFamily("ml_api_memory_limit_bytes", "What the process's group or machine has")
        used = GaugeMetricFamily("ml_api_memory_used_bytes", "What is taken of it, but for caches of files")
        short = GaugeMetricFamily("ml_api_memory_short", "1 while what takes memory is refused")
        if taken := self._memory.taken():
            limit.add_metric([], taken.limit)
            used.add_metric([], taken.used)
            short.add_metric([], self._memory.short())
        return [limit, used, short]
