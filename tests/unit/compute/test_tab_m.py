"""Members that share weights, beside networks that share none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.training.compute.backend import open_backend
from services.training.compute.errors import ComputeError
from services.training.compute.estimators import tab_m
from services.training.compute.estimators.base import Samples
from services.training.compute.estimators.initial import initialise
from services.training.compute.estimators.inputs import Inputs
from services.training.compute.estimators.layout import Layout
from services.training.compute.estimators.mlp import MlpEstimator
from services.training.compute.estimators.network import Network, Noise
from services.training.compute.estimators.shared_layout import SharedLayout
from services.training.compute.estimators.tab_m import TabM, TrainableTabM
from services.training.compute.kernels.dropout import cut_of
from services.training.compute.loop import NullLoop
from services.training.domain.hyperparameters import Mlp, asked
from tests.unit.compute.tables import Recorder

NUMPY = open_backend("numpy")
MEMBERS = 5
OWNERS = np.zeros(12, np.int32)
SMALL = Mlp(hidden_sizes=(8, 5), max_epochs=3, ensemble_size=MEMBERS, architecture="tab_m")


def layout_of(outputs: int = 4, tables: int = 1) -> SharedLayout:
    """Two numbers and a mark, and a category of 11 values in a table, or none."""
    return SharedLayout("tab_m", 2, 3, tables, 12 * tables, (6, 5), outputs, outputs > 1, MEMBERS)


def rows(count: int, tables: int = 1) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    x = random.normal(0.2, 1, (count, 3)).astype(np.float32)
    return x, random.integers(0, 12, (count, tables)).astype(np.int32)


def filled(layout: Layout, seed: int = 1) -> np.ndarray:
    flat = np.random.default_rng(seed).normal(0.1, 0.5, (1, layout.total)).astype(np.float32)
    layout.part(flat, "scales")[:] = 1
    return flat


def samples(count: int, seed: int = 0, classes: int = 2) -> Samples:
    """Classes, or values, made of a product of two of four features."""
    features = np.random.default_rng(seed).normal(0.2, 1, (count, 4)).astype(np.float32)
    score = features[:, 0] * features[:, 2]
    return Samples(features, (score > 0.1).astype(np.int64) if classes else score, classes)


def test_every_parameter_lies_in_one_place() -> None:
    layout = layout_of()
    flat = np.zeros((1, layout.total), np.float32)
    own = layout.own(flat)
    own[:, : layout.inputs] += 1
    for at, units in zip(layout.vectors, layout.hidden, strict=True):
        for place in (at.s, at.b, at.r):
            if place >= 0:
                own[:, place : place + units] += 1
    own[:, -layout.outputs :] += 1
    shared = [layout.heads(flat), layout.part(flat, "tables"), layout.part(flat, "scales")]
    for part in [*shared, *layout.weights(flat)]:
        np.add(part, 1, out=part)
    np.testing.assert_array_equal(flat, 1)


def test_members_are_plain_networks_of_folded_weights() -> None:
    """s ∘ (W (r ∘ x)) + b is a layer of weights diag(r) W diag(s)."""
    layout, (x, codes) = layout_of(tables=0), rows(9, tables=0)
    flat = filled(layout)
    own = layout.own(flat)
    plain = Layout("plain", 2, 3, 0, 0, layout.hidden, layout.outputs, classes=True)
    folded = np.zeros((MEMBERS, plain.total), np.float32)
    into, r = plain.weights(folded), own[:, : layout.inputs]
    for index, (shared, at) in enumerate(zip(layout.weights(flat), layout.vectors, strict=True)):
        units = shared.shape[2]
        into[index][:] = r[:, :, None] * shared * own[:, None, at.s : at.s + units]
        bias = plain.layers[index].bias
        folded[:, bias : bias + units] = own[:, at.b : at.b + units]
        r = own[:, at.r : at.r + units]
    into[-1][:] = layout.heads(flat).swapaxes(1, 2)
    folded[:, plain.layers[-1].bias :][:, : layout.outputs] = own[:, -layout.outputs :]
    expected = Network(plain, folded, NUMPY, 9).forward(x, codes)
    assert expected.std(axis=0).min() > 0.1
    np.testing.assert_allclose(TabM(layout, flat, NUMPY, 9).forward(x, codes), expected, atol=2e-6)


@pytest.mark.parametrize("at_once", [1, 2, MEMBERS])
@pytest.mark.parametrize("tables", [0, 1])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_backward_is_the_derivative_of_forward(
    at_once: int, tables: int, dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, (x, codes) = layout_of(tables=tables), rows(7, tables)
    monkeypatch.setattr(tab_m, "_AT_ONCE", at_once * 7 * max(layout.sizes[:-1]))
    flat, push = filled(layout), np.random.default_rng(3).normal(0, 1, (MEMBERS, 7, 4)).astype(np.float32)
    network = TrainableTabM(layout, flat, NUMPY, 7, OWNERS[: 12 * tables])
    seeds, cuts = np.arange(MEMBERS).astype(np.uint64), np.full((1, MEMBERS), cut_of(dropout))
    noise = Noise(seeds, np.array([3]), cuts, np.zeros(1, np.int64)) if dropout else None

    def value() -> float:
        return float((network.forward(x, codes, noise).astype(np.float64) * push).sum())

    value()
    network.backward(x, codes, push.copy(), noise)
    gradients, expected = network.gradients.copy(), np.zeros_like(flat)
    for column in range(layout.total):
        kept = flat[0, column]
        flat[0, column] = kept + 2e-3
        above = value()
        flat[0, column] = kept - 2e-3
        expected[0, column] = (above - value()) / 4e-3
        flat[0, column] = kept
    # Scales are never learned. A difference across a kink of ReLU is off: hence the median beside the bound.
    learned = slice(0, layout.start("scales") if tables else layout.total)
    error = (np.abs(gradients - expected) / (1 + np.abs(expected)))[:, learned]
    assert np.median(error) < 1e-3
    assert np.quantile(error, 0.97) < 3e-2


def test_new_members_differ_by_signs_and_heads_alone() -> None:
    columns, zeros = np.full(3, -1), np.zeros(3, np.float32)
    layout = layout_of(tables=0)
    x, codes = rows(0, tables=0)
    flat = initialise(layout, np.random.default_rng(1), x, Inputs(columns, zeros, zeros), codes)
    own = layout.own(flat)
    signs, rest = own[:, : layout.inputs], own[:, layout.inputs : -layout.outputs]
    assert set(np.unique(signs)) == {-1, 1}
    assert len(np.unique(signs, axis=0)) > 1
    np.testing.assert_array_equal(rest, np.broadcast_to(rest[0], rest.shape))
    assert np.ptp(layout.heads(flat), axis=0).min() > 0


def test_fewer_rows_than_room_give_the_same_outputs() -> None:
    layout, (x, codes) = layout_of(), rows(50)
    network = TabM(layout, filled(layout), NUMPY, 50, OWNERS)
    whole = network.forward(x, codes).copy()
    np.testing.assert_allclose(network.forward(x[:13], codes[:13]), whole[:, :13], atol=1e-5)


@pytest.mark.parametrize("classes", [0, 2])
def test_learns_what_no_linear_model_can(classes: int) -> None:
    params = replace(SMALL, hidden_sizes=(32, 32), max_epochs=60, learning_rate=0.01, batch_size=64)
    algorithm, unseen = MlpEstimator(params, classes), samples(400, 2, classes)
    outcome = algorithm.fit(samples(600, 0, classes), samples(200, 1, classes), 0, NullLoop(), NUMPY)
    predicted = algorithm.predict(outcome.arrays, unseen.features)
    if classes:
        assert (predicted.argmax(axis=1) == unseen.targets).mean() > 0.93
        np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-6)
    else:
        assert np.mean((predicted - unseen.targets) ** 2) < 0.1 * np.var(unseen.targets)


def test_the_best_epoch_is_that_of_the_mean() -> None:
    """And the run ends when the mean no longer improves, whatever its members do."""
    random = np.random.default_rng(5)
    train, judged = samples(100), samples(60, 1)
    train, judged = (replace(one, targets=random.integers(0, 2, len(one))) for one in (train, judged))
    params = replace(SMALL, learning_rate=0.05, max_epochs=300, early_stopping_patience=4)
    algorithm, loop = MlpEstimator(params, 2), Recorder()
    learned = algorithm.fit(train, judged, 0, loop, NUMPY).arrays
    said = algorithm.predict(learned, judged.features)
    loss = -np.log(said[np.arange(60), judged.targets]).mean()
    losses = [metrics["validation_loss"] for _, _, metrics in loop.reports]
    assert loss == pytest.approx(min(losses), rel=1e-5)
    assert len(losses) == 1 + 4 + int(np.argmin(losses)) < 300


def test_the_seed_decides_every_bit() -> None:
    def bits(seed: int) -> bytes:
        outcome = MlpEstimator(SMALL, 2).fit(samples(100), samples(40, 1), seed, NullLoop(), NUMPY)
        return outcome.arrays["parameters"].tobytes()

    assert bits(0) == bits(0) != bits(1)


def test_candidates_are_refused() -> None:
    both = (SMALL, replace(SMALL, learning_rate=0.01))
    with pytest.raises(ComputeError, match="candidates") as caught:
        MlpEstimator(SMALL, 2).fit_each(both, samples(50), None, 0, NullLoop(), NUMPY)
    assert caught.value.field == "architecture"


def test_what_is_not_given_is_tab_ms_own() -> None:
    chosen = asked(Mlp, {"architecture": "tab_m", "dropout": 0.3})
    assert (chosen.ensemble_size, chosen.weight_decay, chosen.dropout) == (32, 0.0, 0.3)
    settled = chosen.settled("regression", 100)
    assert (settled.learning_rate, settled.max_epochs) == (2e-3, 1000)
    assert chosen.settled("regression", 50_000).max_epochs == Mlp().settled("regression", 50_000).max_epochs
    assert asked(Mlp, {"architecture": "plain"}) == Mlp(architecture="plain")


@pytest.mark.parametrize(
    ("change", "field"),
    [({"hidden_sizes": ()}, "hidden_sizes"), ({"batch_size": 1 << 20, "ensemble_size": 256}, "batch_size")],
)
def test_what_does_not_fit_memory_or_has_no_layer_is_refused(change: dict[str, object], field: str) -> None:
    assert set(replace(SMALL, **change).problems()) == {field}
    assert not replace(SMALL, **change, architecture="plain").problems()
