"""What the process uses, and what its data disk has left."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class MachineMetrics(Collector):
    """Looked up when somebody asks. folder: on the disk in question; one that is not there has no figures."""

    def __init__(self, folder: Path, registry: CollectorRegistry) -> None:
        self._folder = folder
        ProcessCollector(registry=registry)
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Of the disk alone; the library collects the process."""
        size = GaugeMetricFamily("ml_api_disk_bytes", "Size of the disk under DATA_DIR")
        free = GaugeMetricFamily("ml_api_disk_free_bytes", "What is free of it")
        try:
            found = shutil.disk_usage(self._folder)
        except OSError:
            return [size, free]
        size.add_metric([], found.total)
        free.add_metric([], found.free)
        return [size, free]
