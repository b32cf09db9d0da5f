"""Ranks with rows of their own learn what one rank with all rows does, and all the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.training.compute.backend import open_backend
from services.training.compute.communicator.base import Alone
from services.training.compute.errors import ComputeError
from services.training.compute.estimators.base import Samples
from services.training.compute.estimators.registry import estimator
from services.training.compute.loop import NullLoop
from services.training.compute.prepare import Problem
from services.training.domain.hyperparameters import BoostedTrees, KMeans, Linear, Logistic, Mlp
from tests.contract.crew import Crew, Failed, World
from tests.unit.compute import parallel_fits
from tests.unit.compute.fit_cases import weighted
from tests.unit.compute.parallel_fits import Fit, Fitted

WIDTH = 5


def samples(rows: int, classes: int, seed: int = 0) -> Samples:
    random = np.random.default_rng([seed, 11])
    features = random.gamma(2, 1, (rows, WIDTH)).astype(np.float32) - 1
    score = features @ np.array([1, -2, 0.5, 0, 1.5]) + features[:, 1] * features[:, 3]
    noisy = score + random.normal(0, 0.7, rows)
    if classes:
        return Samples(features, np.digitize(noisy, [-1, 2][: classes - 1]).astype(np.int64), classes)
    return Samples(features, noisy.astype(np.float32), 0)


def packed(rows: int, classes: int, seed: int = 0) -> Samples:
    return replace(samples(rows, classes, seed), packed=True)


def clusters(rows: int) -> Samples:
    return replace(samples(rows, 0), targets=np.empty((rows, 0), np.float32))


UNEVEN, EVEN = (90, 17, 96), (67, 68, 67)
SMALL = {"hidden_sizes": (8, 4), "ensemble_size": 3}
HASTY = Mlp(**SMALL, max_epochs=6, batch_size=48, early_stopping_patience=2, learning_rate=0.1, dropout=0.2)
FIRST = {"logistic": {"_FIRST_ROWS": 40, "_BLOCK_ROWS": 25}}
HEAVY = {"logistic": {"_FIRST_ROWS": 40}}
CASES = {
    "logistic, weighted": Fit(Logistic(tolerance=1e-6), weighted(samples(203, 3)), UNEVEN, tuned=HEAVY),
    "kmeans, weighted": Fit(KMeans(6, restarts=2), weighted(clusters(203)), UNEVEN),
    "mlp, weighted": Fit(HASTY, weighted(packed(202, 3)), EVEN, weighted(packed(61, 3, 1))),
    "logistic": Fit(Logistic(tolerance=1e-6), samples(203, 3), UNEVEN),
    "logistic, two classes": Fit(Logistic(l2=0.1, tolerance=1e-6), samples(203, 2), UNEVEN),
    "logistic, from some rows": Fit(Logistic(tolerance=1e-6), samples(203, 3), UNEVEN, tuned=FIRST),
    "logistic, wide": Fit(
        Logistic(tolerance=1e-6), samples(203, 3), UNEVEN, tuned={"logistic": {"WIDEST": 3}}
    ),
    "kmeans": Fit(KMeans(6, restarts=2), clusters(203), UNEVEN, tuned={"kmeans": {"_BLOCK_ROWS": 25}}),
    "kmeans, batches": Fit(KMeans(6, restarts=2, max_iterations=7, batch_size=40), clusters(203), UNEVEN),
    "mlp": Fit(HASTY, packed(202, 3), EVEN, packed(61, 3, 1)),
    "mlp, values": Fit(HASTY, packed(202, 0), EVEN, packed(61, 0, 1)),
    "mlp, tab_m": Fit(replace(HASTY, architecture="tab_m"), packed(202, 3), EVEN, packed(61, 3, 1)),
    "mlp, no validation": Fit(replace(HASTY, architecture="plain"), packed(202, 3), EVEN),
}


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    crew = Crew()
    yield crew
    crew.close()


def run(crew: Crew, case: Fit) -> list[Any]:
    return crew.run(World(len(case.lengths)), parallel_fits.fit, case)


@pytest.mark.parametrize("name", CASES)
def test_all_ranks_have_the_same_bits_in_every_run(crew: Crew, name: str) -> None:
    first, second = (run(crew, CASES[name]) for _ in range(2))
    assert first[0].bits
    for one in first + second:
        assert one.bits == first[0].bits
        assert one.reports == first[0].reports
    assert (
        len({tuple(state["step" if "step" in state else "iteration"].ravel()) for state in first[0].states})
        > 1
    )


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("mlp")])
def test_what_is_learned_is_what_one_rank_learns(crew: Crew, name: str) -> None:
    expected, (found, *_) = CASES[name].whole(tuned={}), run(crew, CASES[name])
    assert found.outcome.arrays.keys() == expected.outcome.arrays.keys()
    for key, array in expected.outcome.arrays.items():
        # Products are in float32, and logistic stops where their rounding hides the way down.
        np.testing.assert_allclose(found.outcome.arrays[key], array, rtol=2e-3, atol=1e-3)
    losses = [one.reports[-1][2]["train_loss"] for one in (found, expected)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_mlp_scales_inputs_by_the_rows_of_all_ranks(crew: Crew) -> None:
    case = CASES["mlp"]
    order = np.argsort(case.train.features[:, 0])
    train = replace(case.train, features=case.train.features[order], targets=case.train.targets[order])
    found, expected = run(crew, replace(case, train=train))[0], case.whole()
    for name in ("centres", "factors"):
        np.testing.assert_array_equal(found.outcome.arrays[name], expected.outcome.arrays[name])


@pytest.mark.parametrize("params", [Logistic(tolerance=1e-6), HASTY])
def test_the_whole_way_is_shared_and_its_end_is_rank_0s(
    crew: Crew, params: Logistic | Mlp, tmp_path: Path
) -> None:
    random = np.random.default_rng(3)
    x = np.sort(random.normal(0, 1, 600))  # the ranks' parts are unlike each other
    columns = {"x": x, "z": random.normal(0, 1, 600), "y": (x + random.normal(0, 0.5, 600) > 0) * 1.0}
    # There is one validation row for two ranks.
    problem = Problem("classification", "y", params, validation_fraction=0.001, test_fraction=0.3)
    runs = [
        crew.run(World(ranks), parallel_fits.trained, problem, columns, tmp_path / str(number))
        for number, ranks in enumerate([2, 2, 1])
    ]
    [(learned, samples, metrics), (other, *rest)], again, [(_, _, expected)] = runs
    assert learned
    assert again[0] == (learned, samples, metrics)
    assert (other, *rest) == ("", samples, {})
    assert metrics["accuracy"] == pytest.approx(expected["accuracy"], abs=0.05)
    assert expected["accuracy"] > 0.8


@pytest.mark.parametrize("name", ["mlp", "mlp, values", "mlp, weighted", "mlp, tab_m"])
def test_mlp_by_whole_batches_is_what_one_rank_learns(crew: Crew, name: str) -> None:
    case = replace(CASES[name], params=replace(HASTY, dropout=0.0, batch_size=202))
    # What ranks begin with is fitted to rank 0's rows; so both begin with the same.
    start = case.whole(seed=1).outcome.arrays
    # As many rows each, so that no row fills up a batch.
    train = packed(201, case.train.classes)
    train = weighted(train) if case.train.weighted else train
    case = replace(case, start=start, train=train, lengths=(67, 67, 67))
    expected, (found, *_) = case.whole(), run(crew, case)
    moved = expected.outcome.arrays["parameters"] - start["parameters"]
    assert np.abs(moved).max() > 0.01
    np.testing.assert_allclose(
        found.outcome.arrays["parameters"], expected.outcome.arrays["parameters"], atol=1e-4
    )
    for one, other in zip(found.reports, expected.reports, strict=True):
        assert one[2] == pytest.approx(other[2], rel=1e-3)


def test_mlp_by_parts_of_batches_is_as_good(crew: Crew) -> None:
    case = CASES["mlp"]
    patient = replace(HASTY, max_epochs=30, early_stopping_patience=30, learning_rate=0.03)
    case = replace(case, params=patient, train=packed(1500, 3), lengths=(500, 500, 500))
    test = packed(2000, 3, 2)

    def loss(fitted: Fitted) -> float:
        said = estimator(case.params, 3).predict(fitted.outcome.arrays, test.features[:])
        return float(-np.log(said[np.arange(2000), test.targets]).mean())

    found, expected = loss(run(crew, case)[0]), loss(case.whole())
    assert expected < 0.6
    assert found == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    "name", ["logistic, from some rows", "kmeans", "kmeans, batches", "mlp", "mlp, tab_m"]
)
def test_the_checkpoint_of_rank_0_restores_all(crew: Crew, name: str) -> None:
    case = CASES[name]
    expected = run(crew, case)
    place = len(expected[0].states) // 2
    resumed = run(crew, replace(case, resume=expected[0].states[place]))
    for rank, one in enumerate(resumed):
        assert one.bits == expected[0].bits
        assert 0 < len(one.states) == len(expected[0].states) - place - 1
        assert one.reports == expected[rank].reports[-len(one.reports) :]


@pytest.mark.parametrize(
    "name", ["logistic, from some rows", "logistic, wide", "kmeans", "kmeans, batches", "mlp"]
)
@pytest.mark.parametrize(("rank", "ask"), [(0, 1), (2, 9), (1, 14)])
def test_when_one_is_told_to_stop_all_do(crew: Crew, name: str, rank: int, ask: int) -> None:
    stopped = run(crew, replace(CASES[name], told={rank: ask}))
    assert all(one.outcome.stopped for one in stopped)
    assert len({len(one.states) for one in stopped}) == 1


def test_a_rank_that_dies_is_an_error_on_the_others(crew: Crew) -> None:
    found = crew.run(World(3), parallel_fits.fit, replace(CASES["mlp"], killed={1: 2}), lost=1)
    assert isinstance(found[0], Failed)
    assert isinstance(found[2], Failed)
    assert "rank 1" in found[0].reason


def test_a_centre_without_rows_goes_to_the_row_that_is_farthest_on_any_rank(crew: Crew) -> None:
    start = np.array([np.full(WIDTH, value) for value in (0.0, 900.0, 1.0)])
    case = Fit(KMeans(3, max_iterations=2), clusters(203), UNEVEN, start={"centres": start})
    expected, (found, *_) = case.whole(), run(crew, case)
    np.testing.assert_allclose(found.outcome.arrays["centres"], expected.outcome.arrays["centres"], atol=1e-5)
    assert np.abs(expected.outcome.arrays["centres"]).max() < 100


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (replace(CASES["logistic"], lengths=(100, 0, 103)), "train: rank 1 of 3 has no rows"),
        (replace(CASES["mlp"], lengths=(60, 60, 82)), "train: ranks of mlp .* from 60 to 82"),
        (replace(CASES["kmeans"], params=KMeans(300)), "clusters: .* got 203"),
    ],
)
def test_what_cannot_be_shared_is_refused_everywhere(crew: Crew, case: Fit, said: str) -> None:
    for one in run(crew, case):
        assert isinstance(one, str)
        assert re.search(said, one)


@pytest.mark.parametrize("params", [Linear(), BoostedTrees()])
def test_algorithms_of_one_rank_say_so(params: Linear | BoostedTrees) -> None:
    class Two(Alone):
        world_size = 2

    with pytest.raises(ComputeError, match=f"algorithm: {params.name}"):
        estimator(params, 0).fit(packed(9, 0), None, 0, NullLoop(), open_backend("numpy"), communicator=Two())


def test_a_state_arrives_as_it_is(crew: Crew) -> None:
    odd = {
        "flag": np.array(True),
        "few": np.arange(3, dtype=np.int8),
        "none": np.zeros((0, 2)),
        "": np.ones(1),
    }
    found = crew.run(World(3), parallel_fits.states, [odd, {}, None])
    expected = [{name: (a.dtype.str, a.shape, a.tobytes()) for name, a in odd.items()}, {}, None]
    assert found == [expected] * 3
