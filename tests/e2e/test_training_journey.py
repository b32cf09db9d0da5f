"""The main job, over REST: data in, a model out, predictions; every training route once."""

from __future__ import annotations

import csv
import hashlib
import io

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

from tests.e2e.journeys import ENDED, TINY, flowers, only_error, train, upload, violations, watch

# Of the algorithm's own size but for what costs time only.
SMALL = {"ensemble_size": 1, "max_epochs": 48}


def test_digits_reach_the_accuracy_that_the_readme_promises(rest: httpx.Client) -> None:
    pixels, digits = load_digits(return_X_y=True)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([*(f"p{i}" for i in range(64)), "digit"])
    writer.writerows(np.column_stack([pixels, digits]).astype(int).tolist())
    content = out.getvalue().encode()
    dataset = upload(rest, "digits", content)
    assert dataset["row_count"] == "1797"
    assert dataset["sha256"] == hashlib.sha256(content).hexdigest()
    job = train(rest, dataset_id="digits", target="digit", mlp={"max_epochs": 64, "ensemble_size": 1})
    assert job["state"] == "SUCCEEDED", job
    assert job["test_metrics"]["accuracy"] >= 0.95
    row = dict(zip((f"p{i}" for i in range(64)), pixels[3].tolist(), strict=True))
    answer = rest.post(f"/v1/models/{job['model_id']}:predict", json={"rows": [row]}).json()
    assert answer["predictions"][0]["value"] == digits[3] == 3
    assert sum(answer["predictions"][0]["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("algorithm", "how"), [("mlp", SMALL), ("logistic", {}), ("boosted_trees", {}), ("blend", {})]
)
def test_classes_of_a_mixed_table(rest: httpx.Client, algorithm: str, how: dict[str, int]) -> None:
    upload(rest, "flowers", flowers())
    job = train(rest, dataset_id="flowers", target="kind", **{algorithm: how})
    assert job["state"] == "SUCCEEDED", job
    assert job["task"] == "CLASSIFICATION"
    assert job["test_metrics"]["accuracy"] > 0.8
    model = rest.get(f"/v1/models/{job['model_id']}").json()
    assert model["dataset_sha256"] == job["dataset_sha256"]
    assert model["classes"] == ["rose", "tulip"]
    assert {f["name"]: f["kind"] for f in model["features"]} == {
        "length": "NUMERIC",
        "width": "NUMERIC",
        "color": "CATEGORICAL",
    }
    rows = [{"length": 0.9, "width": 0.9, "color": "red"}, {"length": 0.1, "color": "never seen"}]
    answer = rest.post(f"/v1/models/{job['model_id']}:predict", json={"rows": rows}).json()
    assert [one["value"] for one in answer["predictions"]] == ["rose", "tulip"]
    matrix = model["test_confusion_matrix"]
    assert matrix["classes"] == ["rose", "tulip"]
    counts = np.array([row["counts"] for row in matrix["rows"]], int)
    assert counts.trace() / counts.sum() == pytest.approx(job["test_metrics"]["accuracy"])
    explanation = rest.get(f"/v1/models/{job['model_id']}:explain").json()
    assert explanation["metric"] == "log_loss"
    assert {one["feature"] for one in explanation["importances"]} == {"length", "width", "color"}
    assert explanation["importances"][0]["mean"] > 0


def test_rows_and_classes_that_count_more_than_others(rest: httpx.Client) -> None:
    """Of wrong labels that weigh nothing nothing is learned; a class that counts more is told more often."""
    header, *rows = flowers(400).decode().splitlines()
    lines = [f"{header},trust"]
    for number, row in enumerate(rows):
        wrong = row.replace("rose", "?").replace("tulip", "rose").replace("?", "tulip")
        lines += [f"{row},{1 + number % 3}", f"{wrong},0"]
    upload(rest, "trusted", "\n".join(lines).encode())
    told = {}
    for name, weights, accuracy in (("even", {}, 0.75), ("roses", {"rose": 25}, 0.6)):
        asked = {"dataset_id": "trusted", "target": "kind", "weight_column": "trust"}
        job = train(rest, **asked, class_weights=weights, logistic={})
        assert job["state"] == "SUCCEEDED", job
        assert job["test_metrics"]["accuracy"] > accuracy
        assert (job["weight_column"], job["class_weights"]) == ("trust", weights)
        model = rest.get(f"/v1/models/{job['model_id']}").json()
        assert {feature["name"] for feature in model["features"]} == {"length", "width", "color"}
        asking = [{"length": x / 20, "width": y / 20, "color": "red"} for x in range(20) for y in range(20)]
        answer = rest.post(f"/v1/models/{job['model_id']}:predict", json={"rows": asking}).json()
        told[name] = [one["value"] for one in answer["predictions"]].count("rose")
    assert 120 < told["even"] < told["roses"] - 20 < 380


@pytest.mark.parametrize(("algorithm", "how"), [("mlp", SMALL), ("linear", {})])
def test_numbers_from_parquet(rest: httpx.Client, algorithm: str, how: dict[str, int]) -> None:
    chance = np.random.default_rng(0)
    x, z = chance.normal(size=(2, 400))
    table = pa.table({"x": x, "z": z, "y": 3 * x - z + 5 + chance.normal(scale=0.1, size=400)})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    upload(rest, "plane", sink.getvalue(), "application/vnd.apache.parquet")
    job = train(rest, dataset_id="plane", target="y", **{algorithm: how})
    assert job["task"] == "REGRESSION"
    assert job["test_metrics"]["r2"] > 0.95
    answer = rest.post(f"/v1/models/{job['model_id']}:predict", json={"rows": [{"x": 1, "z": 0}]}).json()
    assert answer["predictions"][0]["value"] == pytest.approx(8, abs=0.5)


def test_clusters_of_rows_without_a_target(rest: httpx.Client) -> None:
    upload(rest, "clusters", flowers())
    job = train(rest, dataset_id="clusters", kmeans={"clusters": 3, "restarts": 2})
    assert job["state"] == "SUCCEEDED", job
    assert (job["task"], job["target"]) == ("CLUSTERING", "")
    assert set(job["test_metrics"]) == {"inertia", "silhouette"}
    rows = [
        {"length": 0.1, "width": 0.2, "color": color, "kind": "tulip"} for color in ("red", "blue", "red")
    ]
    answer = rest.post(f"/v1/models/{job['model_id']}:predict", json={"rows": rows}).json()
    numbers = [one["value"] for one in answer["predictions"]]
    assert numbers[0] == numbers[2] in (0, 1, 2)
    refused = rest.post("/v1/jobs", json={"dataset_id": "clusters", "target": "kind", "kmeans": {}})
    assert (refused.status_code, list(violations(refused))) == (400, ["target"])
    refused = rest.post("/v1/jobs", json={"dataset_id": "clusters", "logistic": {}})
    assert (refused.status_code, list(violations(refused))) == (400, ["target"])
    refused = rest.post("/v1/ai/enhance", json={"job_id": job["job_id"]})
    assert (refused.status_code, list(violations(refused))) == (400, ["job_id"])


def test_validation_and_test_data_of_their_own(rest: httpx.Client) -> None:
    for name, seed in (("own-train", 1), ("own-validation", 2), ("own-test", 3)):
        upload(rest, name, flowers(seed=seed))
    job = train(
        rest,
        dataset_id="own-train",
        target="kind",
        validation_dataset_id="own-validation",
        test_dataset_id="own-test",
        logistic={"l2": 0.5},
    )
    assert job["state"] == "SUCCEEDED", job
    assert job["logistic"]["l2"] == 0.5
    assert job["validation_metrics"]["accuracy"] > 0.8
    assert job["test_metrics"]["accuracy"] > 0.8


def test_upload_by_put_as_curl_does_it(rest: httpx.Client) -> None:
    answer = rest.put("/v1/datasets/put:upload", content=flowers(), headers={"content-type": "text/csv"})
    assert answer.json()["state"] == "READY"


def test_a_dataset_from_creation_to_deletion(rest: httpx.Client) -> None:
    made = rest.post("/v1/datasets", json={"dataset_id": "short-lived", "display_name": "Short"}).json()
    assert (made["state"], made["display_name"]) == ("EMPTY", "Short")
    assert (
        only_error(rest.post("/v1/datasets", json={"dataset_id": "short-lived"}))["reason"]
        == "ALREADY_EXISTS"
    )
    refused = rest.post("/v1/jobs", json={"dataset_id": "short-lived", "target": "kind"})
    assert only_error(refused)["reason"] == "DATASET_EMPTY"
    upload(rest, "short-lived", flowers())
    got = rest.get("/v1/datasets/short-lived").json()
    assert got["display_name"] == "Short"
    assert [column["type"] for column in got["columns"]] == ["FLOAT", "FLOAT", "TEXT", "TEXT"]
    assert got["columns"][2]["profile"]["distinct_count"] == "3"
    assert rest.delete("/v1/datasets/short-lived").json() == {}
    assert only_error(rest.get("/v1/datasets/short-lived"))["reason"] == "DATASET_NOT_FOUND"


def test_a_watch_goes_on_from_its_cursor(rest: httpx.Client) -> None:
    upload(rest, "watched", flowers())
    job_id = rest.post("/v1/jobs", json={"dataset_id": "watched", "target": "kind", "mlp": TINY}).json()[
        "job_id"
    ]
    events = watch(rest, job_id)
    points = [data for kind, data, _ in events if kind == "metric"]
    assert len(points) > 3
    assert all(point["values"]["train_loss"] > 0 for point in points)
    assert events[-1][0] == "job"
    assert events[-1][1]["state"] == "SUCCEEDED"
    rest_of_it = points[2:]
    cursor = points[1]["cursor"]
    for how in ({"params": {"cursor": cursor}}, {"headers": {"Last-Event-ID": cursor}}):
        again = watch(rest, job_id, **how)
        assert [data for kind, data, _ in again if kind == "metric"] == rest_of_it
    page = rest.get(f"/v1/jobs/{job_id}/metrics", params={"page_size": 2}).json()
    assert page["points"] == points[:2]
    following = {"page_size": 1000, "page_token": page["next_page_token"]}
    assert rest.get(f"/v1/jobs/{job_id}/metrics", params=following).json()["points"] == rest_of_it


def test_a_long_job_is_cancelled_and_deleted(rest: httpx.Client) -> None:
    upload(rest, "long", flowers(2000))
    body = {
        "dataset_id": "long",
        "target": "kind",
        "mlp": {"max_epochs": 100000, "early_stopping_patience": 99999},
    }
    job_id = rest.post("/v1/jobs", json=body).json()["job_id"]
    assert only_error(rest.delete(f"/v1/jobs/{job_id}"))["reason"] == "JOB_NOT_FINISHED"
    assert only_error(rest.delete("/v1/datasets/long"))["reason"] == "DATASET_IN_USE"
    asked = rest.post(f"/v1/jobs/{job_id}:cancel").json()
    assert asked["state"] in {"CANCELLING", "CANCELLED"}
    assert watch(rest, job_id)[-1][1]["state"] == "CANCELLED"
    assert rest.post(f"/v1/jobs/{job_id}:cancel").json()["state"] == "CANCELLED"
    assert rest.delete(f"/v1/jobs/{job_id}").json() == {}
    assert only_error(rest.get(f"/v1/jobs/{job_id}"))["reason"] == "JOB_NOT_FOUND"


def test_lists_page_newest_first(rest: httpx.Client) -> None:
    for number in range(5):
        rest.post("/v1/datasets", json={"dataset_id": f"page-{number}"})
    seen: list[str] = []
    token = ""
    while len(seen) < 5:
        page = rest.get("/v1/datasets", params={"page_size": 2, "page_token": token}).json()
        seen += [item["dataset_id"] for item in page["datasets"]]
        token = page["next_page_token"]
    assert seen[:5] == [f"page-{number}" for number in (4, 3, 2, 1, 0)]
    upload(rest, "listed", flowers())
    job = train(rest, dataset_id="listed", target="kind", logistic={})
    assert rest.get("/v1/jobs").json()["jobs"][0]["job_id"] == job["job_id"]
    succeeded = rest.get("/v1/jobs", params={"state": "SUCCEEDED"}).json()["jobs"]
    assert {item["state"] for item in succeeded} == {"SUCCEEDED"} <= ENDED
    assert rest.get("/v1/models").json()["models"][0]["model_id"] == job["model_id"]
    assert rest.delete(f"/v1/models/{job['model_id']}").json() == {}
    assert only_error(rest.get(f"/v1/models/{job['model_id']}"))["reason"] == "MODEL_NOT_FOUND"


def test_a_request_id_makes_creation_safe_to_repeat(rest: httpx.Client) -> None:
    upload(rest, "once", flowers())
    body = {"dataset_id": "once", "target": "kind", "logistic": {}, "request_id": "once-and-only"}
    first, second = rest.post("/v1/jobs", json=body).json(), rest.post("/v1/jobs", json=body).json()
    assert first["job_id"] == second["job_id"]
    other = rest.post("/v1/jobs", json={**body, "seed": 7})
    assert other.status_code == 409
    assert only_error(other)["reason"] == "REQUEST_ID_REUSED"
    del body["request_id"]
    by_header = [
        rest.post("/v1/jobs", json=body, headers={"Idempotency-Key": "by-header"}).json()["job_id"]
        for _ in "12"
    ]
    assert by_header[0] == by_header[1] != first["job_id"]


def test_validate_only_creates_nothing(rest: httpx.Client) -> None:
    upload(rest, "dry", flowers())
    before = rest.get("/v1/jobs").json()["jobs"][0]["job_id"]
    answer = rest.post("/v1/jobs", json={"dataset_id": "dry", "target": "kind", "validate_only": True})
    assert answer.json()["blend"]["mlp"]["max_epochs"] > 0
    assert rest.get("/v1/jobs").json()["jobs"][0]["job_id"] == before
