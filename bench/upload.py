"""1 GB of CSV through the edge: seconds, the same hash, and how much the training service grows.

python bench/upload.py [GIGABYTES]
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import httpx
import psutil

from gateway.stack import Stack

RESULTS = Path(__file__).parent / "results" / "upload.json"
LIMIT_MB = 256


def write_table(path: Path, size: int) -> str:
    """A table of at least `size` bytes: 16 numbers, 3 categories, a class. Answers its SHA-256."""
    chance = random.Random(0)
    header = ",".join([*(f"x{i}" for i in range(16)), "a", "b", "c", "y"]) + "\n"
    # One block of rows many times over: what is read depends on the bytes, not on their being new.
    rows = [
        ",".join(
            [
                *(f"{chance.gauss(0, 1):.6f}" for _ in range(16)),
                *chance.choices("pqrs", k=3),
                chance.choice("yn"),
            ]
        )
        for _ in range(20_000)
    ]
    block = ("\n".join(rows) + "\n").encode()
    digest = hashlib.sha256(header.encode())
    with path.open("wb") as file:
        file.write(header.encode())
        while file.tell() < size:
            file.write(block)
            digest.update(block)
    return digest.hexdigest()


def chunks(path: Path) -> Iterator[bytes]:
    """As curl -T sends it."""
    with path.open("rb") as file:
        while chunk := file.read(65536):
            yield chunk


class Memory:
    """The most memory that a process held while watched, in bytes."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.before = self.most = self._process.memory_info().rss
        self._done = Event()
        self._thread = Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.most = max(self.most, self._process.memory_info().rss)

    def stop(self) -> float:
        """Growth in MB."""
        self._done.set()
        self._thread.join()
        return (self.most - self.before) / 1e6


def main(gigabytes: float) -> int:
    """Measures once; 0 when the hash is the same and the growth within the limit."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "table.csv"
        sha256 = write_table(path, int(gigabytes * 1e9))
        with Stack(Path(name) / "data") as stack:
            memory = Memory(stack.pid("training"))
            began = time.monotonic()
            headers = {"content-type": "text/csv"}
            with httpx.Client(timeout=None) as rest:
                answer = rest.put(
                    f"{stack.url}/v1/datasets/big:upload", content=chunks(path), headers=headers
                )
            seconds, growth = time.monotonic() - began, memory.stop()
            answer.raise_for_status()
        size = path.stat().st_size
    stored = answer.json()
    result = {
        "bytes": size,
        "rows": int(stored["row_count"]),
        "seconds": round(seconds, 1),
        "growth_mb": round(growth),
        "same_sha256": stored["sha256"] == sha256,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))
    return 0 if result["same_sha256"] and growth < LIMIT_MB else 1


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0))
