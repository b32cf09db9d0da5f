from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.training.compute.backend import open_backend
from services.training.compute.errors import ComputeError
from services.training.compute.estimators.base import Samples
from services.training.compute.estimators.mlp import MlpEstimator
from services.training.compute.estimators.network import (
    Dropout,
    Layout,
    Network,
    TrainableNetwork,
    initialise,
)
from services.training.compute.kernels.cross_entropy import cross_entropy
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


def test_layers_are_views_of_one_buffer() -> None:
    layout = Layout((4, 8, 2))
    flat = np.zeros((3, layout.total), np.float32)
    for number, (weights, biases) in enumerate(layout.views(flat)):
        weights[:] = 2 * number + 1
        biases[:] = 2 * number + 2
    assert layout.total == 4 * 8 + 8 * 2 + 8 + 2
    assert flat[2].tolist() == [1] * 32 + [3] * 16 + [2] * 8 + [4] * 2
    assert flat[:, layout.weights :].min() == 2


def test_initial_weights_have_he_variance_and_differ_between_networks() -> None:
    layout = Layout((200, 100, 3))
    flat = initialise(layout, 2, np.random.default_rng(1))
    hidden, biases = layout.views(flat)[0]
    assert hidden.std() == pytest.approx(np.sqrt(2 / 200), rel=0.02)
    assert not biases.any()
    assert not np.array_equal(flat[0], flat[1])


@pytest.mark.parametrize("drops", [None, Dropout(0.3, seed=4)])
def test_backward_is_the_derivative_of_forward(drops: Dropout | None) -> None:
    layout = Layout((3, 6, 5, 4))
    random = np.random.default_rng(2)
    flat = initialise(layout, 2, random) + random.normal(0, 0.3, (2, layout.total)).astype(np.float32)
    x, labels = random.normal(0, 1, (7, 3)).astype(np.float32), np.arange(7) % 4
    weights, losses = np.full(7, 1 / 7, np.float32), np.empty((2, 7), np.float32)
    network = TrainableNetwork(layout, flat, NUMPY, 7)

    def loss() -> np.ndarray:
        cross_entropy(NUMPY.kernels, network.forward(x, drops, step=3), labels, weights, losses)
        return losses.sum(axis=1, dtype=np.float64)

    outputs = network.forward(x, drops, step=3)
    cross_entropy(NUMPY.kernels, outputs, labels, weights, losses)
    network.backward(x, outputs, drops.rate if drops else 0.0)
    gradients, expected = network.gradients.copy(), np.zeros_like(flat)
    for column in range(layout.total):
        kept = flat[:, column].copy()
        flat[:, column] = kept + 1e-2
        above = loss()
        flat[:, column] = kept - 1e-2
        expected[:, column] = (above - loss()) / 2e-2
        flat[:, column] = kept
    # Float32 differences are coarse, and one across a kink of ReLU is off: hence the median beside the bound.
    assert np.median(np.abs(gradients - expected)) < 2e-5
    np.testing.assert_allclose(gradients, expected, atol=5e-3)


def test_fewer_rows_than_room_give_the_same_outputs() -> None:
    layout = Layout((4, 8, 2))
    flat = initialise(layout, 3, np.random.default_rng(1))
    network, x = Network(layout, flat, NUMPY, rows=50), samples(50).features
    whole = network.forward(x).copy()
    np.testing.assert_allclose(network.forward(x[:13]), whole[:, :13], atol=1e-6)
    assert network.forward(x[:13]).flags.c_contiguous


def test_learns_what_no_linear_model_can() -> None:
    algorithm = MlpEstimator(Mlp(hidden_sizes=(32,)), 2)
    outcome = algorithm.fit(samples(600), samples(200, 1), 0, NullLoop(), NUMPY)
    unseen = samples(400, 2)
    predicted = algorithm.predict(outcome.arrays, unseen.features)
    assert (predicted.argmax(axis=1) == unseen.targets).mean() > 0.93
    np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-6)


def test_the_seed_decides_every_bit() -> None:
    assert parameters(SMALL).tobytes() == parameters(SMALL).tobytes()
    assert parameters(SMALL).tobytes() != parameters(SMALL, seed=1).tobytes()


def test_each_network_keeps_its_best_weights() -> None:
    params = replace(SMALL, learning_rate=0.05, max_epochs=12, early_stopping_patience=12)
    loop, validation = Recorder(), noise(40, 1)
    learned = MlpEstimator(params, 2).fit(noise(100), validation, 0, loop, NUMPY).arrays["parameters"]
    layout = Layout((4, 8, 5, 2))
    epochs = [state["parameters"] for state in loop.states if state["batch"] == 2]
    losses = [mean_losses(layout, flat, validation) for flat in epochs]
    assert len(losses) == 12
    best = np.min(losses, axis=0)
    np.testing.assert_allclose(mean_losses(layout, np.asarray(learned), validation), best, atol=1e-6)
    assert not np.array_equal(epochs[-1], learned)


def mean_losses(layout: Layout, flat: np.ndarray, data: Samples) -> np.ndarray:
    """Each network's validation loss, from its weights alone."""
    clipped = data.features / np.sqrt(1 + (data.features / 3) ** 2)
    outputs = Network(layout, flat, NUMPY, len(data)).forward(clipped).copy()
    losses = np.empty(outputs.shape[:2], np.float32)
    weights = np.full(len(data), 1 / len(data), np.float32)
    cross_entropy(NUMPY.kernels, outputs, data.targets, weights, losses)
    return np.asarray(losses.sum(axis=1, dtype=np.float64))


def test_ends_early_when_validation_no_longer_improves() -> None:
    params = Mlp(hidden_sizes=(64,), learning_rate=0.05, max_epochs=400, early_stopping_patience=3, dropout=0)
    outcome = MlpEstimator(params, 2).fit(noise(60), noise(60, 1), 0, NullLoop(), NUMPY)
    assert outcome.samples < 100 * 60


def test_runs_to_the_end_without_validation() -> None:
    outcome = MlpEstimator(SMALL, 2).fit(samples(100), None, 0, NullLoop(), NUMPY)
    assert outcome.samples == 3 * 100
    assert outcome.steps == 3 * 2


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
