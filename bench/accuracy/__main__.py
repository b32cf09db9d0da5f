"""How right models are on sixteen real datasets, beside the best that others offer at their defaults.

    python -m bench.accuracy [--datasets bands,letter] [--peers realmlp,forest] [--cache FOLDER]

What was predicted is kept in the cache: of peers for good, of ours by a hash of the code that trains. So a
second run repeats only what has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from bench.accuracy.ours import CONTENDERS, same_job, train_and_predict, upload
from bench.accuracy.table import compare, lines
from gateway.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results" / "accuracy.json"
VENV = ROOT / ".bench" / "accuracy"
LOCK = ROOT / "requirements" / "bench-accuracy.lock"
# The small ones first.
NAMES = [
    *("bands", "diabetes", "titanic", "german", "concrete", "contraceptive", "hpc", "splice"),
    *("credit", "ames", "satimage", "marketing", "loans", "magic", "letter", "diamonds"),
]
PEERS = ("realmlp", "lightgbm", "histgradient", "forest", "xgboost", "linear", "sklearn_mlp", "tabm")
CODE = (
    "services/training/compute",
    "services/training/domain",
    "services/training/application/create_job.py",
)
Predicted = dict[str, Any]


def main() -> int:
    """0 when the bars are reached."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the product is stopped then too
    python = options.python or installed()
    data, kept = options.cache / "data", options.cache / "predictions"
    kept.mkdir(parents=True, exist_ok=True)
    if not data.exists():
        run_there(python, "bench.accuracy.datasets", str(data))
    found: dict[str, dict[str, Predicted]] = {name: {} for name in options.datasets}
    for peer in options.peers:
        for name, contenders in found.items():
            contenders[peer] = peer_predicted(python, peer, data / name, kept)
    for name, contender, predicted in ours_predicted(data, kept, options.datasets):
        found[name][contender] = predicted
    result = compare(found)
    print(lines(result))
    if set(options.datasets) == set(NAMES) and set(options.peers) >= set(PEERS[:-1]):
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if result["reached"] else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", type=_list, default=NAMES, help=f"some of {','.join(NAMES)}")
    parser.add_argument("--peers", type=_list, default=PEERS[:-1], help=f"some of {','.join(PEERS)}")
    parser.add_argument("--cache", type=Path, default=ROOT / ".bench" / "accuracy-cache")
    parser.add_argument("--python", type=Path, help="an interpreter that has the peers, in place of our own")
    return parser.parse_args()


def _list(text: str) -> list[str]:
    return text.split(",") if text else []


def installed() -> Path:
    """The interpreter of an environment with the peers and the tables in it."""
    uv, python = str(Path(sys.executable).parent / "uv"), VENV / "bin" / "python"
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(VENV)], check=True)
    sync = ["pip", "sync", "--quiet", "--python", str(python), "--require-hashes", str(LOCK)]
    subprocess.run([uv, *sync], check=True)
    return python


def run_there(python: Path, module: str, *arguments: str) -> None:
    """A module of ours in the peers' environment, on one thread. Raises CalledProcessError."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    told = {**os.environ, **threads, "PYTHONPATH": str(ROOT)}
    subprocess.run([str(python), "-m", module, *arguments], check=True, env=told, stdout=subprocess.DEVNULL)


def peer_predicted(python: Path, peer: str, data: Path, kept: Path) -> Predicted:
    """What a peer predicts, now or in an earlier run."""
    path = kept / f"{data.name}-{peer}.npz"
    if not path.exists():
        print(f"{peer} on {data.name}", flush=True)
        run_there(python, "bench.accuracy.peers", peer, str(data), str(path.with_suffix(".new.npz")))
        path.with_suffix(".new.npz").rename(path)
    return dict(np.load(path))


def ours_predicted(data: Path, kept: Path, names: Sequence[str]) -> Iterator[tuple[str, str, Predicted]]:
    """(dataset, contender, what it predicts); the product is started when there is something to train."""
    version = code_version()
    with ExitStack() as running:
        rest: httpx.Client | None = None
        for name in names:
            paths = {contender: kept / f"{name}-{contender}-{version}.npz" for contender in CONTENDERS}
            if not all(path.exists() for path in paths.values()):
                rest = rest or started(running)
                predict_anew(rest, data / name, paths)
            for contender, path in paths.items():
                yield name, contender, dict(np.load(path))


def predict_anew(rest: httpx.Client, data: Path, paths: Mapping[str, Path]) -> None:
    """Fills in the files that are missing."""
    upload(rest, data)
    for contender, path in paths.items():
        if path.exists():
            continue
        if contender == "platform" and same_job(rest, data):
            shutil.copy(paths["mlp"], path)
            continue
        print(f"{contender} on {data.name}", flush=True)
        np.savez(path, **train_and_predict(rest, data, contender))


def started(running: ExitStack) -> httpx.Client:
    """A client of the whole product, which runs until `running` ends."""
    folder = running.enter_context(tempfile.TemporaryDirectory(prefix="mlapi-accuracy-"))
    stack = running.enter_context(Stack(Path(folder)))
    return running.enter_context(httpx.Client(base_url=stack.url, timeout=120))


def code_version() -> str:
    """Of everything that training depends on, as it is on disk."""
    digest = hashlib.sha256()
    for name in CODE:
        top = ROOT / name
        for path in sorted(top.rglob("*.py")) if top.is_dir() else [top]:
            if path.parent.name == "export":
                continue
            digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


if __name__ == "__main__":
    sys.exit(main())
