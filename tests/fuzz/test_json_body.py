"""Whatever JSON comes for CreateJobRequest: the request is filled in, or the caller is told what is wrong."""

from __future__ import annotations

import json
from typing import Any

from google.api.httpbody_pb2 import HttpBody
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from mlapi.training.v1 import algorithm_pb2, job_pb2, job_service_pb2

from services.chassis.errors import InvalidArgument
from services.chassis.json_body import RequestReader
from services.chassis.status import MOST_BYTES, to_status

Create = job_service_pb2.CreateJobRequest
MESSAGES = (Create, job_pb2.Split, algorithm_pb2.Linear, algorithm_pb2.Logistic, algorithm_pb2.Mlp)
NAMES = sorted(
    {
        name
        for message in MESSAGES
        for field in message.DESCRIPTOR.fields
        for name in (field.name, field.json_name)
    }
)

# Half surrogate pairs too: JSON can write them, UTF-8 cannot.
any_text = st.text(st.characters(codec=None), max_size=8)
numbers = st.integers() | st.floats() | st.sampled_from([0, -1, 1e400, 2**31, 2**32, 2**63, 10**400, 1e20])
words = st.sampled_from(["CLASSIFICATION", "NaN", "Infinity", "1", "--1", "true", ""])
leaves = st.none() | st.booleans() | numbers | words | any_text
names = st.sampled_from(NAMES) | any_text
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4)
)
bodies = st.dictionaries(names, values, max_size=6).map(
    lambda body: {"dataset_id": "iris", "target": "kind", **body}
)


def read(data: bytes) -> Any:
    """The request, or None when it was refused; nothing else may come of it."""
    request = Create(http_body=HttpBody(data=data))
    try:
        RequestReader(100_000).read(request)
    except InvalidArgument as error:
        status = to_status(error, "r-1")
        assert status.ByteSize() <= MOST_BYTES
        assert status.message
        return None
    assert not request.HasField("http_body")
    assert request.dataset_id
    return request


@settings(deadline=None, max_examples=200)
@given(bodies)
def test_arbitrary_fields(body: dict[str, Any]) -> None:
    request = read(json.dumps(body).encode())
    if request is not None:
        assert request == json_format.ParseDict(body, Create())


@settings(deadline=None, max_examples=100)
@given(values)
def test_arbitrary_json(value: object) -> None:
    read(json.dumps(value).encode())


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=100) | st.text('{}[]":,\\ntrue0e-. ', max_size=100).map(str.encode))
def test_arbitrary_bytes(data: bytes) -> None:
    read(data)


text = st.text(max_size=20)
small = st.integers(-(2**31), 2**31 - 1)
real = st.floats(allow_nan=False, allow_infinity=False)


def message(kind: Any, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Messages of a kind with any of its fields."""
    return st.fixed_dictionaries({}, optional=fields).map(lambda chosen: kind(**chosen))


penalized = {"l2": real, "max_iterations": small, "tolerance": real}
algorithms = st.one_of(
    st.just({}),
    message(algorithm_pb2.Linear, **penalized).map(lambda chosen: {"linear": chosen}),
    message(algorithm_pb2.Logistic, **penalized).map(lambda chosen: {"logistic": chosen}),
    message(
        algorithm_pb2.Mlp, hidden_sizes=st.lists(small), max_epochs=small, learning_rate=real, dropout=real
    ).map(lambda chosen: {"mlp": chosen}),
)
plain = st.fixed_dictionaries(
    {"dataset_id": text.filter(bool), "target": text.filter(bool)},
    optional={
        "task": st.sampled_from([job_pb2.CLASSIFICATION, job_pb2.REGRESSION]),
        "seed": st.integers(0, 2**32 - 1),
        "split": message(job_pb2.Split, validation_fraction=real, test_fraction=real),
        "test_dataset_id": text,
        "display_name": text,
        "request_id": text,
        "validate_only": st.booleans(),
    },
)


@settings(deadline=None, max_examples=100)
@given(plain, algorithms, st.booleans())
def test_a_message_comes_back_as_it_was_written(
    fields: dict[str, Any], algorithm: dict[str, Any], proto_names: bool
) -> None:
    request = Create(**fields, **algorithm)
    written = json_format.MessageToDict(request, preserving_proto_field_name=proto_names)
    assert read(json.dumps(written).encode()) == request
