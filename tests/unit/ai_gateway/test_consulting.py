"""What models are told, and that nothing in their answers is taken that is not what it has to be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ai_gateway.domain.chat import Text
from services.ai_gateway.domain.consulting import OF_THE_JOB, Column, Profile, prompt, read
from tests.unit.ai_gateway.enhancement_samples import PARAMETERS, SUBJECT, trial


def answer(*changes: dict[str, Any]) -> str:
    """An answer with one proposal for each."""
    listed = [{"name": name, "value": value} for one in changes for name, value in one.items()]
    return json.dumps({"proposals": [{"reason": "why not", "changes": listed}]})


def test_a_good_answer_is_taken_as_it_is() -> None:
    values = {"algorithm": "mlp", "mlp.learning_rate": 0.01, "mlp.hidden_sizes": [64, 64]}
    found = read(answer(values), "openai/m", PARAMETERS)
    assert (found.rejections, found.problem) == ((), "")
    assert [(dict(one.values), one.source) for one in found.proposals] == [(values, "openai/m")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "Certainly! I would try a learning rate of 0.01.",
        "```json\n" + answer({"algorithm": "mlp"}) + "\n```",
        answer({"algorithm": "mlp"})[:-9],
        "[]",
        "[" * 100_000,
        "null",
        '{"proposals": {}}',
        '{"proposals": [{"changes": [{"name": "mlp.learning_rate", "value": NaN}]}]}',
    ],
)
def test_what_cannot_be_read_is_a_problem(text: str) -> None:
    found = read(text, "m", PARAMETERS)
    assert found.problem
    assert found.count == 0


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"algorithm": "mlp", "learning_rate": 0.01}, "no parameter of the space"),
        ({"algorithm": "mlp", "mlp.learning_rate": 10}, "not in [0.0001, 0.1]"),
        ({"algorithm": "mlp", "mlp.learning_rate": 10**400}, "not in"),
        ({"algorithm": "mlp", "mlp.learning_rate": "0.01"}, "no number"),
        ({"algorithm": "mlp", "mlp.learning_rate": True}, "no number"),
        ({"algorithm": "logistic", "logistic.l2": 1.5}, "no whole number"),
        ({"algorithm": "mlp", "mlp.hidden_sizes": [64, 65]}, "none of its choices"),
        ({"algorithm": "magic"}, "none of its choices"),
        ({"algorithm": "mlp", "logistic.l2": 5}, "goes with another algorithm"),
        ({"mlp.learning_rate": 0.01}, "goes with another algorithm"),
        ({}, "no list `changes`"),
        ({"excluded_columns": ["\ud800"]}, "cannot be stored"),
        ({"algorithm": "mlp", "mlp.hidden_sizes": [[]] * 50}, "none of its choices"),
        ({"class_weight": 10**400}, "it takes"),
        ({"excluded_columns": "a"}, "it takes"),
        ({"excluded_columns": [1]}, "it takes"),
        ({"transforms": ["log(a)"]}, "it takes"),
        ({"transforms": [{"kind": "LOG", "columns": ["a"], "bins": 10**400}]}, "it takes"),
        ({"transforms": [{"kind": "EXP", "columns": ["a"]}]}, "it takes"),
    ],
)
def test_a_bad_proposal_is_refused_with_its_reason(values: dict[str, Any], why: str) -> None:
    found = read(answer(values), "m", PARAMETERS)
    assert found.proposals == ()
    assert why in found.rejections[0]


def test_a_good_proposal_beside_bad_ones_is_kept() -> None:
    good = {"changes": [{"name": "algorithm", "value": "mlp"}]}
    listed = [{"changes": []}, good, 5, {"changes": [*good["changes"], *good["changes"]]}]
    found = read(json.dumps({"proposals": listed}), "m", PARAMETERS)
    assert (len(found.proposals), len(found.rejections), found.count) == (1, 3, 4)
    many = read(json.dumps({"proposals": [good] * 50}), "m", PARAMETERS)
    assert (len(many.proposals), len(many.rejections)) == (40, 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
NAMES = st.sampled_from([*(one.name for one in PARAMETERS), *OF_THE_JOB, "other"])
CHANGES = st.lists(st.fixed_dictionaries({"name": NAMES, "value": JSON | st.floats(1e-5, 1)}), max_size=4)
ANSWERS = JSON | st.fixed_dictionaries(
    {"proposals": st.lists(st.fixed_dictionaries({"changes": CHANGES}) | JSON, max_size=4)}
)


@given(ANSWERS)
def test_whatever_it_says_what_is_taken_lies_in_the_space(said: Any) -> None:
    found = read(json.dumps(said), "m", PARAMETERS)
    ranges = {one.name: one for one in PARAMETERS}
    for one in found.proposals:
        for name, value in one.values.items():
            if name in ranges:
                parameter = ranges[name]
                inside = value in parameter.choices or parameter.low <= value <= parameter.high
                assert inside
            else:
                assert name in OF_THE_JOB


@given(st.text())
def test_no_text_is_too_odd(text: str) -> None:
    assert read(text, "m", PARAMETERS).problem


def test_a_model_is_told_no_value_and_no_name_of_the_dataset() -> None:
    columns = (Column("age", "float", 0.1, 50), Column("y", "text", 0, 2))
    tried = [trial(number, 0.5 + number / 100) for number in range(30)] + [trial(30, None)]
    asked = prompt("openai/m", SUBJECT, Profile(100, columns, (0.7, 0.3)), tried, 4)
    [_, user] = asked.chat.messages
    [part] = user.parts
    assert isinstance(part, Text)
    card = json.loads(part.text)
    assert card["wanted"] == 4
    assert [one["name"] for one in card["data"]["features"]] == ["age"]
    assert card["data"]["class_shares"] == [0.7, 0.3]
    assert len(card["tried"]) == 15  # the best and the last
    assert card["tried"][0]["result"] == pytest.approx(0.5)
    assert SUBJECT.dataset_id not in {word for word in part.text.replace('"', " ").split() if word == "d"}
    assert "failed" in card["tried"][-1]
