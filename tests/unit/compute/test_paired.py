"""Paired differences against SciPy, and what they promise under chance alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from services.training.compute.paired import paired_difference
from services.training.compute.student import above, quantile_above


@pytest.mark.parametrize("freedom", [0.7, 1, 2.5, 30, 1e4, 1e8])
def test_the_distribution_is_students(freedom: float) -> None:
    near = 1e-8 if freedom < 1e6 else 1e-6
    for t in (-40.0, -2.0, -0.1, 0.0, 1e-6, 0.5, 1.96, 7.0, 300.0):
        assert above(t, freedom) == pytest.approx(stats.t.sf(t, freedom), rel=near, abs=1e-250)
    for tail in (0.5, 0.1, 0.025, 1e-6):
        assert quantile_above(tail, freedom) == pytest.approx(stats.t.isf(tail, freedom), rel=near, abs=1e-9)


def test_one_model_against_another_is_the_paired_t_test() -> None:
    random = np.random.default_rng(0)
    candidate, baseline = random.gamma(2, 1, (2, 1, 50))
    found = paired_difference(candidate, baseline)
    told = stats.ttest_rel(baseline[0], candidate[0], alternative="greater")
    interval = stats.ttest_rel(baseline[0], candidate[0]).confidence_interval(0.95)
    assert (found.mean / found.standard_error, found.p_value) == pytest.approx((told.statistic, told.pvalue))
    assert (found.low, found.high) == pytest.approx(tuple(interval))
    assert found.probability == pytest.approx(1 - told.pvalue)


@pytest.mark.parametrize(("candidates", "baselines"), [(4, 4), (5, 3), (4, 1)])
def test_models_vary_beside_rows(candidates: int, baselines: int) -> None:
    random = np.random.default_rng(1)
    skill = random.normal(size=(candidates + baselines, 1))
    losses = random.gamma(2, 1, 40) + skill + random.normal(size=(candidates + baselines, 40))
    candidate, baseline = losses[:candidates], losses[candidates:]
    found = paired_difference(candidate, baseline)
    one, other = candidate.mean(axis=1), baseline.mean(axis=1)
    squares = [(stats.sem(baseline.mean(axis=0) - candidate.mean(axis=0)) ** 2, 39)]
    if candidates == baselines:
        squares += [(stats.sem(other - one) ** 2, candidates - 1)]
    else:
        squares += [(stats.sem(means) ** 2, len(means) - 1) for means in (one, other) if len(means) > 1]
    variance = sum(square for square, _ in squares)
    freedom = variance**2 / sum(square**2 / of for square, of in squares)
    assert found.mean == pytest.approx(other.mean() - one.mean())
    assert found.standard_error == pytest.approx(variance**0.5)
    assert found.p_value == pytest.approx(stats.t.sf(found.mean / variance**0.5, freedom))


@pytest.mark.parametrize(("mean", "tail"), [(0.0, 0.5), (0.25, 0.0), (-0.25, 1.0)])
def test_where_nothing_varies_there_is_no_doubt(mean: float, tail: float) -> None:
    found = paired_difference(np.ones((2, 9)), np.ones((3, 9)) + mean)
    assert (found.low, found.high, found.standard_error) == (mean, mean, 0)
    assert (found.p_value, found.probability) == (tail, 1 - tail)


@pytest.mark.parametrize("models", [(1, 1), (5, 5), (6, 4)])
def test_chance_alone_is_rarely_taken_for_an_improvement(models: tuple[int, int]) -> None:
    """Of 2,000 tables: 5 % and three standard errors of that at most."""
    random, found = np.random.default_rng(2), 0
    for _ in range(2000):
        rows = random.gamma(2, 1, 60)
        luck = [random.normal(0, 0.1 * (count > 1), (count, 1)) for count in models]
        noise = [random.normal(0, 0.5, (count, 60)) for count in models]
        candidate, baseline = (rows + one + other for one, other in zip(luck, noise, strict=True))
        found += paired_difference(candidate, baseline).p_value < 0.05
    assert found / 2000 < 0.065
