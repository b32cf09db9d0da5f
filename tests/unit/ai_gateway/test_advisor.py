"""The advisor's rules, on findings made by hand. The bounds come from the training service itself."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ai_gateway.domain.advisor import RULES, advise
from services.ai_gateway.domain.findings import Data, Epoch, Findings
from services.ai_gateway.domain.hyperparameters import BOUNDS, WHOLE, Hyperparameters
from services.training.domain import hyperparameters as training

# A plain network of a middling size, which leaves the rules room on either side.
PLAIN = training.Mlp((128, 128), 100, 64, 2e-3, 1e-2, 0.2, 4, 30, 0.0, "plain")
DEFAULTS = {
    one.name: Hyperparameters(one.name, {k: v for k, v in training.to_json(one).items() if k != "algorithm"})
    for one in (PLAIN, training.Logistic(), training.Linear())
}
MLP, LOGISTIC, LINEAR = (DEFAULTS[name] for name in ("mlp", "logistic", "linear"))
DATA = Data(rows=10_000, columns=20, null_share=0.01, class_shares=(0.6, 0.4))
GUESS = -(0.6 * math.log(0.6) + 0.4 * math.log(0.4))


def curve(train: list[float | None], validation: list[float | None], rate: float = 1e-4) -> tuple[Epoch, ...]:
    pairs = zip(train, validation, strict=True)
    return tuple(Epoch(n, t, v, rate) for n, (t, v) in enumerate(pairs, start=1))


def falling(start: float, end: float, epochs: int) -> list[float]:
    return [end + (start - end) * 0.9**n for n in range(epochs)]


def settled(**changes: object) -> Findings:
    """A good network: nothing is wrong with it, and eight are averaged already."""
    epochs = curve(falling(0.6, 0.30, 100), falling(0.6, 0.31, 100))
    tried = MLP.changed(ensemble_size=8)
    metrics = {"log_loss": 0.31, "accuracy": 0.9}
    found = Findings("classification", DEFAULTS, tried, True, DATA, epochs, metrics)
    return replace(found, **changes)  # type: ignore[arg-type]


def rules(findings: Findings) -> list[str]:
    return [proposal.rule for proposal in advise(findings, 10)]


def only(findings: Findings, rule: str) -> dict[str, tuple[object, object]]:
    """The changes of the proposal made by `rule`."""
    made = next(proposal for proposal in advise(findings, 10) if proposal.rule == rule)
    return {c.field: (json.loads(c.before), json.loads(c.after)) for c in made.changes}


def test_nothing_to_say_about_a_settled_network() -> None:
    assert rules(settled()) == []


def test_a_dataset_gets_a_network_and_a_linear_model() -> None:
    found = Findings("classification", DEFAULTS, data=replace(DATA, rows=300_000))
    assert rules(found)[:2] == ["no_model_yet_network", "no_model_yet_linear"]
    assert only(found, "no_model_yet_network")["hidden_sizes"] == ([128, 128], [256, 256])
    assert only(found, "no_model_yet_linear")["algorithm"] == ("mlp", "logistic")


def test_a_wide_dataset_of_numbers_gets_a_larger_penalty() -> None:
    found = Findings("regression", DEFAULTS, data=Data(rows=100, columns=50, null_share=0))
    assert only(found, "no_model_yet_linear")["l2"] == (None, 10.0)


def test_validation_that_turns_is_overfitting() -> None:
    validation = [*falling(0.6, 0.4, 50), *(0.4 + 0.003 * n for n in range(50))]
    found = settled(epochs=curve(falling(0.6, 0.1, 100), validation), data=replace(DATA, rows=5_000))
    assert rules(found)[0] == "overfitting"
    assert only(found, "overfitting") == {"weight_decay": (0.01, 0.1), "dropout": (0.2, 0.4)}
    assert only(found, "smaller_network")["hidden_sizes"] == ([128, 128], [64, 64])


def test_a_wide_gap_is_overfitting_before_validation_turns() -> None:
    assert rules(settled(epochs=curve(falling(0.6, 0.1, 100), falling(0.6, 0.3, 100))))[0] == "overfitting"


def test_a_network_that_cannot_fit_gets_room() -> None:
    found = settled(epochs=curve(falling(0.66, 0.6, 100), falling(0.66, 0.6, 100)), metrics={"log_loss": 0.6})
    assert only(found, "underfitting") == {"hidden_sizes": ([128, 128], [256, 256]), "dropout": (0.2, 0.1)}


@pytest.mark.parametrize(
    ("losses", "after"),
    [
        pytest.param([0.6, 0.5, None], 0.0002, id="no number"),
        pytest.param([0.6, 0.4, 0.3, 0.9, 0.5], 0.0005, id="jump"),
        pytest.param([9000.0, 300.0, 0.69], 2e-05, id="worse than guessing"),
    ],
)
def test_a_loss_that_is_lost_means_a_lower_rate_even_without_a_model(
    losses: list[float | None], after: float
) -> None:
    found = settled(epochs=curve(losses, losses), trained=False, metrics={})
    assert rules(found) == ["learning_rate_too_high"]
    assert only(found, "learning_rate_too_high") == {"learning_rate": (0.002, after)}


def test_a_low_rate_that_gets_nowhere_is_raised() -> None:
    losses = [0.68 - 0.0005 * n for n in range(20)]
    tried = MLP.changed(learning_rate=1e-5, ensemble_size=8)
    found = settled(epochs=curve(losses, losses), tried=tried, metrics={"log_loss": losses[-1]})
    assert only(found, "learning_rate_too_low") == {"learning_rate": (1e-5, 1e-4)}
    assert "underfitting" not in rules(found)


def test_a_loss_that_still_falls_gets_more_epochs() -> None:
    losses = [0.6 - 0.003 * n for n in range(100)]
    assert only(settled(epochs=curve(losses, losses)), "more_epochs") == {"max_epochs": (100, 200)}


def test_a_run_of_few_epochs_gets_many_more() -> None:
    found = settled(epochs=curve([0.3, 0.29], [0.31, 0.3]), tried=MLP.changed(max_epochs=2, ensemble_size=8))
    assert only(found, "more_epochs") == {"max_epochs": (2, 20)}


def test_a_short_wait_gets_more_patience() -> None:
    losses = [*falling(0.6, 0.4, 20), *([0.43] * 3)]
    tried = MLP.changed(early_stopping_patience=3, ensemble_size=8)
    found = settled(epochs=curve(losses, losses), tried=tried)
    assert only(found, "more_patience") == {"early_stopping_patience": (3, 20)}


def test_a_schedule_that_early_stopping_cuts_is_planned_shorter() -> None:
    losses = [*falling(0.6, 0.4, 20), *([0.43] * 30)]
    found = settled(epochs=curve(losses, losses, rate=0.0019))
    assert only(found, "shorter_schedule") == {"max_epochs": (100, 40)}


def test_a_network_no_better_than_guessing_is_compared_with_a_linear_model() -> None:
    found = settled(metrics={"log_loss": GUESS})
    assert only(found, "no_better_than_guessing")["algorithm"] == ("mlp", "logistic")


def test_few_rows_get_more_networks_and_a_baseline() -> None:
    found = settled(tried=MLP.changed(ensemble_size=1), data=replace(DATA, rows=500))
    assert only(found, "small_data") == {"ensemble_size": (1, 4), "weight_decay": (0.01, 0.03)}
    assert {"ensemble", "linear_baseline"} <= set(rules(found))


def test_one_network_becomes_four_and_four_become_eight() -> None:
    assert only(settled(tried=MLP.changed(ensemble_size=1)), "ensemble") == {"ensemble_size": (1, 4)}
    assert only(settled(tried=MLP), "ensemble") == {"ensemble_size": (4, 8)}


def test_a_linear_model_is_offered_a_network_and_another_penalty() -> None:
    found = Findings(
        "regression", DEFAULTS, LINEAR, True, DATA, metrics={"r2": 0.5}, reported={"train_loss": 0.1}, steps=1
    )
    assert only(found, "larger_penalty") == {"l2": (1.0, 10.0)}
    assert only(found, "nonlinear_model")["algorithm"] == ("linear", "mlp")
    closer = replace(found, reported={"train_loss": 0.49})
    assert only(closer, "smaller_penalty") == {"l2": (1.0, 0.1)}


def test_a_logistic_model_out_of_iterations_gets_more() -> None:
    found = Findings("classification", DEFAULTS, LOGISTIC, True, DATA, reported={"gradient": 1e-3}, steps=200)
    assert only(found, "more_iterations") == {"max_iterations": (200, 1000)}
    assert "more_iterations" not in rules(replace(found, steps=199))


def test_a_job_that_failed_on_its_data_gets_no_advice() -> None:
    assert rules(settled(trained=False, epochs=(), metrics={})) == []


def test_at_most_as_many_as_asked_for() -> None:
    found = settled(tried=MLP.changed(ensemble_size=1), data=replace(DATA, rows=500))
    assert [p.rule for p in advise(found, 1)] == rules(found)[:1]


def test_the_bounds_of_what_it_advises_on_are_those_of_training() -> None:
    for kind in (training.ALGORITHMS[name] for name in ("mlp", "logistic", "linear")):
        for item in fields(kind):
            if "choices" in item.metadata:
                continue
            low, high = BOUNDS[item.name]
            bounds = item.metadata["bounds"]
            assert bounds.problem(low) is None
            # Where 0 stands for the usual, advice is never that.
            assert low - bounds.low < (1e-6 if item.default else 1.5)
            assert high == bounds.high
            assert (item.name in WHOLE) is isinstance(item.default, int)


loss = st.none() | st.floats(0, 10)


@st.composite
def any_findings(draw: st.DrawFn) -> Findings:
    task = draw(st.sampled_from(["classification", "regression"]))
    linear = LOGISTIC if task == "classification" else LINEAR
    kind = draw(st.sampled_from([None, MLP, linear]))
    # The ends of every range, where a proposal would leave it.
    extremes = {
        "l2": st.sampled_from([0.0, 1e9]),
        "max_iterations": st.sampled_from([1, 100_000]),
        "hidden_sizes": st.sampled_from([(1,), (65_536,) * 32]),
        "max_epochs": st.sampled_from([1, 100_000]),
        "learning_rate": st.sampled_from([1e-9, 10.0]),
        "weight_decay": st.sampled_from([0.0, 100.0]),
        "dropout": st.sampled_from([0.0, 0.95]),
        "ensemble_size": st.sampled_from([1, 256]),
        "early_stopping_patience": st.sampled_from([1, 100_000]),
    }
    tried = kind and kind.changed(**{name: draw(extremes[name]) for name in kind.values if name in extremes})
    curves = draw(st.lists(st.tuples(loss, loss), max_size=12))
    shares = draw(st.sampled_from([(), (1.0,), (0.5, 0.5)]))
    return Findings(
        task,
        draw(st.sampled_from([DEFAULTS, {}])),
        tried,
        draw(st.booleans()),
        draw(
            st.none()
            | st.builds(Data, st.integers(0, 10**7), st.integers(0, 10**5), st.just(0.0), st.just(shares))
        ),
        curve([pair[0] for pair in curves], [pair[1] for pair in curves]),
        draw(st.dictionaries(st.sampled_from(["log_loss", "r2"]), st.floats(-10, 1))),
        draw(st.dictionaries(st.sampled_from(["train_loss", "gradient", "residual"]), st.floats(0, 10))),
        draw(st.integers(0, 100_000)),
    )


@settings(max_examples=100, deadline=None, derandomize=True)
@given(any_findings())
def test_every_proposal_can_be_trained_and_is_new(findings: Findings) -> None:
    made = advise(findings, len(RULES))
    for proposal in made:
        params = training.from_json(
            {"algorithm": proposal.hyperparameters.algorithm, **proposal.hyperparameters.values}
        )
        assert params.problems() == {}
        assert findings.task in params.tasks
        assert proposal.hyperparameters != findings.tried
        if findings.tried:
            assert proposal.changes
    for one, other in combinations(made, 2):
        assert one.hyperparameters != other.hyperparameters
