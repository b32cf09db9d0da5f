"""Bad input over REST: a 4xx in the one error shape that names reason and place; nothing stored, no 500."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.e2e.journeys import flowers, only_error, train, upload, violations

GOOD = {"dataset_id": "target-practice", "target": "kind"}


def job(**changes: object) -> str:
    return json.dumps({**GOOD, **changes})


BAD_JSON: list[tuple[str | bytes, str]] = [
    ("{", ""),
    ("", "dataset_id"),
    ("[]", ""),
    ("null", ""),
    ('"text"', ""),
    (b"\xff\xfe", ""),
    ("[" * 100_000, ""),
    ('{"dataset_id": "a", "dataset_id": "b"}', ""),
    ('{"target": "kind"}', "dataset_id"),
    (job(datset_id="x"), "datset_id"),
    (job(mlp={"epohcs": 5}), "mlp.epohcs"),
    (job(mlp={"max_epochs": "many"}), "mlp.max_epochs"),
    (job(mlp={"max_epochs": 1.5}), "mlp.max_epochs"),
    (job(mlp={"max_epochs": -1}), "mlp.max_epochs"),
    (job(mlp={"max_epochs": 10**12}), "mlp.max_epochs"),
    (job(mlp={"dropout": "NaN"}), "mlp.dropout"),
    ('{"dataset_id":"target-practice","target":"kind","mlp":{"dropout":NaN}}', ""),
    (job(mlp={"learning_rate": -1}), "mlp.learning_rate"),
    (job(mlp={"hidden_sizes": 5}), "mlp.hidden_sizes"),
    (job(mlp={"hidden_sizes": [0]}), "mlp.hidden_sizes"),
    (job(mlp=[]), "mlp"),
    (job(mlp={}, linear={}), "linear"),
    (job(task="guess"), "task"),
    (job(task="REGRESSION"), "task"),
    (job(linear={}), "linear"),
    (job(seed=-1), "seed"),
    (job(split={"test_fraction": 1.5}), "split.test_fraction"),
    (job(target="color of the sky"), "target"),
    (job(display_name="x" * 300), "display_name"),
    (job(weight_column="color"), "weight_column"),
    (job(weight_column="width"), "weight_column"),
    (job(weight_column="weight"), "weight_column"),
    (job(weight_column=7), "weight_column"),
    (job(class_weight="EVEN"), "class_weight"),
    (job(class_weights={"rose": "2"}), "class_weights.rose"),
    (job(class_weights={"rose": 0}), "class_weights.rose"),
    (job(class_weights={"rsoe": 2}), "class_weights.rsoe"),
    (job(class_weight="BALANCED", class_weights={"rose": 2}), "class_weights"),
    (job(validate_only="yes"), "validate_only"),
    (job(http_body={}), "http_body"),
    (job(request_id="x" * 300), "request_id"),
]


@pytest.fixture(scope="module", autouse=True)
def practice(rest: httpx.Client) -> None:
    upload(rest, "target-practice", flowers())


@pytest.mark.parametrize(("body", "field"), BAD_JSON)
def test_bad_json_is_refused_by_name(rest: httpx.Client, body: str | bytes, field: str) -> None:
    before = rest.get("/v1/jobs").json()
    answer = rest.post("/v1/jobs", content=body)
    assert answer.status_code == 400
    assert only_error(answer)["reason"] == ("INVALID_FIELD" if field else "INVALID_JSON")
    if field:
        assert field in violations(answer)
    assert rest.get("/v1/jobs").json() == before


BAD_FILES: list[tuple[str, bytes, dict[str, str]]] = [
    ("empty", b"", {"problem": "EMPTY_FILE"}),
    ("blank", b"\n\n\n", {}),
    ("header only", b"a,b\n", {"problem": "NO_ROWS"}),
    ("too few fields", b"a,b\n1,2\n3\n", {"problem": "RAGGED_ROW", "row": "3"}),
    ("too many fields", b"a,b\n1,2\n3,4,5\n", {"problem": "RAGGED_ROW", "row": "3"}),
    ("not UTF-8", b"a,b\n1,x\n2,\xff\xfe\n", {"problem": "NOT_UTF8", "row": "3", "column": "b"}),
    ("UTF-16", "a,b\n1,2\n".encode("utf-16"), {"problem": "NOT_UTF8"}),
    ("all null", b"a,b\n,\n,\n", {"problem": "ALL_NULL"}),
    ("header twice", b"a,a\n1,2\n", {"problem": "DUPLICATE_COLUMN", "column": "a"}),
    ("header missing", b"a,\n1,2\n", {"problem": "UNNAMED_COLUMN"}),
    ("open quote", b'a,b\n1,"2\n3,4\n', {}),
    ("a picture", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", {}),
]


@pytest.mark.parametrize(("name", "content", "place"), BAD_FILES, ids=[name for name, _, _ in BAD_FILES])
def test_bad_files_are_refused_with_their_place(
    rest: httpx.Client, name: str, content: bytes, place: dict[str, str]
) -> None:
    headers = {"content-type": "text/csv"}
    answer = rest.post("/v1/datasets/bad-file:upload", content=content, headers=headers)
    assert answer.status_code == 400
    error = only_error(answer)
    assert error["reason"] == "INVALID_CONTENT"
    assert error["metadata"].items() >= place.items()
    assert violations(answer)["content"]
    assert rest.get("/v1/datasets/bad-file").status_code == 404


def test_a_form_is_not_a_file(rest: httpx.Client) -> None:
    answer = rest.post("/v1/datasets/form:upload", files={"file": ("a.csv", flowers(), "text/csv")})
    assert answer.status_code == 400
    assert only_error(answer)["metadata"]["problem"] == "UNSUPPORTED_FORMAT"


def test_a_bad_upload_leaves_the_old_content(rest: httpx.Client) -> None:
    before = upload(rest, "kept", flowers())
    headers = {"content-type": "application/vnd.apache.parquet"}
    answer = rest.post("/v1/datasets/kept:upload", content=b"PAR1 but no more", headers=headers)
    assert answer.status_code == 400
    assert rest.get("/v1/datasets/kept").json() == before


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/v1/jobs/none", 404, "JOB_NOT_FOUND"),
        ("GET", "/v1/jobs/none:watch", 404, "JOB_NOT_FOUND"),
        ("GET", "/v1/jobs/none/metrics", 404, "JOB_NOT_FOUND"),
        ("POST", "/v1/jobs/none:cancel", 404, "JOB_NOT_FOUND"),
        ("DELETE", "/v1/datasets/none", 404, "DATASET_NOT_FOUND"),
        ("DELETE", "/v1/models/none", 404, "MODEL_NOT_FOUND"),
        ("GET", "/v1/nothing", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/nothing", 404, "ROUTE_NOT_FOUND"),
        ("PUT", "/v1/jobs", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/v1/jobs?page_sise=3", 400, "INVALID_FIELD"),
        ("GET", "/v1/jobs?page_size=many", 400, "INVALID_FIELD"),
        ("GET", "/v1/jobs?page_size=-1", 400, "INVALID_FIELD"),
        ("GET", "/v1/jobs?page_token=forged", 400, "INVALID_PAGE_TOKEN"),
        ("GET", "/v1/jobs?state=NAPPING", 400, "INVALID_FIELD"),
        ("POST", "/v1/datasets/..%2F..%2Fetc:upload", 400, "INVALID_FIELD"),
        ("POST", "/v1/datasets/no%20blanks:upload", 400, "INVALID_FIELD"),
    ],
)
def test_bad_paths_and_queries(rest: httpx.Client, method: str, path: str, status: int, reason: str) -> None:
    answer = rest.request(method, path)
    assert (answer.status_code, only_error(answer)["reason"]) == (status, reason)


def test_a_body_over_the_limit(rest: httpx.Client) -> None:
    answer = rest.post("/v1/jobs", content=b" " * (4 * 1024 * 1024 + 1))
    assert answer.status_code == 413
    assert only_error(answer)["reason"] == "BODY_TOO_LARGE"


def test_a_row_that_the_model_cannot_take(rest: httpx.Client) -> None:
    job = train(rest, **GOOD, logistic={})
    url = f"/v1/models/{job['model_id']}:predict"
    answer = rest.post(url, json={"rows": [{"length": 1}, {"length": "long"}]})
    assert answer.status_code == 400
    assert "rows[1].length" in violations(answer)
    for body in (
        {"rows": []},
        {"rows": "all"},
        {"rows": [1]},
        {"row": [{}]},
        {"model_id": "other", "rows": [{}]},
    ):
        answer = rest.post(url, json=body)
        assert answer.status_code == 400, body
        only_error(answer)


def test_the_request_id_comes_back(rest: httpx.Client) -> None:
    answer = rest.get("/v1/jobs/none", headers={"x-request-id": "mine"})
    assert answer.headers["x-request-id"] == only_error(answer)["metadata"]["request_id"] == "mine"
