"""A model leaves the product over REST, and says elsewhere what it says here."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import grpc
import httpx
import numpy as np
import onnxruntime
import pytest
from mlapi.training.v1 import model_service_pb2, model_service_pb2_grpc
from safetensors import safe_open

from tests.e2e.journeys import flowers, only_error, train, upload, violations

ROWS = [
    {"length": 0.9, "width": 0.8, "color": "red"},
    {"length": 0.1, "color": "never seen"},
    {"length": 0.55, "width": 0.5},
    {"width": 1e30, "color": "blue"},
]


@pytest.fixture(scope="module")
def model(rest: httpx.Client) -> str:
    upload(rest, "exported", flowers())
    params = {"hidden_sizes": [256, 256], "max_epochs": 8}
    job = train(rest, dataset_id="exported", target="kind", mlp=params)
    assert job["state"] == "SUCCEEDED", job
    return str(job["model_id"])


@pytest.mark.parametrize("format", ["onnx", "ONNX"])
def test_onnxruntime_predicts_as_the_api_does(rest: httpx.Client, model: str, format: str) -> None:
    answer = rest.get(f"/v1/models/{model}:export", params={"format": format})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == f'attachment; filename="{model}.onnx"'
    assert answer.headers["x-checksum-sha256"] == hashlib.sha256(answer.content).hexdigest()
    # It came in several parts.
    assert int(answer.headers["x-total-length"]) == len(answer.content) > 1 << 20
    session = onnxruntime.InferenceSession(answer.content, providers=["CPUExecutionProvider"])
    numbers = {name: np.array([[row.get(name, np.nan)] for row in ROWS]) for name in ("length", "width")}
    color = np.array([[row.get("color", "")] for row in ROWS], object)
    label, probabilities = session.run(["label", "probabilities"], {**numbers, "color": color})
    said = rest.post(f"/v1/models/{model}:predict", json={"rows": ROWS}).json()["predictions"]
    assert label.tolist() == [one["value"] for one in said]
    expected = [[one["probabilities"][name] for name in ("rose", "tulip")] for one in said]
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def test_safetensors_hold_the_weights(rest: httpx.Client, model: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(rest.get(f"/v1/models/{model}:export?format=safetensors").content)
    with safe_open(path, "numpy") as file:
        header = file.metadata()
    assert header["weights_sha256"] == rest.get(f"/v1/models/{model}").json()["weights_sha256"]
    assert json.loads(header["model"])["hyperparameters"]["algorithm"] == "mlp"


def test_over_grpc(channel: grpc.Channel, model: str) -> None:
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    call = stub.ExportModel(model_service_pb2.ExportModelRequest(model_id=model, format="SAFETENSORS"))
    data = b"".join(part.data for part in call)
    assert dict(call.initial_metadata())["x-checksum-sha256"] == hashlib.sha256(data).hexdigest()


def test_what_cannot_be_exported(rest: httpx.Client, model: str) -> None:
    missing = rest.get("/v1/models/none:export?format=onnx")
    assert (missing.status_code, only_error(missing)["reason"]) == (404, "MODEL_NOT_FOUND")
    unsaid = rest.get(f"/v1/models/{model}:export")
    assert violations(unsaid) == {"format": "is required"}
    unknown = rest.get(f"/v1/models/{model}:export?format=pmml")
    assert (unknown.status_code, only_error(unknown)["reason"]) == (400, "INVALID_FIELD")
    assert 'format: invalid value "pmml"' in unknown.json()["message"]
    number = rest.get(f"/v1/models/{model}:export?format=77")
    assert (number.status_code, only_error(number)["reason"]) == (400, "INVALID_FIELD")
