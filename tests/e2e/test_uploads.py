"""Uploads in parts, versions, and calls that are safe to repeat, through the real edge."""

from __future__ import annotations

import hashlib
import socket
import time
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.api.httpbody_pb2 import HttpBody
from mlapi.training.v1 import (
    dataset_pb2,
    upload_service_pb2,
    upload_service_pb2_grpc,
)
from mlapi_client import Client
from mlapi_client import datasets as client_datasets

from gateway.stack import Stack
from tests.e2e.cutting_proxy import CuttingProxy
from tests.e2e.journeys import flowers, only_error, upload, violations

TABLE = flowers()
SHA256 = hashlib.sha256(TABLE).hexdigest()
MIB = 1024 * 1024


def opened(rest: httpx.Client, **body: Any) -> str:
    """Id of a new upload."""
    answer = rest.post("/v1/uploads", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["upload_id"])


def write(rest: httpx.Client, upload_id: str, content: bytes, offset: int = 0) -> httpx.Response:
    return rest.post(f"/v1/uploads/{upload_id}:write", params={"offset": offset}, content=content)


def committed(rest: httpx.Client, upload_id: str) -> int:
    return int(rest.get(f"/v1/uploads/{upload_id}").json()["committed_bytes"])


def large_table(size: int) -> bytes:
    rows = TABLE.partition(b"\n")[2]
    return TABLE + rows * (size // len(rows))


def test_parts_become_a_dataset(rest: httpx.Client) -> None:
    made = rest.post(
        "/v1/uploads",
        json={
            "dataset_id": "parted",
            "content_type": "text/csv",
            "column_types": {"length": "FLOAT", "color": "TEXT"},
            "null_values": ["", "-"],
            "byte_count": len(TABLE),
        },
    ).json()
    assert (made["committed_bytes"], made["column_types"]["length"]) == ("0", "FLOAT")
    assert made["expire_time"] > made["create_time"]
    name = made["upload_id"]
    half = write(rest, name, TABLE[:1000])
    assert (half.status_code, half.json()["committed_bytes"]) == (200, "1000")
    # As curl -T sends a file.
    put = rest.put(f"/v1/uploads/{name}:write?offset=1000", content=iter([TABLE[1000:]]))
    assert put.json()["committed_bytes"] == str(len(TABLE))
    assert rest.get(f"/v1/uploads/{name}").json() == put.json()
    assert name in [one["upload_id"] for one in rest.get("/v1/uploads?page_size=1").json()["uploads"]]
    dataset = rest.post(f"/v1/uploads/{name}:complete", json={"sha256": SHA256}).json()
    assert (dataset["dataset_id"], dataset["sha256"], dataset["version"]) == ("parted", SHA256, "1")
    assert rest.get("/v1/datasets/parted").json() == dataset
    again = rest.post(f"/v1/uploads/{name}:complete", json={})
    assert only_error(again)["reason"] == "UPLOAD_NOT_FOUND"


def test_a_part_from_elsewhere_is_told_where_to_go_on(rest: httpx.Client) -> None:
    name = opened(rest)
    write(rest, name, TABLE[:100])
    for offset in (0, 99, 101):
        answer = write(rest, name, TABLE, offset)
        error = only_error(answer)
        assert (answer.status_code, error["reason"]) == (400, "UPLOAD_OFFSET_MISMATCH")
        assert error["metadata"]["committed_bytes"] == "100"
    assert committed(rest, name) == 100
    assert rest.delete(f"/v1/uploads/{name}").status_code == 200


def test_other_or_bad_bytes_leave_an_upload_open(rest: httpx.Client) -> None:
    name = opened(rest, dataset_id="refused")
    write(rest, name, b"a,b\n1,2\n3\n")
    other = rest.post(f"/v1/uploads/{name}:complete", json={"sha256": SHA256})
    assert only_error(other)["reason"] == "UPLOAD_MISMATCH"
    bad = rest.post(f"/v1/uploads/{name}:complete")
    assert (only_error(bad)["reason"], only_error(bad)["metadata"]["row"]) == ("INVALID_CONTENT", "3")
    assert rest.get("/v1/datasets/refused").status_code == 404
    assert committed(rest, name) == 10
    for _ in range(2):
        assert rest.delete(f"/v1/uploads/{name}?request_id={name}").status_code == 200
    assert only_error(rest.get(f"/v1/uploads/{name}"))["reason"] == "UPLOAD_NOT_FOUND"
    assert only_error(rest.delete(f"/v1/uploads/{name}"))["reason"] == "UPLOAD_NOT_FOUND"


def test_a_cut_upload_goes_on_where_it_was(rest: httpx.Client, stack: Stack) -> None:
    table = large_table(9 * MIB)
    name = opened(rest, dataset_id="cut", byte_count=len(table))
    host, port = stack.address.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as link:
        head = f"PUT /v1/uploads/{name}:write HTTP/1.1\r\nhost: x\r\ncontent-length: {len(table)}\r\n\r\n"
        link.sendall(head.encode() + table[:-1000])
        until = time.monotonic() + 10
        while not committed(rest, name) and time.monotonic() < until:
            time.sleep(0.01)
    before = committed(rest, name)
    assert 8 * MIB <= before < len(table)
    while (position := committed(rest, name)) < len(table):
        answer = write(rest, name, table[position:], position)
        # The service may have had bytes of the call that broke still to commit.
        assert answer.status_code == 200 or only_error(answer)["reason"] == "UPLOAD_OFFSET_MISMATCH"
    sha256 = hashlib.sha256(table).hexdigest()
    assert rest.post(f"/v1/uploads/{name}:complete", json={"sha256": sha256}).json()["sha256"] == sha256


def test_the_same_over_grpc(channel: grpc.Channel) -> None:
    stub = upload_service_pb2_grpc.UploadServiceStub(channel)
    types = {"length": dataset_pb2.Column.FLOAT}
    create = upload_service_pb2.CreateUploadRequest(column_types=types, request_id="grpc-upload")
    made = stub.CreateUpload(create)
    assert stub.CreateUpload(create) == made
    assert made.dataset_id
    name, pieces = made.upload_id, [TABLE[start : start + 512] for start in range(0, len(TABLE), 512)]
    parts = [upload_service_pb2.WriteUploadRequest(content=HttpBody(data=piece)) for piece in pieces]
    parts[0].upload_id = name
    assert stub.WriteUpload(iter(parts)).committed_bytes == len(TABLE)
    complete = upload_service_pb2.CompleteUploadRequest(upload_id=name, sha256=SHA256, request_id="grpc-done")
    dataset = stub.CompleteUpload(complete)
    assert stub.CompleteUpload(complete) == dataset
    assert (dataset.dataset_id, dataset.sha256) == (made.dataset_id, SHA256)
    with pytest.raises(grpc.RpcError) as nameless:
        stub.WriteUpload(iter([upload_service_pb2.WriteUploadRequest()]))
    assert nameless.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_the_client_sends_large_files_over_a_link_that_breaks(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_datasets, "LARGE_BYTES", MIB)
    file = tmp_path / "large.csv"
    file.write_bytes(large_table(6 * MIB))
    cuts = [MIB // 2, 2 * MIB, 3 * MIB]
    with CuttingProxy(stack.address, cuts) as proxy, Client(proxy.address) as client:
        sent: list[int] = []
        dataset = client.datasets.upload(file, "broken-link", progress=lambda done, _: sent.append(done))
        assert (proxy.cuts, dataset.version, sent[-1]) == ([], 1, file.stat().st_size)
    assert dataset.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_every_upload_makes_a_version_and_can_be_repeated(rest: httpx.Client) -> None:
    key = {"idempotency-key": "versions-1", "content-type": "text/csv"}
    first = rest.post("/v1/datasets/versions:upload", content=TABLE, headers=key).json()
    job = rest.post("/v1/jobs", json={"dataset_id": "versions", "target": "kind"}).json()
    second = upload(rest, "versions", flowers(seed=2))
    assert [one["version"] for one in (first, second)] == ["1", "2"]
    assert rest.post("/v1/datasets/versions:upload", content=TABLE, headers=key).json() == first
    other = rest.post("/v1/datasets/versions:upload", content=flowers(seed=3), headers=key)
    assert (other.status_code, only_error(other)["reason"]) == (409, "REQUEST_ID_REUSED")
    listed = rest.get("/v1/datasets/versions/versions").json()
    assert [(one["version"], one["sha256"]) for one in listed["versions"]] == [
        ("2", second["sha256"]),
        ("1", first["sha256"]),
    ]
    missing = rest.get("/v1/datasets/nothing/versions")
    assert only_error(missing)["reason"] == "DATASET_NOT_FOUND"
    rest.post(f"/v1/jobs/{job['job_id']}:cancel")


def test_what_stands_for_a_missing_value_in_a_query(rest: httpx.Client) -> None:
    table = b"x,kind\n1,a\n-,b\n?,a\n"
    query = "null_values=-&null_values=%3F"
    answer = rest.post(f"/v1/datasets/nulls:upload?{query}", content=table)
    assert answer.status_code == 200, answer.text
    assert [answer.json()["columns"][0][name] for name in ("name", "type")] == ["x", "INTEGER"]
    assert answer.json()["columns"][0]["profile"]["null_count"] == "2"
    refused = rest.post("/v1/datasets/nulls:upload?column_types.x=TEXT", content=table)
    assert refused.status_code == 400


def test_a_reading_that_cannot_be_is_refused_by_field(rest: httpx.Client) -> None:
    body = {"column_types": {"x": "NUMBER"}, "byte_count": -1, "dataset": "x"}
    refused = rest.post("/v1/uploads", json=body)
    assert set(violations(refused)) == {"column_types.x", "dataset"}
    refused = rest.post("/v1/uploads", json={"byte_count": -1})
    assert set(violations(refused)) == {"byte_count"}
