"""1 GB of CSV through the edge, in parts with broken links and at once: seconds, hash, growth of the service.

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
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from gateway.stack import Stack

RESULTS = Path(__file__).parent / "results" / "upload.json"
LIMIT_MB = 64
CUTS = 5
CHUNK_BYTES = 65536
WARM_BYTES = 4_000_000


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


class Cut(Exception):
    """The link breaks here."""


def chunks(path: Path, begin: int = 0, cut: int | None = None) -> Iterator[bytes]:
    """From `begin` to the end, as curl -T sends it; raises Cut when `cut` bytes of the file are sent."""
    with path.open("rb") as file:
        file.seek(begin)
        while chunk := file.read(CHUNK_BYTES):
            if cut is not None and file.tell() > cut:
                raise Cut
            yield chunk


class Memory:
    """What a process holds, in bytes: in all, and of its own without the pages of files."""

    def __init__(self, pid: int) -> None:
        self._folder = Path("/proc") / str(pid)
        self.before = self._read("VmRSS")
        self._own_before = self._read("RssAnon")

    @contextmanager
    def growth(self, result: dict[str, object], name: str) -> Iterator[None]:
        """Adds the seconds that the body takes, and how far the peak in it is above the start, in MB."""
        (self._folder / "clear_refs").write_text("5")  # the kernel's own record of the peak begins anew
        began = time.monotonic()
        yield
        result[f"{name}_seconds"] = round(time.monotonic() - began, 1)
        result[f"{name}_growth_mb"] = round((self._read("VmHWM") - self.before) / 1e6)
        result[f"{name}_kept_mb"] = round((self._read("RssAnon") - self._own_before) / 1e6)

    def _read(self, name: str) -> int:
        lines = (self._folder / "status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) * 1024


def at_once(rest: httpx.Client, path: Path) -> dict[str, Any]:
    """The dataset, by one call."""
    headers = {"content-type": "text/csv"}
    return stored(rest.put("/v1/datasets/at-once:upload", content=chunks(path), headers=headers))


def in_parts(rest: httpx.Client, path: Path) -> str:
    """Path of an upload that has all bytes, after CUTS breaks at random places in mid-part."""
    size = path.stat().st_size
    cuts = sorted(random.Random(0).sample(range(CHUNK_BYTES, size), CUTS))
    upload = stored(rest.post("/v1/uploads", json={"dataset_id": "in-parts", "byte_count": size}))
    url = f"/v1/uploads/{upload['upload_id']}"
    position = 0
    while position < size:
        body = chunks(path, position, cuts[0] if cuts else None)
        try:
            # Refused when the service has yet to commit the last bytes of the call that broke.
            rest.put(
                f"{url}:write?offset={position}",
                content=body,
                headers={"content-length": str(size - position)},
            )
        except Cut:
            cuts.pop(0)
        position = int(stored(rest.get(url))["committed_bytes"])
    return url


def stored(answer: httpx.Response) -> dict[str, Any]:
    """What the service has answered; raises for an error."""
    answer.raise_for_status()
    return dict(answer.json())


def measure(stack: Stack, path: Path, sha256: str) -> dict[str, object]:
    """Uploads twice, in parts and at once, after a small one of each."""
    result: dict[str, object] = {"bytes": path.stat().st_size, "cuts": CUTS}
    with httpx.Client(base_url=stack.url, timeout=None) as rest:
        warm = path.with_name("warm.csv")
        with path.open("rb") as file:
            warm.write_bytes(file.read(WARM_BYTES).rpartition(b"\n")[0] + b"\n")
        stored(rest.post(f"{in_parts(rest, warm)}:complete"))
        at_once(rest, warm)
        memory = Memory(stack.pid("training"))
        with memory.growth(result, "receive"):
            url = in_parts(rest, path)
        with memory.growth(result, "complete"):
            dataset = stored(rest.post(f"{url}:complete", json={"sha256": sha256}))
        rest.delete("/v1/datasets/in-parts")
        with memory.growth(result, "at_once"):
            other = at_once(rest, path)
    same = dataset["sha256"] == other["sha256"] == sha256
    return result | {"rows": int(dataset["row_count"]), "same_sha256": same}


def main(gigabytes: float) -> int:
    """Measures once; 0 when the hash is the same and the growth within the limit."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "table.csv"
        sha256 = write_table(path, int(gigabytes * 1e9))
        with Stack(Path(name) / "data") as stack:
            result = measure(stack, path, sha256)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))
    grown = max(int(str(value)) for key, value in result.items() if key.endswith("growth_mb"))
    return 0 if result["same_sha256"] and grown < LIMIT_MB else 1


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0))
