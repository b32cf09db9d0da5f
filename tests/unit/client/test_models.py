"""What a model is and what it looks at: by the client, and by `mlapi` for people and for programs."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from mlapi_client import Client
from mlapi_client.cli import main
from mlapi_client.errors import FailedPrecondition

from tests.unit.client.fake_api import EXPLANATION, FakeApi, status


def said(api: FakeApi, *arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, env={"MLAPI_ADDRESS": api.address})
    assert result.exit_code == 0, result.output
    return result.stdout


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_the_client_asks_again_when_the_service_is_away(api: FakeApi, client: Client) -> None:
    api.failures["ExplainModel"] = [status("UNAVAILABLE", retry_after=0.01)]
    assert client.models.explain("m") == EXPLANATION
    assert [request.model_id for request in api.calls["ExplainModel"]] == ["m", "m"]


def test_the_client_says_that_there_is_none(api: FakeApi, client: Client) -> None:
    api.failures["ExplainModel"] = [status("FAILED_PRECONDITION", "MODEL_NOT_EXPLAINED")]
    with pytest.raises(FailedPrecondition) as caught:
        client.models.explain("m")
    assert caught.value.reason == "MODEL_NOT_EXPLAINED"


def test_what_each_column_is_worth(api: FakeApi) -> None:
    text = said(api, "models", "explain", "m")
    assert words(text)[1:3] == [["length", "1.5", "0.12"], ["width", "-0.002", "0.01"]]
    assert "log_loss 0.25 on 62 rows" in text
    document = json.loads(said(api, "models", "explain", "m", "--json"))
    assert document["importances"][0] == {"feature": "length", "mean": 1.5, "standard_error": 0.125}


def test_what_is_taken_for_what(api: FakeApi) -> None:
    shown = words(said(api, "models", "get", "m"))
    assert ["rose", "31", "4"] in shown
    assert ["tulip", "0", "27"] in shown


def test_where_it_comes_from(api: FakeApi) -> None:
    shown = said(api, "models", "lineage", "m")
    assert ["sweep", "s,", "trial", "0"] in words(shown)
    assert ["known", "as", "roses@3"] in words(shown)
    assert json.loads(said(api, "models", "lineage", "m", "--json"))["trial"] == 0


def test_which_is_better(api: FakeApi) -> None:
    shown = said(api, "models", "compare", "a", "b", "--with", "c", "--dataset", "d")
    assert ["accuracy", "0.9", "0.75"] in words(shown)
    assert "log_loss lower by 0.1 [0.05, 0.15], p = 0.01; better with a probability of 99.0%." in shown
    [asked] = api.calls["CompareModels"]
    assert (asked.candidate_model_ids, asked.baseline_model_ids, asked.dataset_id) == (["a", "b"], ["c"], "d")
    document = json.loads(said(api, "models", "compare", "a", "--with", "c", "--json"))
    assert document["row_count"] == "40"
