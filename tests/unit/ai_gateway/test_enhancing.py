"""What an enhancement does next, and when it says ADOPT."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ai_gateway.domain.enhancement import Recommendation, Run
from services.ai_gateway.domain.enhancing import (
    SEEDS,
    final,
    finalists,
    first_search,
    merged,
    next_step,
    verdict,
)
from services.ai_gateway.domain.finals import Comparison, Difference, Side
from services.ai_gateway.domain.trials import Arm, Measured, Proposed, Search
from tests.unit.ai_gateway.enhancement_samples import enhancement, run, trial


@given(st.sampled_from([Arm.RANDOM, Arm.TPE, Arm.LLM, Arm.HYBRID, Arm.LOCAL]), st.integers(1, 200))
def test_every_arm_has_the_same_number_of_trials(arm: Arm, budget: int) -> None:
    one, steps = Run(arm), 0
    while step := next_step(one, budget):
        trials = tuple(trial(number, 0.5) for number in range(step.size))
        search = Search(step.size, step.sampler, measured=Measured(True, trials))
        one, steps = replace(one, searches=(*one.searches, search)), steps + 1
        assert step.ask <= step.size
        assert bool(step.ask) == (arm in {Arm.LLM, Arm.HYBRID, Arm.LOCAL})
        assert bool(step.sampler) == (arm not in {Arm.LLM, Arm.LOCAL})
    assert len(one.trials) == budget
    assert steps <= 3


def test_an_arm_whose_proposals_run_out_ends() -> None:
    one = Run(Arm.LLM)
    for rounds in range(3):
        assert next_step(one, 9), rounds
        one = replace(one, searches=(*one.searches, Search(0, measured=Measured(True))))
    assert next_step(one, 9) is None


def test_the_input_is_measured_beside_the_defaults_where_it_is_something_else() -> None:
    assert [one.values for one in first_search({}, 7).proposals] == [{"seed": 7}]
    asked = {"algorithm": "mlp", "mlp.dropout": 0.5}
    found = [(one.source, one.values) for one in first_search(asked, 7).proposals]
    assert found == [("input", {**asked, "seed": 7}), ("default", {"seed": 7})]


def test_what_several_propose_is_all_of_theirs_and_tried_once() -> None:
    first = [Proposed({"a": 1}, "one"), Proposed({"a": 2}, "one"), Proposed({"a": 1}, "one")]
    second = [Proposed({"a": 3}, "two"), Proposed({"a": 1.0}, "two"), Proposed({"a": 9}, "two")]
    found = merged([first, second, []], [{"a": 9, "seed": 3}, {"a": 2}], 5)
    assert [(one.values, one.source) for one in found] == [({"a": 1}, "one+two"), ({"a": 3}, "two")]
    assert len(merged([first, second], [], 1)) == 1


def test_finalists_are_the_best_of_all_arms_that_beat_the_input() -> None:
    one = enhancement(
        run(Arm.DEFAULT, trial(0, 0.5, seed=7)),
        run(Arm.TPE, trial(0, 0.4, a=1), trial(1, 0.45, a=2), trial(2, 0.6, a=3), trial(3, None, a=4)),
        run(Arm.LLM, trial(0, 0.41, a=1), trial(1, 0.3, a=5), trial(2, 0.44, a=6)),
    )
    assert [found.values for found in finalists(one)] == [{}, {"a": 5}, {"a": 1}, {"a": 6}]
    few = enhancement(*one.runs, max_trials=4)
    assert [found.values for found in finalists(few)] == [{}, {"a": 5}]
    none = enhancement(run(Arm.DEFAULT, trial(0, 0.3)), run(Arm.TPE, trial(0, 0.3, a=1)))
    assert len(finalists(none)) == 1


def test_a_final_is_won_on_validation_rows_over_all_seeds() -> None:
    one = enhancement(run(Arm.DEFAULT, trial(0, 0.5)), run(Arm.TPE, trial(0, 0.4, a=1), trial(1, 0.3, a=2)))
    assert len(final(finalists(one), 7, 7).seeds) == 3
    played = final(finalists(one), 7, 12)
    assert len(set(played.seeds)) == SEEDS
    assert played.seeds[0] == 7
    assert played.search.size == 3 * SEEDS
    losses = [0.5] * SEEDS + [0.2] * (SEEDS - 1) + [None] + [0.45] * SEEDS
    trials = tuple(trial(number, loss) for number, loss in enumerate(losses))
    ended = replace(played, search=replace(played.search, measured=Measured(True, trials)))
    assert ended.winner == 2  # the other has not a result for every seed
    assert [found.number for found in ended.trials_of(2)] == [10, 11, 12, 13, 14]
    worse = tuple(replace(found, validation=0.6) if found.number > 4 else found for found in trials)
    assert replace(ended, search=replace(ended.search, measured=Measured(True, worse))).winner == 0
    lost = (replace(trials[0], validation=None), *trials[1:])
    assert replace(ended, search=replace(ended.search, measured=Measured(True, lost))).winner is None


@pytest.mark.parametrize(
    ("mean", "p", "constant_p", "wanted"),
    [
        (0.1, 0.001, 0.001, Recommendation.ADOPT),
        (0.1, 0.03, 0.001, Recommendation.KEEP),
        (-0.1, 0.99, 0.001, Recommendation.KEEP),
        (0.1, 0.001, 0.2, Recommendation.KEEP),
    ],
)
def test_adopt_needs_a_gain_beyond_chance_and_more_than_a_constant(
    mean: float, p: float, constant_p: float, wanted: Recommendation
) -> None:
    side = Side(("m",), {"log_loss": 0.5}, {})
    gain, over = (
        Difference(one, 0.01, 0, 1, value, 1 - value) for one, value in ((mean, p), (1, constant_p))
    )
    recommendation, reason = verdict(Comparison(100, "log_loss", side, side, gain, over))
    assert recommendation is wanted
    assert reason
