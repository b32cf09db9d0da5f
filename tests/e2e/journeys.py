"""What several tests do with the product: make data, train, wait."""

from __future__ import annotations

import json
import random
from typing import Any

import httpx

ENDED = {"SUCCEEDED", "FAILED", "CANCELLED"}
# A network that learns in a moment, for tests of what happens around the learning.
TINY = {"architecture": "PLAIN", "hidden_sizes": [8], "ensemble_size": 1, "max_epochs": 8}


def flowers(rows: int = 240, seed: int = 1) -> bytes:
    """A small table with numbers, a category, a missing value here and there, and two classes."""
    chance = random.Random(seed)
    lines = ["length,width,color,kind"]
    for _ in range(rows):
        length, width, color = chance.random(), chance.random(), chance.choice(["red", "green", "blue"])
        kind = "rose" if length + width + 0.3 * (color == "red") > 1.1 else "tulip"
        shown = "" if chance.random() < 0.05 else f"{width:.4f}"
        lines.append(f"{length:.4f},{shown},{color},{kind}")
    return "\n".join(lines).encode() + b"\n"


def straight() -> bytes:
    """Where nothing is better than a line, so that nothing larger has to be trained again and again."""
    chance = random.Random(3)
    rows = [(chance.uniform(-1, 1), chance.uniform(-1, 1), chance.gauss(0, 0.3)) for _ in range(120)]
    return "\n".join(["a,b,y", *(f"{a:.4f},{b:.4f},{a + 0.3 * b + off:.4f}" for a, b, off in rows)]).encode()


def upload(rest: httpx.Client, dataset_id: str, content: bytes, kind: str = "text/csv") -> dict[str, Any]:
    """Uploads and answers the dataset."""
    answer = rest.post(f"/v1/datasets/{dataset_id}:upload", content=content, headers={"content-type": kind})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def train(rest: httpx.Client, **body: Any) -> dict[str, Any]:
    """Creates a job, follows it over server-sent events and answers it as it ended."""
    created = rest.post("/v1/jobs", json=body)
    assert created.status_code == 200, created.text
    events = watch(rest, created.json()["job_id"])
    return dict(events[-1][1])


def watch(rest: httpx.Client, job_id: str, **how: Any) -> list[tuple[str, dict[str, Any], str]]:
    """Every (event, data, id) of a watch, to its end."""
    events = []
    with rest.stream("GET", f"/v1/jobs/{job_id}:watch", **how) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        for frame in answer.read().decode().strip().split("\n\n"):
            if frame.startswith(":"):  # nothing was to say for a while
                continue
            lines = dict(line.split(": ", 1) for line in frame.splitlines())
            events.append((lines["event"], json.loads(lines["data"]), lines.get("id", "")))
    return events


def only_error(answer: httpx.Response) -> dict[str, Any]:
    """The one ErrorInfo of an error answer, after checking the shape that every error has."""
    assert answer.headers["content-type"] == "application/json", answer.text
    body = answer.json()
    assert body["code"]
    assert body["message"]
    infos = [detail for detail in body["details"] if detail["@type"].endswith("google.rpc.ErrorInfo")]
    assert len(infos) == 1, body
    assert infos[0]["domain"] == "mlapi"
    assert infos[0]["reason"].isupper()
    assert infos[0]["metadata"]["request_id"]
    return dict(infos[0])


def violations(answer: httpx.Response) -> dict[str, str]:
    """Field → what is wrong with it."""
    found = [
        detail for detail in answer.json()["details"] if detail["@type"].endswith("google.rpc.BadRequest")
    ]
    assert len(found) == 1, answer.text
    return {one["field"]: one["description"] for one in found[0]["field_violations"]}
