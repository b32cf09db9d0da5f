"""Trains on a table that is larger than memory, in a process whose memory is limited.

    python -m bench.large --bytes 6000000000 --memory 2147483648 --algorithm mlp

Writes a CSV file, reads it in as an upload would be, and fits a model in a child process. The limit is that
of a memory cgroup, so what the system keeps of files for the child counts too; where none can be made, it
is one on the child's own data (RLIMIT_DATA), and the result says so. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from services.training.adapters.ingest import FileIngest
from services.training.adapters.ingest.reader import ArrowTable
from services.training.compute.backend import open_backend
from services.training.compute.loop import Snapshot
from services.training.compute.trainer import MEMORY_BUDGET, Problem, fit
from services.training.domain.dataset import Reading
from services.training.domain.hyperparameters import Linear, Logistic, Mlp

ALGORITHMS = {
    "mlp": Mlp(hidden_sizes=(64,), max_epochs=1, batch_size=1024, ensemble_size=1),
    "logistic": Logistic(max_iterations=5),
    "linear": Linear(),
}
CITIES = ("Berlin", "Lagos", "Lima", "Osaka", "Pune")
CHUNK_VALUES = 4_000_000
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


def write_table(path: Path, size: int, columns: int, regression: bool) -> None:
    """A CSV file of at least `size` bytes: numbers, a category, and a target that depends on both."""
    rows = max(1, CHUNK_VALUES // columns)
    weights = np.random.default_rng(0).normal(0, 1, columns - 2) / np.sqrt(columns)
    schema = None
    with path.open("wb") as file:
        chunk = 0
        while file.tell() < size:
            random = np.random.default_rng([1, chunk])
            numbers = random.normal(0, 1, (rows, columns - 2)).round(6)
            city = random.integers(0, len(CITIES), rows)
            score = numbers @ weights + 0.5 * (city == 2) + random.normal(0, 0.3, rows)
            table = {f"x{i}": column for i, column in enumerate(numbers.T.copy())}
            table["city"] = np.array(CITIES)[city]
            table["y"] = score.round(6) if regression else np.where(score > 0.1, "yes", "no")
            batch = pa.record_batch(table, schema=schema)
            schema = batch.schema
            pa_csv.write_csv(batch, file, pa_csv.WriteOptions(include_header=chunk == 0))
            chunk += 1


@dataclass
class Watched:
    """A loop that keeps what it hears, and the longest time in which it heard nothing."""

    last: float = field(default_factory=time.monotonic)
    silence: float = 0.0
    silent_until: float = 0.0
    trained: float | None = None
    reports: list[Mapping[str, float]] = field(default_factory=list)

    def report(self, step: int, progress: float, metrics: Mapping[str, float]) -> None:
        self.reports.append(metrics)

    def checkpoint(self, step: int, snapshot: Snapshot) -> None:
        self.trained = self.trained or time.monotonic()

    def should_stop(self) -> bool:
        now = time.monotonic()
        if now - self.last > self.silence:
            self.silence, self.silent_until = now - self.last, now
        self.last = now
        return False


def fit_once(content: Path, workspace: Path, algorithm: str, budget: int) -> None:
    """What the child does."""
    loop, began = Watched(), time.monotonic()
    task = "regression" if algorithm == "linear" else "classification"
    table = ArrowTable(content)
    problem = Problem(task, "y", ALGORITHMS[algorithm])
    room = {"workspace": workspace, "memory_budget": budget}
    fitted = fit(problem, table, None, None, loop, open_backend("numpy"), **room)
    first_step = {"until_first_step_seconds": round(loop.trained - began, 1)} if loop.trained else {}
    result = {
        "rows": len(table),
        "samples": fitted.samples,
        "fit_seconds": round(time.monotonic() - began, 1),
        **first_step,
        "longest_silence_seconds": round(loop.silence, 2),
        "silent_until_second": round(loop.silent_until - began, 1),
        "on_disk_bytes": sum(path.stat().st_size for path in workspace.iterdir()),
        "vm_hwm_bytes": status("self")["VmHWM"],
        "training": loop.reports[-2] if len(loop.reports) > 1 else loop.reports[-1],
        "test_metrics": dict(fitted.test_metrics),
    }
    print(json.dumps(result))


def status(pid: int | str) -> dict[str, int]:
    """The sizes that the kernel knows of a process, in bytes; none when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(":") for line in lines if line.endswith(" kB"))
    return {name: 1024 * int(value.split()[0]) for name, value in pairs}


class Group:
    """A memory cgroup of its own, version 1 or 2."""

    def __init__(self, limit: int) -> None:
        name = f"mlapi-bench-{os.getpid()}"
        v1 = (V1 / "memory.limit_in_bytes").exists()
        self.kind = "cgroup v1" if v1 else "cgroup v2"
        self._folder = (V1 if v1 else V2) / name
        self._peak = "memory.max_usage_in_bytes" if v1 else "memory.peak"
        self._folder.mkdir()
        try:
            self._write("memory.limit_in_bytes" if v1 else "memory.max", limit)
            if not v1:
                self._write("memory.swap.max", 0)
        except OSError:
            self.close()
            raise

    def enter(self) -> None:
        """To be called in the child, before it is anything else."""
        self._write("cgroup.procs", os.getpid())

    def facts(self) -> dict[str, object]:
        """Most that was used, what of it was not the cache of files at the end, and how often it was full."""
        found: dict[str, object] = {"limit": self.kind, "cgroup_peak_bytes": int(self._read(self._peak))}
        if self.kind == "cgroup v1":
            found["times_full"] = int(self._read("memory.failcnt"))
        return found

    def anonymous(self) -> int:
        """Bytes that cannot be dropped."""
        names = ("total_rss", "anon")
        pairs = (line.split() for line in self._read("memory.stat").splitlines())
        return next((int(value) for name, value in pairs if name in names), 0)

    def close(self) -> None:
        self._folder.rmdir()

    def _read(self, name: str) -> str:
        return (self._folder / name).read_text()

    def _write(self, name: str, value: int) -> None:
        (self._folder / name).write_text(str(value))


class OwnData:
    """The limit where no cgroup can be made: the cache of files does not count."""

    kind = "RLIMIT_DATA (no cgroup is writable here)"

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def enter(self) -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (self._limit, self._limit))

    def facts(self) -> dict[str, object]:
        return {"limit": self.kind}

    def anonymous(self) -> int:
        return 0

    def close(self) -> None:
        pass


def limited(limit: int) -> Group | OwnData:
    """The best limit that there is."""
    try:
        return Group(limit)
    except OSError:
        return OwnData(limit)


def run_child(command: list[str], group: Group | OwnData) -> tuple[dict[str, object], dict[str, object]]:
    """What the child said, and the most memory it held meanwhile. Raises CalledProcessError."""
    # Before the child is anything else: what it took earlier would not be charged to the group.
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=group.enter)  # noqa: PLW1509
    most = {"rss_anon_bytes": 0, "cgroup_rss_bytes": 0}
    done = Event()

    def watch() -> None:
        while not done.wait(0.05):
            most["rss_anon_bytes"] = max(most["rss_anon_bytes"], status(child.pid).get("RssAnon", 0))
            most["cgroup_rss_bytes"] = max(most["cgroup_rss_bytes"], group.anonymous())

    thread = Thread(target=watch)
    thread.start()
    said, _ = child.communicate()
    done.set()
    thread.join()
    facts = {**group.facts(), **most}
    if child.returncode:
        print(json.dumps({"failed": child.returncode, **facts}))
        raise subprocess.CalledProcessError(child.returncode, command)
    return json.loads(said), facts


def timed(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return round(time.monotonic() - began, 1)


def forget(path: Path) -> None:
    """Drops what the system keeps of a file, so that the child has to read it, at its own expense."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    source, content, workspace = folder / "table.csv", folder / "table.arrow", folder / "work"
    workspace.mkdir()
    regression = options.algorithm == "linear"
    written = timed(lambda: write_table(source, options.bytes, options.columns, regression))
    size = source.stat().st_size
    read_in = timed(lambda: FileIngest().read(source, Reading("text/csv"), content, sha256="0" * 64))
    source.unlink()
    forget(content)
    group = limited(options.memory)
    command = [sys.executable, "-m", "bench.large", "--fit", str(content), str(workspace)]
    try:
        told = ["--algorithm", options.algorithm, "--budget", str(options.budget)]
        said, memory = run_child([*command, *told], group)
    finally:
        group.close()
    return {
        "algorithm": options.algorithm,
        "csv_bytes": size,
        "arrow_bytes": content.stat().st_size,
        "columns": options.columns,
        "memory_limit_bytes": options.memory,
        "csv_seconds": written,
        "ingest_seconds": read_in,
        **said,
        **memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bytes", type=int, default=6_000_000_000, help="of the CSV file")
    parser.add_argument("--memory", type=int, default=2 << 30, help="bytes that the child may use")
    parser.add_argument("--algorithm", choices=sorted(ALGORITHMS), default="logistic")
    parser.add_argument("--budget", type=int, default=MEMORY_BUDGET, help="of it, for preprocessed rows")
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--data-dir", type=Path, help="where the files go; they are removed at the end")
    parser.add_argument("--fit", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit:
        fit_once(*options.fit, options.algorithm, options.budget)
        return
    with tempfile.TemporaryDirectory(dir=options.data_dir) as name:
        print(json.dumps(measure(options, Path(name))))


if __name__ == "__main__":
    main()
