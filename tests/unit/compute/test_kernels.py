"""The NumPy twins against float64 references, and their gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer

from services.training.compute.estimators.layout import Group
from services.training.compute.kernels.activation import Activation, Drops, Layer, activate, activate_back
from services.training.compute.kernels.adamw import adamw
from services.training.compute.kernels.cross_entropy import cross_entropy
from services.training.compute.kernels.dropout import cut_of, draw
from services.training.compute.kernels.embedding import NUMBER_PARAMETERS, Embedding, embed, embed_back
from services.training.compute.kernels.gather import gather
from services.training.compute.kernels.host import exponential, sine
from services.training.compute.kernels.launch import Kernels
from services.training.compute.kernels.squared_error import squared_error
from services.training.compute.optimizers import Pace, constant

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


def sigma(v: np.ndarray, kind: str) -> np.ndarray:
    """The activations in float64, as PyTorch's documentation defines them."""
    if kind == "selu":
        return 1.0507009873554805 * np.where(v > 0, v, 1.6732632423543772 * np.expm1(np.minimum(v, 0)))
    if kind == "mish":
        return v * np.tanh(np.logaddexp(0, v))
    return np.maximum(v, 0) if kind == "relu" else v


@pytest.mark.parametrize("sloped", [False, True])
@pytest.mark.parametrize("kind", ["identity", "relu", "selu", "mish"])
def test_activation_and_its_derivative(kind: Activation, sloped: bool) -> None:
    networks, rows, columns, gain = 2, 5, 3, 0.4
    layer = Layer(bias=1, activation=kind, slope=5 if sloped else -1, gain=gain)
    product, flat, weights = (
        normal(networks, rows, columns),
        normal(networks, 9),
        normal(networks, rows, columns),
    )

    def out_of(products: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        v = gain * products + parameters[:, None, 1:4]
        return v + (parameters[:, None, 5:8] if sloped else 1) * (sigma(v, kind) - v)

    z, out = product.copy(), np.empty_like(product)
    activate(HOST, z, out, flat, layer, None)
    exact = product.astype(np.float64), flat.astype(np.float64)
    np.testing.assert_allclose(out, out_of(*exact), atol=2e-6)
    delta, gradients = weights.copy(), np.zeros_like(flat)
    activate_back(HOST, delta, z, out, flat, gradients, layer, None)
    by_product = finite_differences(lambda moved: float((out_of(moved, exact[1]) * weights).sum()), exact[0])
    by_parameter = finite_differences(
        lambda moved: float((out_of(exact[0], moved) * weights).sum()), exact[1]
    )
    np.testing.assert_allclose(delta, by_product, atol=2e-5)
    np.testing.assert_allclose(gradients, by_parameter, atol=2e-5)


@pytest.mark.parametrize("kind", ["relu", "mish"])
def test_far_values_stay_finite(kind: Activation) -> None:
    z = np.array([[[-1e10, -200.0, 200.0, 1e10]]], np.float32)
    out, flat = np.empty_like(z), np.zeros((1, 4), np.float32)
    activate(HOST, z, out, flat, Layer(0, kind), None)
    np.testing.assert_allclose(out[0, 0], [0, 0, 200, 1e10], atol=1e-6)
    delta = np.ones_like(z)
    activate_back(HOST, delta, z, out, flat, np.zeros_like(flat), Layer(0, kind), None)
    np.testing.assert_allclose(delta[0, 0], [0, 0, 1, 1], atol=1e-6)


def test_dropped_units_are_zero_both_ways_and_the_others_grow() -> None:
    mask = np.array([[[0, 99, 100, 255]], [[0, 99, 100, 255]]], np.uint8)
    drops = Drops(mask, cuts=np.array([[7, 7], [100, 0]]), at=np.array([1]))
    z, out, flat = (
        np.ones((2, 1, 4), np.float32),
        np.empty((2, 1, 4), np.float32),
        np.zeros((2, 4), np.float32),
    )
    layer, grown = Layer(0, "relu"), 256 / 156
    activate(HOST, z, out, flat, layer, drops)
    np.testing.assert_allclose(out[:, 0], [[0, 0, grown, grown], [1, 1, 1, 1]], rtol=1e-6)
    delta = np.full_like(z, 2)
    activate_back(HOST, delta, z, out, flat, np.zeros_like(flat), layer, drops)
    np.testing.assert_allclose(delta[:, 0], [[0, 0, 2 * grown, 2 * grown], [2, 2, 2, 2]], rtol=1e-6)


def test_embedding_and_its_derivative() -> None:
    """Two numbers, one other feature, and two categories with tables of 2 and 3 entries."""
    random = np.random.default_rng(8)
    tables, scale = 2 * NUMBER_PARAMETERS, 2 * NUMBER_PARAMETERS + 5 * 8
    at = Embedding(2, 3, 2, 0, tables, scale, np.array([0, 0, 1, 1, 1], np.int32))
    flat = random.normal(0, 0.7, (2, scale + at.width)).astype(np.float32)
    x = random.normal(0, 1.5, (6, 3)).astype(np.float32)
    codes = np.array([[0, 2], [1, 4], [0, 3], [0, 2], [1, 2], [0, 4]], np.int32)
    weights = random.normal(0, 1, (2, 6, at.width)).astype(np.float32)

    def out_of(parameters: np.ndarray) -> np.ndarray:
        numbers = parameters[:, :tables].reshape(2, 2, NUMBER_PARAMETERS)
        frequencies, phases = numbers[..., :16], numbers[..., 16:32]
        cosines = np.cos(2 * np.pi * frequencies[:, None] * x[:, :2, None] + phases[:, None])
        turned = np.einsum("knjf,kjof->knjo", cosines, numbers[..., 32:80].reshape(2, 2, 3, 16))
        turned += numbers[:, None, :, 80:]
        own = np.broadcast_to(x[None, :, :2, None], (2, 6, 2, 1))
        embedded = np.concatenate([turned, own], axis=-1).reshape(2, 6, 8)
        rows = parameters[:, tables:scale].reshape(2, 5, 8)[:, codes].reshape(2, 6, 16)
        rest = np.broadcast_to(x[None, :, 2:], (2, 6, 1))
        return np.concatenate([embedded, rest, rows], axis=-1) * parameters[:, None, scale:]

    out, gradients = np.empty((2, 6, at.width), np.float32), np.zeros_like(flat)
    embed(HOST, at, x, codes, flat, out)
    exact = flat.astype(np.float64)
    np.testing.assert_allclose(out, out_of(exact), atol=5e-6)
    embed_back(HOST, at, x, codes, flat, out, weights, gradients)
    expected = finite_differences(lambda moved: float((out_of(moved) * weights).sum()), exact)
    np.testing.assert_allclose(gradients, expected, atol=1e-4)


def test_gather_takes_the_rows_of_its_batch() -> None:
    order, out = np.array([4, 0, 2, 1, 3, 2], np.int32), np.empty((2, 3), np.float32)
    source = normal(5, 3)
    gather(HOST, source, order, np.array([1]), out)
    np.testing.assert_array_equal(out, source[[2, 1]])
    labels = np.empty(3, np.int64)
    gather(HOST, np.arange(5) << 40, order, np.array([1]), labels)
    assert (labels >> 40).tolist() == [1, 3, 2]


@pytest.mark.parametrize("values", [np.linspace(-86, 87, 4001), np.linspace(-1, 1, 4001)])
def test_shared_functions_are_exact_to_rounding(values: np.ndarray) -> None:
    single = values.astype(np.float32)
    exact = single.astype(np.float64)
    found = [exponential(value) for value in single], [sine(value) for value in single]
    np.testing.assert_allclose(found[0], np.exp(exact), rtol=3e-7)
    np.testing.assert_allclose(found[1], np.sin(2 * np.pi * exact), atol=2e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("classes", [2, 7, 40])
def test_cross_entropy_and_its_gradient(classes: int, smoothing: float) -> None:
    logits, labels = 3 * normal(2, 4, classes), np.array([1, 0, classes - 1, 1])
    weights = np.array([0.1, 0.5, 0.2, 1.7], np.float32)

    target = (1 - smoothing) * np.eye(classes)[labels] + smoothing / classes

    def losses_of(z: np.ndarray) -> np.ndarray:
        return -weights * (target * log_softmax(z, axis=-1)).sum(axis=-1)

    gradient, losses = logits.copy(), np.empty((2, 4), np.float32)
    cross_entropy(HOST, gradient, labels, weights, losses, smoothing)
    exact = logits.astype(np.float64)
    np.testing.assert_allclose(losses, losses_of(exact), rtol=2e-5, atol=1e-6)
    expected = finite_differences(lambda z: float(losses_of(z).sum()), exact)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


def test_cross_entropy_of_extreme_logits_stays_finite() -> None:
    logits, losses = np.array([[[1e4, -1e4, 3e4]]], np.float32), np.empty((1, 1), np.float32)
    cross_entropy(HOST, logits, np.array([1]), np.ones(1, np.float32), losses)
    assert losses[0, 0] == pytest.approx(4e4)
    np.testing.assert_allclose(logits[0, 0], [0, -1, 1], atol=1e-6)


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


def philox(counter: list[int], seed: int) -> list[int]:
    """Philox4x32-10 as its paper writes it, in Python integers."""
    mask, key = 2**32 - 1, [seed & (2**32 - 1), seed >> 32]
    for _ in range(10):
        first, second = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [
            (second >> 32) ^ counter[1] ^ key[0],
            second & mask,
            (first >> 32) ^ counter[3] ^ key[1],
            first & mask,
        ]
        key = [(key[0] + 0x9E3779B9) & mask, (key[1] + 0xBB67AE85) & mask]
    return counter


def drawn(seeds: list[int], step: int, layer: int, units: int = 48) -> np.ndarray:
    mask = np.zeros((len(seeds), units), np.uint8)
    draw(HOST, mask, np.array(seeds, np.uint64), np.array([step]), layer)
    return mask


def test_dropout_draws_the_stream_that_it_documents() -> None:
    # The last of the known answers that come with the reference implementation of Philox.
    assert philox([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], 0x299F31D0_A4093822)[0] == 0xD16CFE09
    seeds, step, layer = [2**63 + 11, 5], 2**33 + 70_001, 3
    for mask, seed in zip(drawn(seeds, step, layer), seeds, strict=True):
        blocks = (philox([block, layer, step & (2**32 - 1), step >> 32], seed) for block in range(3))
        expected = b"".join(word.to_bytes(4, "little") for words in blocks for word in words)
        assert mask.tobytes() == expected


def test_dropout_differs_from_step_to_step_layer_to_layer_and_network_to_network() -> None:
    masks = [drawn([9, 10], step, layer) for step, layer in [(0, 0), (1, 0), (0, 1)]]
    assert len({row.tobytes() for mask in masks for row in mask}) == 6


@given(st.floats(0, 0.95))
def test_the_cut_drops_about_the_rate(rate: float) -> None:
    mask = drawn([3], 0, 0, 65_536)
    assert (mask < cut_of(rate)).mean() == pytest.approx(rate, abs=0.01)


def numbers(pace: Pace, groups: tuple[Group, ...], count: int) -> np.ndarray:
    return pace.numbers(groups, first=0, count=count, steps=count)


def moved(parameters: np.ndarray, pace: Pace, groups: tuple[Group, ...], gradients: list[np.ndarray]) -> None:
    """Steps of AdamW, in place."""
    bounds = np.cumsum([0, *(group.size for group in groups)])
    first, second = np.zeros_like(parameters), np.zeros_like(parameters)
    table = numbers(pace, groups, len(gradients))
    for at, gradient in enumerate(gradients):
        adamw(HOST, parameters, gradient, first, second, bounds, table, np.array([at]), pace.betas)


def test_adamw_without_decay_is_adam() -> None:
    parameters = normal(2, 4003)
    reference = [parameters.astype(np.float64)]
    oracle = AdamOptimizer(reference, learning_rate_init=0.03)
    pace = Pace(np.full(2, 0.03), np.zeros(2), constant, constant, (0.9, 0.999))
    # Not near 0: there, the oracle's other place for epsilon shows.
    gradients = [normal(*parameters.shape) for _ in range(7)]
    for gradient in gradients:
        np.add(gradient, np.copysign(np.float32(0.5), gradient), out=gradient)
        oracle.update_params(reference, [gradient.astype(np.float64)])
    moved(parameters, pace, (Group("all", 4003),), gradients)
    np.testing.assert_allclose(parameters, reference[0], rtol=2e-5, atol=2e-6)


def test_networks_and_groups_learn_at_paces_of_their_own() -> None:
    parameters = np.ones((2, 5), np.float32)
    groups = (Group("weights", 3, rate=0.5), Group("biases", 2, decays=False))
    pace = Pace(np.array([0.1, 0.2]), np.array([0.5, 0.25]), constant, constant, (0.9, 0.999))
    moved(parameters, pace, groups, [np.zeros_like(parameters)])
    np.testing.assert_allclose(parameters, [[0.975, 0.975, 0.975, 1, 1]] * 2, rtol=1e-6)
    parameters = np.zeros((2, 5), np.float32)
    moved(parameters, pace, groups, [np.full_like(parameters, 1e3)])
    np.testing.assert_allclose(parameters, [[-0.05] * 3 + [-0.1] * 2, [-0.1] * 3 + [-0.2] * 2], rtol=1e-4)


def test_moments_of_a_dead_unit_stay_normal_numbers() -> None:
    parameters, first, second = (np.full((1, 3), 1e-3, np.float32) for _ in range(3))
    table = np.array([1e-3, 1, 1e-8], np.float32).reshape(1, 1, 1, 3)
    for _ in range(1200):
        gradient = np.zeros_like(parameters)
        adamw(
            HOST,
            parameters,
            gradient,
            first,
            second,
            np.array([0, 3]),
            table,
            np.zeros(1, np.int64),
            (0.9, 0.999),
        )
    assert first.min() > np.finfo(np.float32).tiny
