from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.training.compute.backend import open_backend
from services.training.compute.errors import ComputeError
from services.training.compute.estimators.base import Arrays, Samples
from services.training.compute.estimators.initial import initialise
from services.training.compute.estimators.inputs import Inputs
from services.training.compute.estimators.layout import Architecture, Layout
from services.training.compute.estimators.mlp import MlpEstimator
from services.training.compute.estimators.network import Network, Noise, TrainableNetwork
from services.training.compute.kernels.dropout import cut_of
from services.training.compute.loop import NullLoop
from services.training.domain.hyperparameters import Mlp
from tests.unit.compute.tables import Recorder

NUMPY = open_backend("numpy")
SMALL = Mlp(hidden_sizes=(8, 5), max_epochs=3, ensemble_size=2)


def samples(rows: int, seed: int = 0) -> Samples:
    """Two classes, told apart by a product of two of four features."""
    features = np.random.default_rng(seed).normal(0.2, 1, (rows, 4)).astype(np.float32)
    return Samples(features, (features[:, 0] * features[:, 2] > 0.1).astype(np.int64), classes=2)


def noise(rows: int, seed: int = 0) -> Samples:
    """Nothing to learn: the classes are drawn apart from the features."""
    data = samples(rows, seed)
    return replace(data, targets=np.random.default_rng(seed + 9).integers(0, 2, rows))


def parameters(params: Mlp, *, seed: int = 0) -> np.ndarray:
    outcome = MlpEstimator(params, 2).fit(samples(100), samples(40, 1), seed, NullLoop(), NUMPY)
    return np.asarray(outcome.arrays["parameters"])


def layout_of(architecture: Architecture, outputs: int = 4) -> Layout:
    """Two numbers and a mark, and a category of 11 values in a table."""
    return Layout(architecture, 2, 3, 1, 12, (6, 5), outputs, classes=outputs > 1)


def rows(count: int, seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(0, 1, (count, 3)).astype(np.float32)
    return x, random.integers(0, 12, (count, 1)).astype(np.int32)


OWNERS = np.zeros(12, np.int32)


@pytest.mark.parametrize("architecture", ["real_mlp", "plain"])
def test_every_parameter_lies_in_one_place(architecture: Architecture) -> None:
    layout = layout_of(architecture)
    flat = np.zeros((3, layout.total), np.float32)
    for weights in layout.weights(flat):
        np.add(weights, 1, out=weights)
    for group in layout.groups[1:]:
        layout.part(flat, group.name)[:] += 1
    np.testing.assert_array_equal(flat, 1)
    ends = [layer.bias + size for layer, size in zip(layout.layers, layout.sizes[1:], strict=True)]
    assert [layer.bias for layer in layout.layers] == [layout.start("biases"), *ends[:-1]]


@pytest.mark.parametrize("architecture", ["real_mlp", "plain"])
@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_backward_is_the_derivative_of_forward(
    architecture: Architecture, outputs: int, dropout: float
) -> None:
    layout, (x, codes) = layout_of(architecture, outputs), rows(7)
    random = np.random.default_rng(2)
    flat = random.normal(0, 0.5, (2, layout.total)).astype(np.float32)
    push = random.normal(0, 1, (2, 7, outputs)).astype(np.float32)
    network = TrainableNetwork(layout, flat, NUMPY, 7, OWNERS)
    cuts, at = np.full((1, 2), cut_of(dropout)), np.zeros(1, np.int64)
    noise = Noise(np.array([4, 5], np.uint64), np.array([3]), cuts, at) if dropout else None

    def value() -> np.ndarray:
        return (network.forward(x, codes, noise).astype(np.float64) * push).sum(axis=(1, 2))

    network.forward(x, codes, noise)
    network.backward(x, codes, push.copy(), noise)
    gradients, expected = network.gradients.copy(), np.zeros_like(flat)
    for column in range(layout.total):
        kept = flat[:, column].copy()
        flat[:, column] = kept + 1e-2
        above = value()
        flat[:, column] = kept - 1e-2
        expected[:, column] = (above - value()) / 2e-2
        flat[:, column] = kept
    # Scales of a plain network are never learned.
    learned = slice(0, layout.start("scales")) if architecture == "plain" else slice(None)
    # Float32 differences are coarse, and one across a kink of ReLU is off: hence the median beside the bound.
    error = np.abs(gradients - expected)[:, learned] / (1 + np.abs(expected)[:, learned])
    assert np.median(error) < 1e-3
    assert np.quantile(error, 0.98) < 3e-2


def test_plain_weights_begin_with_he_variance() -> None:
    layout = Layout("plain", 200, 200, 0, 0, (100,), 3, classes=True)
    flat = initialise(layout, np.random.default_rng(1), *no_rows(200))
    hidden = layout.weights(flat)[0]
    assert hidden.std() == pytest.approx(np.sqrt(2 / 200), rel=0.02)
    assert not layout.part(flat, "biases").any()


def no_rows(features: int) -> tuple[np.ndarray, Inputs, np.ndarray]:
    columns = np.full(features, -1)
    zeros = np.zeros(features, np.float32)
    return np.zeros((0, features), np.float32), Inputs(columns, zeros, zeros), np.zeros((0, 0), np.int32)


def test_units_of_a_new_network_vary_by_one_over_the_rows() -> None:
    data = samples(500)
    inputs = Inputs.fit(data)
    x, codes = inputs(np.asarray(data.features))
    layout = Layout("real_mlp", 4, 4, 0, 0, (8, 5), 2, classes=True)
    flat = initialise(layout, np.random.default_rng(1), x, inputs, codes)
    layout.part(flat, "biases")[:] = 0
    below = Network(layout, flat, NUMPY, 500).embedded(x, codes)[0]
    np.testing.assert_allclose((below @ layout.weights(flat)[0][0]).std(axis=0) / 4, 1, rtol=1e-3)


def test_fewer_rows_than_room_give_the_same_outputs() -> None:
    layout, (x, codes) = layout_of("real_mlp"), rows(50)
    flat = np.random.default_rng(1).normal(0, 1, (3, layout.total)).astype(np.float32)
    network = Network(layout, flat, NUMPY, 50, OWNERS)
    whole = network.forward(x, codes).copy()
    np.testing.assert_allclose(network.forward(x[:13], codes[:13]), whole[:, :13], atol=1e-5)
    assert network.forward(x[:13], codes[:13]).flags.c_contiguous


def test_learns_what_no_linear_model_can() -> None:
    algorithm = MlpEstimator(Mlp(hidden_sizes=(32,), max_epochs=60, ensemble_size=2), 2)
    outcome = algorithm.fit(samples(600), samples(200, 1), 0, NullLoop(), NUMPY)
    unseen = samples(400, 2)
    predicted = algorithm.predict(outcome.arrays, unseen.features)
    assert (predicted.argmax(axis=1) == unseen.targets).mean() > 0.93
    np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-6)


def test_the_seed_decides_every_bit() -> None:
    assert parameters(SMALL).tobytes() == parameters(SMALL).tobytes()
    assert parameters(SMALL).tobytes() != parameters(SMALL, seed=1).tobytes()


def test_each_network_keeps_its_best_weights() -> None:
    params = replace(SMALL, learning_rate=0.2, max_epochs=12, batch_size=50)
    loop, train, validation = Recorder(), noise(100), noise(40, 1)
    algorithm = MlpEstimator(params, 2)
    learned = algorithm.fit(train, validation, 0, loop, NUMPY).arrays
    epochs = [state["parameters"] for state in loop.states if state["batch"] == 2]
    wrong = [errors({**learned, "parameters": flat}, algorithm, validation) for flat in epochs]
    assert len(wrong) == 12
    np.testing.assert_array_equal(errors(learned, algorithm, validation), np.min(wrong, axis=0))
    assert not np.array_equal(epochs[-1], learned["parameters"])


def errors(arrays: Arrays, algorithm: MlpEstimator, data: Samples) -> np.ndarray:
    """How often each network is wrong."""
    guesses = algorithm.predict_each(arrays, np.asarray(data.features)).argmax(axis=2)
    return np.asarray((guesses != data.targets).sum(axis=1))


def test_ends_early_when_validation_no_longer_improves() -> None:
    params = Mlp(hidden_sizes=(64,), learning_rate=0.05, max_epochs=400, early_stopping_patience=3, dropout=0)
    outcome = MlpEstimator(params, 2).fit(noise(60), noise(60, 1), 0, NullLoop(), NUMPY)
    assert outcome.samples < 100 * 60


def test_runs_to_the_end_without_validation() -> None:
    outcome = MlpEstimator(SMALL, 2).fit(samples(100), None, 0, NullLoop(), NUMPY)
    assert outcome.samples == 3 * 100
    assert outcome.steps == 3


def test_stops_at_the_next_step() -> None:
    loop = Recorder(stop_after=5)
    outcome = MlpEstimator(replace(SMALL, batch_size=10), 2).fit(samples(100), None, 0, loop, NUMPY)
    assert outcome.stopped
    assert (outcome.steps, outcome.samples) == (6, 60)
    assert loop.steps == [1, 2, 3, 4, 5, 6]
    assert not loop.reports


def test_a_wild_learning_rate_is_named() -> None:
    data = replace(samples(100), targets=np.full(100, 1e30, np.float32), classes=0)
    params = replace(SMALL, learning_rate=10.0)
    with pytest.raises(ComputeError, match="diverged") as caught:
        MlpEstimator(params, 0).fit(data, data, 0, NullLoop(), NUMPY)
    assert caught.value.field == "learning_rate"
