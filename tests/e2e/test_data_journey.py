"""What data deserve, over REST: warnings, columns that are left out, columns that are made."""

from __future__ import annotations

import random
from typing import Any

import httpx
import numpy as np

from tests.contract.waiting import until
from tests.e2e.journeys import ENDED, train, upload, violations
from tests.unit.compute.exported import run
from tests.unit.compute.tables import text

TRANSFORMS = [
    {"kind": "RATIO", "columns": ["debt", "income"]},
    {"kind": "DATE_PARTS", "columns": ["asked"]},
    {"kind": "FREQUENCY", "columns": ["town"]},
]
JOB = {"dataset_id": "loans", "target": "late", "logistic": {}}


def loans(rows: int = 800) -> bytes:
    """Who has much debt for the income pays late; `reminders` come only afterwards."""
    chance = random.Random(4)
    lines = ["debt,income,asked,town,reminders,late"]
    for _ in range(rows):
        debt, income = chance.lognormvariate(8, 1), chance.lognormvariate(9, 1)
        late = debt / income > 1
        day, town = f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}", chance.choice("abc")
        lines.append(f"{debt:.2f},{income:.2f},{day}T10:00:00Z,{town},{2 * late},{'yes' if late else 'no'}")
    return "\n".join(lines).encode() + b"\n"


def warnings(rest: httpx.Client, job: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What the model says, and the job's events."""
    events = rest.get(f"/v1/jobs/{job['job_id']}/events").json()["events"]
    told = [one["message"] for one in events if one["type"] == "data_warning"]
    assert all(one["level"] == "WARNING" for one in events if one["type"] == "data_warning")
    return rest.get(f"/v1/models/{job['model_id']}").json()["warnings"], told


def test_a_column_that_gives_it_away_is_told_of_and_left_out(rest: httpx.Client) -> None:
    upload(rest, "loans", loans())
    naive = train(rest, **JOB)
    [said], [told] = warnings(rest, naive)
    assert said.startswith("column 'reminders' alone tells 'late' nearly perfectly")
    assert told == f"C{said[1:]}."
    more = {"excluded_columns": ["reminders"], "transforms": TRANSFORMS, "class_weight": "BALANCED"}
    job = train(rest, **JOB, **more)
    assert job["state"] == "SUCCEEDED", job
    assert (job["excluded_columns"], job["class_weight"]) == (["reminders"], "BALANCED")
    assert [(one["kind"], one["columns"]) for one in job["transforms"]] == [
        (one["kind"], one["columns"]) for one in TRANSFORMS
    ]
    said, told = warnings(rest, job)
    assert not [one for one in said if "reminders" in one]
    assert not told
    plain = train(rest, **JOB, excluded_columns=["reminders"])
    assert job["test_metrics"]["roc_auc"] > plain["test_metrics"]["roc_auc"]
    features = {one["name"] for one in rest.get(f"/v1/models/{job['model_id']}").json()["features"]}
    assert features == {"debt", "income", "asked", "town"}
    rows = [
        {"debt": 9e4, "income": 900, "asked": "2026-05-04T10:00:00Z", "town": "a"},
        {"debt": 90, "income": 9e4, "asked": "2026-05-04", "town": None},
    ]
    answer = rest.post(f"/v1/models/{job['model_id']}:predict", json={"rows": rows}).json()["predictions"]
    assert [one["value"] for one in answer] == ["yes", "no"]
    file = rest.get(f"/v1/models/{job['model_id']}:export", params={"format": "ONNX"}).content
    table = {
        "debt": np.array([9e4, 90]),
        "income": np.array([900, 9e4]),
        "asked": np.array([1777888800.0, 1777852800.0]),
    }
    exported = run(file, {**table, "town": text("a", None)})["probabilities"]
    shares = [[one["probabilities"][name] for name in ("no", "yes")] for one in answer]
    np.testing.assert_allclose(exported, shares, atol=1e-5)


def test_a_sweep_tries_what_proposals_name_of_the_job(rest: httpx.Client) -> None:
    upload(rest, "loans", loans())
    values = {"class_weight": "balanced", "excluded_columns": ["asked"], "transforms": TRANSFORMS[:1]}
    wrong = {"transforms": [{"kind": "LOG", "columns": ["town"]}]}
    body = {
        "job": {**JOB, "excluded_columns": ["reminders"]},
        "budget": {"max_trials": 2},
        "proposals": [{"values": values, "source": "me"}, {"values": wrong}],
    }
    refused = rest.post("/v1/sweeps", json=body)
    assert list(violations(refused)) == ["proposals[1].values.transforms[0].columns[0]"]
    created = rest.post("/v1/sweeps", json={**body, "skip_invalid_proposals": True})
    assert created.status_code == 200, created.text
    path = f"/v1/sweeps/{created.json()['sweep_id']}"
    until(lambda: rest.get(path).json()["state"] in ENDED, 60)
    first = next(one for one in rest.get(path).json()["trials"] if one["number"] == 0)
    assert (first["state"], first["source"], first["values"]) == ("SUCCEEDED", "me", values)
    job = rest.get(f"/v1/jobs/{first['job_id']}").json()
    assert job["excluded_columns"] == ["reminders", "asked"]
    assert [one["kind"] for one in job["transforms"]] == ["RATIO"]
