from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der

from services.training.compute.lbfgs import Objective, Point, Walk, minimise
from services.training.compute.optimizers import Shape, flat_cosine, log_cycles, warmup_cosine


def keep_going(walk: Walk) -> bool:
    return False


def valley(x: np.ndarray) -> tuple[float, np.ndarray]:
    return rosen(x), rosen_der(x)


def begin(objective: Objective, start: np.ndarray) -> Walk:
    return Walk(Point(start, *objective(start)))


def test_lbfgs_finds_the_bottom_of_a_curved_valley() -> None:
    start = np.array([0.4, 1.6, 0.7, 2.0, 1.5])
    end = minimise(valley, begin(valley, start), 200, 1e-7, keep_going)
    np.testing.assert_allclose(end.point.x, np.ones(5), atol=1e-6)


def test_lbfgs_needs_about_as_many_calls_as_scipy() -> None:
    scales = np.logspace(0, 3, 30)
    calls = 0

    def bowl(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal calls
        calls += 1
        return float(scales @ (x - 2) ** 2), 2 * scales * (x - 2)

    end = minimise(bowl, begin(bowl, np.zeros(30)), 500, 1e-6, keep_going)
    ours, calls = calls, 0
    minimize(bowl, np.zeros(30), jac=True, method="L-BFGS-B", options={"maxcor": 10, "gtol": 1e-6, "ftol": 0})
    np.testing.assert_allclose(end.point.x, np.full(30, 2), atol=1e-6)
    assert ours < 1.3 * calls


def test_lbfgs_ends_when_told_to() -> None:
    seen = []

    def third(walk: Walk) -> bool:
        seen.append(walk.iteration)
        return walk.iteration == 3

    minimise(valley, begin(valley, np.array([-1.2, 1.0])), 200, 1e-7, third)
    assert seen == [1, 2, 3]


@pytest.mark.parametrize("shape", [warmup_cosine, log_cycles, flat_cosine])
def test_shapes_stay_between_nothing_and_their_peak(shape: Shape) -> None:
    values = shape(np.linspace(0, 1, 10_001))
    assert values.min() >= 0
    assert values.max() == pytest.approx(1, abs=1e-3)
    assert values[-1] == pytest.approx(0, abs=1e-6)


def test_four_cycles_each_twice_as_long_as_the_one_before() -> None:
    place = np.linspace(0, 1, 60_001)
    rates = log_cycles(place)
    lows = place[1:-1][(rates[1:-1] < rates[:-2]) & (rates[1:-1] < rates[2:])]
    np.testing.assert_allclose(lows, [1 / 15, 3 / 15, 7 / 15], atol=1e-4)


def test_a_flat_cosine_is_whole_for_half_the_run() -> None:
    np.testing.assert_allclose(flat_cosine(np.array([0, 0.49, 0.75, 1])), [1, 1, 0.5, 0], atol=1e-9)
