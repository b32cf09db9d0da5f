"""The product on one dataset, through REST: three uploads, a job, predictions of the test rows."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from bench.accuracy.scores import Array

ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")
PARTS = ("train", "validation", "test")
ROWS_A_CALL = 500
# What a job is sent, by the name in the table.
CONTENDERS: Mapping[str, Mapping[str, Any]] = {"mlp": {"mlp": {}}, "platform": {}}
ALGORITHMS = ("mlp", "logistic", "linear", "kmeans", "boosted_trees", "blend")


def train_and_predict(rest: httpx.Client, folder: Path, contender: str) -> dict[str, Any]:
    """`predictions`, `truth`, `classes` as the peers write them; `seconds` of training and the `job`.

    Raises RuntimeError when the job fails, httpx.HTTPStatusError when a call does.
    """
    meta = json.loads((folder / "meta.json").read_text())
    job = train(rest, meta, contender)
    rows, answers = test_rows(folder, meta)
    said = list(predict(rest, job["model_id"], rows))
    found = values(said, answers) if meta["task"] == "regression" else shares(said, answers)
    return {**found, "seconds": job["usage"]["wall_seconds"], "job": json.dumps(job)}


def upload(rest: httpx.Client, folder: Path) -> None:
    """Each part as a dataset."""
    headers = {"content-type": "text/csv"}
    for part in PARTS:
        url, content = f"/v1/datasets/{folder.name}-{part}:upload", (folder / f"{part}.csv").read_bytes()
        rest.post(url, content=content, headers=headers).raise_for_status()


def same_job(rest: httpx.Client, folder: Path) -> bool:
    """Whether the platform chooses what the other contender asks for; it is that job then, bit by bit."""
    meta = json.loads((folder / "meta.json").read_text())
    asked = [{**body(meta, contender), "validate_only": True} for contender in CONTENDERS]
    jobs = [rest.post("/v1/jobs", json=one).raise_for_status().json() for one in asked]
    mlp, chosen = ({name: job[name] for name in ALGORITHMS if name in job} for job in jobs)
    return bool(mlp) and mlp == chosen


def body(meta: Mapping[str, Any], contender: str) -> dict[str, Any]:
    """What asks for a job."""
    name = meta["name"]
    ids = {"dataset_id": f"{name}-train"} | {f"{part}_dataset_id": f"{name}-{part}" for part in PARTS[1:]}
    return {**ids, "target": meta["target"], "task": meta["task"].upper(), **CONTENDERS[contender]}


def train(rest: httpx.Client, meta: Mapping[str, Any], contender: str) -> dict[str, Any]:
    """The job when it has succeeded."""
    job = rest.post("/v1/jobs", json=body(meta, contender)).raise_for_status().json()
    while job["state"] not in ENDED:
        time.sleep(1)
        job = rest.get(f"/v1/jobs/{job['job_id']}").raise_for_status().json()
    if job["state"] != "SUCCEEDED":
        raise RuntimeError(f"{meta['name']}, {contender}: {job['state']}: {job.get('error')}")
    return dict(job)


def test_rows(folder: Path, meta: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows without the target, and the targets; an empty cell is a missing value."""
    with (folder / "test.csv").open(newline="") as lines:
        rows: list[dict[str, Any]] = list(csv.DictReader(lines))
    answers = [row.pop(meta["target"]) for row in rows]
    categories = set(meta["categories"])
    for row in rows:
        for column, cell in row.items():
            row[column] = (cell if column in categories else float(cell)) if cell else None
    return rows, answers


def predict(rest: httpx.Client, model: str, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A prediction for each row."""
    for first in range(0, len(rows), ROWS_A_CALL):
        some = {"rows": rows[first : first + ROWS_A_CALL]}
        answer = rest.post(f"/v1/models/{model}:predict", json=some).raise_for_status()
        yield from answer.json()["predictions"]


def values(said: list[dict[str, Any]], answers: list[str]) -> dict[str, Array]:
    """Of a regression."""
    predictions = np.array([one["value"] for one in said], dtype=np.float64)
    return {"predictions": predictions, "truth": np.array(answers, dtype=np.float64), "classes": np.array([])}


def shares(said: list[dict[str, Any]], answers: list[str]) -> dict[str, Array]:
    """Probabilities of classes in the order of their names, and the numbers of the true ones."""
    classes = np.unique(list(said[0]["probabilities"]))
    predictions = np.array([[one["probabilities"][name] for name in classes] for one in said])
    known = {name: number for number, name in enumerate(classes)}
    truth = np.array([known[answer] for answer in answers])
    return {"predictions": predictions, "truth": truth, "classes": classes}
