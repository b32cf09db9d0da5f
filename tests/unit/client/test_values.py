"""Hyperparameters, rows and time left: plain Python in, messages out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from mlapi.training.v1 import job_pb2
from mlapi_client import Client
from mlapi_client.display import Eta, clock, hyperparameters_of
from mlapi_client.hyperparameters import parse

from tests.unit.client.fake_api import FakeApi


def test_hyperparameters_that_are_not_given_stay_unset(api: FakeApi, client: Client) -> None:
    client.jobs.create("d", "t", hyperparameters={"hidden_sizes": (64, 32), "learning_rate": 0.01})
    (request,) = api.calls["CreateJob"]
    expected = {"hidden_sizes": [64, 32], "learning_rate": 0.01}
    assert MessageToDict(request.mlp, preserving_proto_field_name=True) == expected


def test_the_platform_may_choose(api: FakeApi, client: Client) -> None:
    client.jobs.create("d", "t", algorithm=None)
    client.jobs.create("d", "t", algorithm="logistic")
    assert [request.WhichOneof("algorithm") for request in api.calls["CreateJob"]] == [None, "logistic"]


@pytest.mark.parametrize(
    ("algorithm", "hyperparameters", "message"),
    [
        ("mlp", {"learning_rat": 1}, "mlp.learning_rat.*did you mean 'learning_rate'"),
        ("logistic", {"dropout": 1}, "logistic.dropout.*it has l2, max_iterations, tolerance"),
        ("mpl", {}, "'mpl' is unknown; did you mean 'mlp'"),
        ("mlp", {"batch_size": 0.5}, "mlp.batch_size: cannot be 0.5"),
        ("blend", {"mlp.dropuot": 1}, "blend.mlp.dropuot.*did you mean 'dropout'"),
        ("blend", {"mlp": {"batch_size": 0.5}}, "blend.mlp.batch_size: cannot be 0.5"),
        ("blend", {"mlp": 3}, "blend.mlp: cannot be 3"),
        ("blend", {"mlp.dropout.x": 3}, "blend.mlp.dropout.x: blend has no such"),
        ("mlp", {"hidden_sizes": 64}, "mlp.hidden_sizes: cannot be 64"),
        (None, {"l2": 1}, "algorithm: is required"),
    ],
)
def test_says_which_hyperparameter_is_wrong(
    api: FakeApi, client: Client, algorithm: str | None, hyperparameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        client.jobs.create("d", "t", algorithm=algorithm, hyperparameters=hyperparameters)
    assert not api.calls["CreateJob"]


def test_assignments_are_read_by_the_type_of_the_field() -> None:
    given = ["learning_rate=1e-2", "hidden_sizes=64,32", "max_epochs=5"]
    assert parse("mlp", given) == {"learning_rate": 0.01, "hidden_sizes": [64, 32], "max_epochs": 5}
    assert parse("mlp", ["hidden_sizes=[8]"]) == {"hidden_sizes": [8]}


def test_those_of_a_part_have_its_name_before_theirs(api: FakeApi, client: Client) -> None:
    chosen = parse("blend", ["mlp.hidden_sizes=8,4", "mlp.architecture=plain", "boosted_trees.gamma=0.5"])
    client.jobs.create("d", "t", algorithm="blend", hyperparameters=chosen)
    nested = {
        "mlp": {"hidden_sizes": [8, 4], "architecture": "PLAIN"},
        "boosted_trees": {"gamma": 0.5},
    }
    client.jobs.create("d", "t", algorithm="blend", hyperparameters=nested)
    for request in api.calls["CreateJob"]:
        assert MessageToDict(request.blend, preserving_proto_field_name=True) == nested
        assert hyperparameters_of(request)["mlp.hidden_sizes"] == [8, 4]


def test_choices_are_written_by_name(api: FakeApi, client: Client) -> None:
    chosen = parse("mlp", ["architecture=plain"])
    assert chosen == {"architecture": "PLAIN"}
    client.jobs.create("flowers", "kind", algorithm="mlp", hyperparameters=chosen)
    (request,) = api.calls["CreateJob"]
    assert hyperparameters_of(request)["architecture"] == "PLAIN"
    with pytest.raises(ValueError, match=r"mlp\.architecture"):
        client.jobs.create("flowers", "kind", algorithm="mlp", hyperparameters={"architecture": "ROUND"})


@pytest.mark.parametrize("wrong", ["learning_rate", "learning_rate=fast", "rate=1", "learning_rate=[1]x"])
def test_assignments_that_are_wrong(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"^mlp\."):
        parse("mlp", [wrong])


def test_rows_and_predictions_are_plain(api: FakeApi, client: Client) -> None:
    row = {"a": np.float32(0.5), "b": np.int64(2), "c": "x", "d": None, "e": float("nan"), "f": True}
    assert client.models.predict("m", [row]) == [{"value": 3, "probabilities": {"3": 0.75, "5": 0.25}}]
    (sent,) = api.calls["Predict"][0].rows
    assert MessageToDict(sent) == {"a": 0.5, "b": 2, "c": "x", "d": None, "e": None, "f": True}


def test_a_value_that_no_column_takes(client: Client) -> None:
    with pytest.raises(ValueError, match=r"rows\[1\]\.a"):
        client.models.predict("m", [{"a": 1}, {"a": [1]}])


def test_time_left_comes_from_the_services_clock() -> None:
    eta = Eta()

    def left(attempt: int, progress: float, second: int) -> float | None:
        point = job_pb2.MetricPoint(attempt=attempt, progress=progress)
        point.time.FromSeconds(1_700_000_000 + second)
        return eta.after(point)

    assert left(1, 0.1, 0) is None
    assert left(1, 0.3, 4) == pytest.approx(14)
    assert left(2, 0.0, 60) is None  # a new attempt begins anew
    assert left(2, 0.5, 70) == pytest.approx(10)


@pytest.mark.parametrize(
    ("seconds", "text"), [(7.2, "0:07"), (725, "12:05"), (10921, "3:02:01"), (0, "0:00")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
