"""Reading an uploaded file into the Arrow file: memory and MB/s, beside pyarrow's own reader and writer.

python bench/ingest.py [MEGABYTES]

Each measurement runs in a process of its own, which first reads a small file of the same kind, as a service
would have. Its growth is the kernel's: the most memory it ever held, less what it held before.
"""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from services.training.adapters.ingest import FileIngest
from services.training.domain.dataset import Reading

RESULTS = Path(__file__).parent / "results" / "ingest.json"
LIMIT_MB = 64
WARM_BYTES = 200_000


def narrow_rows(count: int) -> tuple[str, list[str]]:
    """Twenty columns: 10 floats, 4 integers, 2 texts of few values, 2 of many, a boolean, a time."""
    chance = random.Random(0)
    names = [f"f{i}" for i in range(10)] + [f"i{i}" for i in range(4)] + ["s0", "s1", "t0", "t1", "b", "at"]
    rows = []
    for _ in range(count):
        cells = [f"{chance.gauss(0, 1):.6f}" for _ in range(10)]
        cells += [str(chance.randrange(10**k)) for k in (1, 2, 5, 9)]
        cells += chance.choices(["red", "green", "blue"], k=2)
        cells += [f"user-{chance.randrange(10**8)}", f"note {chance.random()}"]
        cells += [chance.choice(["true", "false"]), f"2024-01-{chance.randrange(1, 29):02} 10:00:00"]
        rows.append(",".join(cells))
    return ",".join(names), rows


def wide_rows(count: int) -> tuple[str, list[str]]:
    """A thousand columns: 900 floats, 100 texts of some hundred values."""
    chance = random.Random(0)
    names = [f"c{i}" for i in range(1000)]
    rows = []
    for _ in range(count):
        cells = [f"{chance.random():.5f}" for _ in range(900)] + [
            f"v{chance.randrange(500)}" for _ in range(100)
        ]
        rows.append(",".join(cells))
    return ",".join(names), rows


def write_csv(path: Path, size: int, table: tuple[str, list[str]]) -> None:
    """The rows over and over, of `size` bytes: what is read depends on the bytes, not on their being new."""
    header, rows = table
    block = ("\n".join(rows) + "\n").encode()
    block = block[: block.rindex(b"\n", 0, min(size, len(block))) + 1]
    with path.open("wb") as file:
        file.write(header.encode() + b"\n")
        while file.tell() < size:
            file.write(block)


def write_gzip(path: Path, csv: Path) -> None:
    with csv.open("rb") as source, gzip.open(path, "wb", compresslevel=1) as file:
        while block := source.read(1 << 20):
            file.write(block)


def write_parquet(path: Path, csv: Path, group_bytes: int = 100_000_000) -> None:
    """Row groups of about `group_bytes` in memory."""
    held: list[pa.RecordBatch] = []
    with pa_csv.open_csv(csv) as reader, pq.ParquetWriter(path, reader.schema) as writer:
        for batch in reader:
            held.append(batch)
            if sum(item.nbytes for item in held) >= group_bytes:
                writer.write_table(pa.Table.from_batches(held), row_group_size=1 << 30)
                held = []
        if held:
            writer.write_table(pa.Table.from_batches(held), row_group_size=1 << 30)


def write_arrow(path: Path, csv: Path) -> None:
    with pa_csv.open_csv(csv) as reader, pa.ipc.new_file(path, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)


def ours(source: Path, destination: Path) -> None:
    files = FileIngest()
    files.read(source, files.recognise(source, Reading()), destination, sha256="")


def open_csv(source: Path, destination: Path) -> None:
    """The peer: pyarrow's streaming reader into an Arrow file, without a profile."""
    with pa_csv.open_csv(source) as reader, pa.ipc.new_file(destination, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)


def read_csv(source: Path, destination: Path) -> None:
    """The peer that holds the whole table."""
    table = pa_csv.read_csv(source)
    with pa.ipc.new_file(destination, table.schema) as writer:
        writer.write_table(table)


WAYS: dict[str, Callable[[Path, Path], None]] = {"ours": ours, "open_csv": open_csv, "read_csv": read_csv}


def memory(key: str) -> int:
    """A line of the kernel's account of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def measure_here(way: str, small: Path, source: Path) -> None:
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        WAYS[way](small, Path(folder, "small"))
        Path("/proc/self/clear_refs").write_text("5")
        before, began, busy = memory("VmRSS"), time.monotonic(), time.process_time()
        WAYS[way](source, Path(folder, "large"))
        seconds, busy = time.monotonic() - began, time.process_time() - busy
        size = source.stat().st_size
        print(
            json.dumps(
                {
                    "mb": round(size / 1e6),
                    "seconds": round(seconds, 2),
                    "cpu_seconds": round(busy, 2),
                    "mb_per_second": round(size / 1e6 / seconds),
                    "growth_mb": round((memory("VmHWM") - before) / 1e6),
                    "kept_mb": round((memory("VmRSS") - before) / 1e6),
                }
            )
        )


def measure(way: str, small: Path, source: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", way, str(small), str(source)]
    result: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    print(f"{source.name:16} {way:9} {json.dumps(result)}", flush=True)
    return result


def main(megabytes: float) -> int:
    """Measures every format, of wide tables a quarter; 0 when no narrow one grew us by LIMIT_MB."""
    size = int(megabytes * 1e6)
    results: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, rows, part in (("narrow", narrow_rows(40_000), 1), ("wide", wide_rows(2_000), 4)):
            small, large = folder / f"small-{kind}.csv", folder / f"{kind}.csv"
            write_csv(small, WARM_BYTES, rows)
            write_csv(large, size // part, rows)
            results[f"{kind}.csv"] = {way: measure(way, small, large) for way in WAYS}
            for ending, write in (("csv.gz", write_gzip), ("parquet", write_parquet), ("arrow", write_arrow)):
                sources = [path.with_suffix(f".{ending}") for path in (small, large)]
                write(sources[0], small)
                write(sources[1], large)
                results[f"{kind}.{ending}"] = {"ours": measure("ours", *sources)}
                sources[1].unlink()
            large.unlink()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    return (
        0
        if all(result["ours"]["growth_mb"] < LIMIT_MB for name, result in results.items() if "narrow" in name)
        else 1
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        measure_here(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
        sys.exit()
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 1000))
