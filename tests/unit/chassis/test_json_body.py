"""JSON bodies are read strictly: what is wrong is refused by its path, what is right arrives unchanged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf import json_format
from mlapi.training.v1 import algorithm_pb2, dataset_service_pb2, job_pb2, job_service_pb2, model_service_pb2

from services.chassis import json_check
from services.chassis.errors import InvalidArgument
from services.chassis.json_body import RequestReader

Create, Predict = job_service_pb2.CreateJobRequest, model_service_pb2.PredictRequest
GOOD = {"dataset_id": "iris", "target": "kind"}


def read(body: object, request: Any = None, idempotency_key: str = "") -> Any:
    """`request`, a CreateJobRequest by default, with what `body` says; bytes are sent as they are."""
    request = Create() if request is None else request
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request.http_body.CopyFrom(HttpBody(content_type="application/json", data=data))
    RequestReader(most_bytes=100_000).read(request, idempotency_key)
    return request


def refused(body: object, request: Any = None) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        read(body, request)
    return caught.value


def wrong(values: dict[str, Any], message: Any) -> dict[str, str]:
    return dict(json_check.problems(values, message.DESCRIPTOR))


BAD_FIELDS: list[tuple[dict[str, object], str, str]] = [
    ({"epohcs": 5}, "epohcs", "is not a field of CreateJobRequest"),
    ({"datset_id": "x"}, "datset_id", "did you mean 'dataset_id'?"),
    ({"mlp": {"dropuot": 0.5}}, "mlp.dropuot", "did you mean 'dropout'?"),
    ({"http_body": {}}, "http_body", "is not a field"),
    ({"httpBody": {}}, "httpBody", "is not a field"),
    ({"\ud800": 1}, "\ud800", "is not a field"),
    ({"datasetId": "x"}, "datasetId", "is the same field as 'dataset_id'"),
    ({"target": 5}, "target", "has to be text, got 5"),
    ({"target": ["kind"]}, "target", "has to be text, got an array"),
    ({"target": "\ud83c"}, "target", "half a surrogate pair"),
    ({"seed": "7"}, "seed", "has to be a whole number"),
    ({"seed": 1.5}, "seed", "has to be a whole number, got 1.5"),
    ({"seed": True}, "seed", "has to be a whole number, got true"),
    ({"seed": -1}, "seed", "has to be from 0 to 4294967295"),
    ({"seed": 2**32}, "seed", "has to be from 0 to 4294967295"),
    ({"seed": 1e300}, "seed", "has to be from 0 to 4294967295"),
    ({"validate_only": "true"}, "validate_only", "has to be true or false"),
    ({"validate_only": 1}, "validate_only", "has to be true or false, got 1"),
    ({"task": "GUESSING"}, "task", "has to be one of CLASSIFICATION, REGRESSION"),
    ({"task": 1}, "task", "has to be one of CLASSIFICATION, REGRESSION, CLUSTERING, got 1"),
    ({"task": "TASK_UNSPECIFIED"}, "task", "has to be one of"),
    ({"split": 0.5}, "split", "has to be an object, got 0.5"),
    ({"split": {"test_fraction": "NaN"}}, "split.test_fraction", "has to be a finite number"),
    ({"split": {"test_fraction": True}}, "split.test_fraction", "has to be a finite number, got true"),
    ({"split": {"test_fraction": 10**400}}, "split.test_fraction", "has to be a finite number"),
    ({"mlp": []}, "mlp", "has to be an object, got an array"),
    ({"mlp": {"hidden_sizes": 64}}, "mlp.hidden_sizes", "has to be an array, got 64"),
    ({"mlp": {"hidden_sizes": [64, "x"]}}, "mlp.hidden_sizes[1]", 'has to be a whole number, got "x"'),
    ({"mlp": {"hidden_sizes": [None]}}, "mlp.hidden_sizes[0]", "got null"),
    ({"mlp": {"max_epochs": 2**31}}, "mlp.max_epochs", "has to be from -2147483648 to 2147483647"),
    ({"mlp": {}, "linear": {}}, "linear", "cannot stand beside 'mlp'"),
    ({"mlp": {"dropout": 1, "dropout ": 1}}, "mlp.dropout ", "did you mean 'dropout'?"),
]


@pytest.mark.parametrize(("change", "path", "words"), BAD_FIELDS, ids=[path for _, path, _ in BAD_FIELDS])
def test_a_wrong_field_is_named(change: dict[str, object], path: str, words: str) -> None:
    error = refused({**GOOD, **change})
    assert error.reason == "INVALID_FIELD"
    assert [violation.field for violation in error.violations] == [path]
    assert words in error.violations[0].description


BAD_TEXTS: list[bytes] = [
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b"5",
    b"{} {}",
    b"{'dataset_id': 'x'}",
    b"\xff\xfe",
    '{"target": "é"}'.encode("latin-1"),
    '\ufeff{"target": "x"}'.encode(),
    b'{"seed": NaN}',
    b'{"split": {"test_fraction": -Infinity}}',
    b'{"target": "a", "target": "a"}',
    b'{"mlp": {"dropout": 0, "dropout": 0.5}}',
    b'{"seed": ' + b"9" * 5000 + b"}",
    b"[" * 90_000,
]


@pytest.mark.parametrize("body", BAD_TEXTS, ids=lambda body: body[:24].decode(errors="replace"))
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    assert refused(body).reason == "INVALID_JSON"


def test_every_wrong_field_is_named_at_once() -> None:
    body = {"target": 1, "seed": -1, "mlp": {"dropout": "x", "layers": 3}}
    fields = [violation.field for violation in refused(body).violations]
    assert fields == ["target", "seed", "mlp.dropout", "mlp.layers"]


@pytest.mark.parametrize("body", [{}, {"dataset_id": "", "target": None}, b"", b" \n"])
def test_required_fields_are_named(body: object) -> None:
    error = refused(body)
    assert {v.field: v.description for v in error.violations} == {"dataset_id": "is required"}


def test_a_request_without_a_body_is_checked_too() -> None:
    with pytest.raises(InvalidArgument, match="job_id: is required"):
        RequestReader(10).read(job_service_pb2.GetJobRequest())


def test_a_body_over_the_limit() -> None:
    error = refused(b" " * 100_001)
    assert (error.reason, error.metadata) == ("BODY_TOO_LARGE", {"limit": "100000"})


@pytest.mark.parametrize("name", ["model_id", "modelId"])
def test_what_the_path_gives_is_refused_in_the_body(name: str) -> None:
    error = refused({name: "other", "rows": [{}]}, Predict(model_id="mine"))
    assert [(v.field, v.description) for v in error.violations] == [(name, "is given by the path")]


def test_a_good_body_arrives() -> None:
    body = {
        **GOOD,
        "task": "REGRESSION",
        "seed": 4294967295,
        "split": {"test_fraction": 0, "validation_fraction": 0.25},
        "validate_only": True,
        "display_name": "Löwe 🌷\0",
        "mlp": {"hidden_sizes": [8, 4.0], "max_epochs": 1e2, "learning_rate": 1},
    }
    expected = Create(
        **GOOD,
        task=job_pb2.REGRESSION,
        seed=4294967295,
        split=job_pb2.Split(test_fraction=0, validation_fraction=0.25),
        validate_only=True,
        display_name="Löwe 🌷\0",
        mlp=algorithm_pb2.Mlp(hidden_sizes=[8, 4], max_epochs=100, learning_rate=1),
    )
    request = read(body)
    assert request == expected
    assert request.split.HasField("test_fraction")
    assert not request.mlp.HasField("dropout")


def test_an_empty_algorithm_is_chosen() -> None:
    assert read({**GOOD, "logistic": {}}).WhichOneof("algorithm") == "logistic"


def test_null_means_absent() -> None:
    request = read({**GOOD, "seed": None, "split": None, "mlp": None, "linear": {"l2": None}})
    assert request == Create(**GOOD, linear=algorithm_pb2.Linear())


def test_camel_case_is_accepted() -> None:
    body = {"datasetId": "iris", "target": "kind", "mlp": {"hiddenSizes": [3]}}
    assert read(body) == Create(**GOOD, mlp=algorithm_pb2.Mlp(hidden_sizes=[3]))


@pytest.mark.parametrize(
    ("samples", "fits"),
    [
        ("9223372036854775807", True),
        ("-5", True),
        (5, True),
        ("9223372036854775808", False),
        ("--5", False),
        ("", False),
        ("٣", False),
        ("1.0", False),
        ("9" * 5000, False),
    ],
)
def test_a_64_bit_integer_may_be_text(samples: object, fits: bool) -> None:
    found = wrong({"samples": samples}, job_pb2.Usage)
    assert list(found) == ([] if fits else ["samples"])
    if fits:
        assert json_format.ParseDict({"samples": samples}, job_pb2.Usage()).samples == int(str(samples))


def test_maps_are_checked_by_key() -> None:
    assert list(wrong({"values": {"loss": 1, "rmse": "x"}}, job_pb2.MetricPoint)) == ["values.rmse"]
    assert list(wrong({"values": [1]}, job_pb2.MetricPoint)) == ["values"]


def test_rows_pass_through() -> None:
    rows = [{"length": 1.5, "color": "red", "known": True, "width": None}, {}, {"no such column": {"x": [1]}}]
    request = read({"rows": rows}, Predict(model_id="mine"))
    assert [json_format.MessageToDict(row) for row in request.rows] == rows


@pytest.mark.parametrize(
    ("rows", "path"), [([{}, None], "rows[1]"), (["x"], "rows[0]"), ({}, "rows"), ([{}, [{}]], "rows[1]")]
)
def test_rows_that_are_no_objects(rows: object, path: str) -> None:
    error = refused({"rows": rows}, Predict(model_id="mine"))
    assert [violation.field for violation in error.violations] == [path]


@pytest.mark.parametrize("value", ["\ud800", {"\ud800": 1}])
def test_rows_that_hold_no_text_are_refused(value: object) -> None:
    assert refused({"rows": [{"a": value}]}, Predict(model_id="mine")).reason == "INVALID_JSON"


def test_rows_nested_too_deep_are_refused() -> None:
    nested = b'{"rows": [' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"]}"
    assert refused(nested, Predict(model_id="mine")).reason == "INVALID_JSON"


def test_the_idempotency_key_fills_the_request_id() -> None:
    assert read(GOOD, idempotency_key="once").request_id == "once"
    assert read({**GOOD, "request_id": "mine"}, idempotency_key="once").request_id == "mine"
    get = job_service_pb2.GetJobRequest(job_id="j")
    RequestReader(10).read(get, "once")  # has no request id, and does not mind
    assert get == job_service_pb2.GetJobRequest(job_id="j")


def test_a_native_request_is_left_alone() -> None:
    request = Create(**GOOD, seed=3)
    RequestReader(10).read(request)
    assert request == Create(**GOOD, seed=3)


def test_a_body_for_a_message_without_one_is_content() -> None:
    part = dataset_service_pb2.UploadDatasetRequest(dataset_id="d", content=HttpBody(data=b"{not json"))
    RequestReader(1).read(part)
    assert part.content.data == b"{not json"
