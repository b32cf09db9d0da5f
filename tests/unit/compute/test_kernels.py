"""The NumPy twins against float64 references, and their gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer

from services.training.compute.kernels.activation import add_bias, bias_backward, bias_relu, relu_backward
from services.training.compute.kernels.adamw import Moments, Step, adamw
from services.training.compute.kernels.cross_entropy import cross_entropy, row_maximum
from services.training.compute.kernels.dropout import dropout, gain, threshold
from services.training.compute.kernels.launch import Kernels
from services.training.compute.kernels.squared_error import squared_error

HOST = Kernels(np)
RANDOM = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.normal(0.3, 1.2, shape).astype(np.float32)


def finite_differences(function: Callable[[np.ndarray], float], at: np.ndarray) -> np.ndarray:
    """The gradient of a float64 function by central differences."""
    gradient = np.zeros(at.shape)
    for index in np.ndindex(*at.shape):
        move = np.zeros(at.shape)
        move[index] = 1e-5
        gradient[index] = (function(at + move) - function(at - move)) / 2e-5
    return gradient


def test_bias_and_relu() -> None:
    z, bias = normal(2, 5, 3), normal(2, 1, 3)
    expected = np.maximum(z.astype(np.float64) + bias, 0)
    plain = z.copy()
    add_bias(HOST, plain, bias)
    bias_relu(HOST, z, bias)
    np.testing.assert_allclose(plain.clip(min=0), expected, rtol=1e-6)
    np.testing.assert_allclose(z, expected, rtol=1e-6)
    assert (plain < 0).any()


def test_relu_backward_is_the_derivative_of_bias_and_relu() -> None:
    z, bias, weights = normal(2, 5, 3), normal(2, 1, 3), normal(2, 5, 3)
    activation = z.copy()
    bias_relu(HOST, activation, bias)
    delta, bias_gradient = weights.copy(), np.empty((2, 1, 3), np.float32)
    relu_backward(HOST, delta, activation, 1.0, bias_gradient)

    def loss_of_z(moved: np.ndarray) -> float:
        return float((np.maximum(moved + bias, 0) * weights).sum())

    def loss_of_bias(moved: np.ndarray) -> float:
        return float((np.maximum(z + moved, 0) * weights).sum())

    np.testing.assert_allclose(delta, finite_differences(loss_of_z, z.astype(np.float64)), atol=1e-5)
    expected = finite_differences(loss_of_bias, bias.astype(np.float64))
    np.testing.assert_allclose(bias_gradient, expected, atol=1e-5)


def test_bias_gradients_may_be_views_with_a_stride_between_networks() -> None:
    flat, delta = np.zeros((2, 10), np.float32), normal(2, 5, 3)
    bias_backward(HOST, delta, flat[:, None, 4:7])
    np.testing.assert_allclose(flat[:, 4:7], delta.sum(axis=1, dtype=np.float64), rtol=1e-5)
    assert not flat[:, :4].any()
    assert not flat[:, 7:].any()


@pytest.mark.parametrize("classes", [2, 7, 40])
def test_cross_entropy_and_its_gradient(classes: int) -> None:
    logits, labels = 3 * normal(2, 4, classes), np.array([1, 0, classes - 1, 1])
    weights = np.array([0.1, 0.5, 0.2, 1.7], np.float32)

    def losses_of(z: np.ndarray) -> np.ndarray:
        return -weights * log_softmax(z, axis=-1)[:, np.arange(4), labels]

    gradient, losses = logits.copy(), np.empty((2, 4), np.float32)
    cross_entropy(HOST, gradient, labels, weights, losses)
    exact = logits.astype(np.float64)
    np.testing.assert_allclose(losses, losses_of(exact), rtol=2e-5, atol=1e-6)
    expected = finite_differences(lambda z: float(losses_of(z).sum()), exact)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


def test_cross_entropy_of_extreme_logits_stays_finite() -> None:
    logits, losses = np.array([[[1e4, -1e4, 3e4]]], np.float32), np.empty((1, 1), np.float32)
    cross_entropy(HOST, logits, np.array([1]), np.ones(1, np.float32), losses)
    assert losses[0, 0] == pytest.approx(4e4)
    np.testing.assert_allclose(logits[0, 0], [0, -1, 1], atol=1e-6)


@pytest.mark.parametrize("columns", [1, 3, 16, 17])
def test_row_maximum(columns: int) -> None:
    values = normal(2, 6, columns)
    np.testing.assert_array_equal(row_maximum(values)[..., 0], values.max(axis=-1))


def test_squared_error_and_its_gradient() -> None:
    outputs, targets = normal(3, 4, 1), normal(4)
    weights = np.array([0.1, 0.5, 0.2, 1.7], np.float32)

    def losses_of(values: np.ndarray) -> np.ndarray:
        return weights * (values[..., 0] - targets) ** 2

    gradient, losses = outputs.copy(), np.empty((3, 4), np.float32)
    squared_error(HOST, gradient, targets, weights, losses)
    exact = outputs.astype(np.float64)
    np.testing.assert_allclose(losses, losses_of(exact), rtol=1e-5)
    expected = finite_differences(lambda values: float(losses_of(values).sum()), exact)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x64-10 as its paper writes it, in Python integers."""
    mask = 2**64 - 1
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * counter[0], 0xCA5A826395121157 * counter[2]
        counter = [
            (second >> 64) ^ counter[1] ^ key[0],
            second & mask,
            (first >> 64) ^ counter[3] ^ key[1],
            first & mask,
        ]
        key = [(key[0] + 0x9E3779B97F4A7C15) & mask, (key[1] + 0xBB67AE8584CAA73B) & mask]
    return counter


def test_dropout_draws_the_stream_that_it_documents() -> None:
    seed, step, layer, rate = 2**63 + 11, 70_001, 3, 0.4
    units = np.ones((2, 5, 7), np.float32)
    dropout(HOST, units, rate, seed, step=step, layer=layer)
    blocks = (philox([block + 1, 0, step, layer], [seed, 0]) for block in range(3))
    drawn = b"".join(word.to_bytes(8, "little") for words in blocks for word in words)[: units.size]
    expected = [0.0 if byte < threshold(rate) else gain(rate) for byte in drawn]
    np.testing.assert_array_equal(units.ravel(), np.array(expected, np.float32))


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 0.95), st.integers(0, 2**64 - 1), st.integers(0, 10**9))
def test_dropout_keeps_the_mean_and_drops_about_the_rate(rate: float, seed: int, step: int) -> None:
    units = np.ones(40_000, np.float32)
    dropout(HOST, units, rate, seed, step=step, layer=0)
    assert (units == 0).mean() == pytest.approx(rate, abs=0.02)
    assert units.mean() == pytest.approx(1, abs=0.2)


def test_dropout_differs_from_step_to_step_and_layer_to_layer() -> None:
    drawn = set()
    for step, layer in [(0, 0), (1, 0), (0, 1)]:
        units = np.ones(256, np.float32)
        dropout(HOST, units, 0.5, 9, step=step, layer=layer)
        drawn.add(units.tobytes())
    assert len(drawn) == 3


def test_adamw_without_decay_is_adam() -> None:
    parameters = normal(2, 40_003)
    reference = [parameters.astype(np.float64)]
    oracle = AdamOptimizer(reference, learning_rate_init=0.03)
    moments = Moments(*(np.zeros_like(parameters) for _ in range(3)))
    for count in range(1, 8):
        # Not near 0: there, the oracle's other place for epsilon shows.
        gradients = normal(*parameters.shape)
        gradients += np.copysign(np.float32(0.5), gradients)
        oracle.update_params(reference, [gradients.astype(np.float64)])
        adamw(HOST, parameters, gradients, moments, Step(count, learning_rate=0.03))
    np.testing.assert_allclose(parameters, reference[0], rtol=2e-5, atol=2e-6)


def test_adamw_decays_only_the_weights() -> None:
    parameters = np.ones((2, 5), np.float32)
    moments = Moments(*(np.zeros_like(parameters) for _ in range(3)))
    step = Step(1, learning_rate=0.1, decay=0.5, decayed=3)
    adamw(HOST, parameters, np.zeros_like(parameters), moments, step)
    np.testing.assert_allclose(parameters, [[0.95, 0.95, 0.95, 1, 1]] * 2, rtol=1e-6)


def test_moments_of_a_dead_unit_stay_normal_numbers() -> None:
    parameters = np.ones((1, 3), np.float32)
    moments = Moments(*(np.full_like(parameters, 1e-3) for _ in range(3)))
    for count in range(1, 1200):
        adamw(HOST, parameters, np.zeros_like(parameters), moments, Step(count, 1e-3))
    assert moments.first.min() > np.finfo(np.float32).tiny
