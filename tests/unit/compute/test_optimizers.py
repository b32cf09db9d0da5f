from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize, rosen, rosen_der

from services.training.compute.lbfgs import Objective, Point, Walk, minimise
from services.training.compute.optimizers import warmup_cosine


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


@given(st.integers(1, 3000), st.floats(1e-6, 10))
def test_learning_rate_rises_to_its_peak_then_falls_and_is_never_zero(steps: int, peak: float) -> None:
    rates = np.array([warmup_cosine(step, steps, peak) for step in range(steps)])
    top = int(rates.argmax())
    assert rates.min() > 0
    assert rates.max() <= peak * (1 + 1e-12)
    assert (np.diff(rates[: top + 1]) >= 0).all()
    assert (np.diff(rates[top:]) <= 0).all()
    assert top <= 0.06 * steps + 1
