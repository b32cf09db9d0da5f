from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.cluster import KMeans as Oracle
from sklearn.cluster import kmeans_plusplus
from sklearn.datasets import make_blobs
from sklearn.metrics import silhouette_score

from services.training.compute.backend import open_backend
from services.training.compute.cluster_metrics import ClusterScore, silhouette
from services.training.compute.errors import ComputeError
from services.training.compute.estimators import kmeans
from services.training.compute.estimators.base import Samples
from services.training.compute.estimators.kmeans import KMeansEstimator
from services.training.compute.kernels import kmeans as kernel
from services.training.compute.kernels.kmeans import Centres, Tally, assign, labels_of
from services.training.compute.kernels.launch import Kernels
from services.training.compute.loop import NullLoop
from services.training.compute.seeding import seed_centres
from services.training.domain.hyperparameters import KMeans
from tests.unit.compute.tables import Recorder

NUMPY = open_backend("numpy")
HOST = Kernels(np)


def blobs(rows: int = 1003, width: int = 5, centres: int = 7, spread: float = 1.5) -> np.ndarray:
    """Clusters of unequal sizes, which overlap."""
    shares = np.arange(1, centres + 1) * rows // (centres * (centres + 1) // 2)
    shares[-1] += rows - shares.sum()
    found, _ = make_blobs(shares.tolist(), width, cluster_std=spread, random_state=3)
    return found.astype(np.float32)


def samples(features: np.ndarray) -> Samples:
    return Samples(features, np.empty((len(features), 0), np.float32), classes=0)


def centres_of(params: KMeans, features: np.ndarray, seed: int = 0, **how: np.ndarray) -> np.ndarray:
    start = {"centres": how["start"]} if how else None
    outcome = KMeansEstimator(params, 0).fit(samples(features), None, seed, NullLoop(), NUMPY, start=start)
    return np.asarray(outcome.arrays["centres"])


def inertia(features: np.ndarray, centres: np.ndarray) -> float:
    return float(((features[:, None] - centres) ** 2).sum(axis=2).min(axis=1).sum())


@pytest.mark.parametrize("clusters", [1, 2, 7, 70])
def test_a_pass_finds_what_all_distances_give(clusters: int) -> None:
    features = blobs()
    table = features[np.random.default_rng(1).permutation(len(features))[:clusters]].astype(np.float64)
    gaps = ((features[:, None].astype(np.float64) - table) ** 2).sum(axis=2)
    nearest = gaps.argmin(axis=1)
    tally = Tally.empty(clusters, 5)
    for rows in np.array_split(features, 3):
        assign(HOST, rows, Centres(HOST, table), tally)
    np.testing.assert_array_equal(labels_of(features, table), nearest)
    np.testing.assert_array_equal(tally.counts, np.bincount(nearest, minlength=clusters))
    np.testing.assert_allclose(tally.sums, (nearest == np.arange(clusters)[:, None]) @ features, rtol=1e-5)
    assert tally.inertia == pytest.approx(gaps.min(axis=1).sum(), rel=1e-5)
    farthest = max(tally.far, key=lambda one: one.distance)
    np.testing.assert_array_equal(farthest.row, features[gaps.min(axis=1).argmax()])


def test_of_two_centres_as_near_the_first_is_taken() -> None:
    assert labels_of(np.zeros((3, 2), np.float32), np.array([[2.0, 0], [1, 0], [0, 1]])).tolist() == [1, 1, 1]


def test_lloyd_goes_where_scikit_learn_goes() -> None:
    features = blobs()
    start = features[::150].astype(np.float64)
    params = KMeans(clusters=len(start), max_iterations=300, tolerance=0)
    oracle = Oracle(len(start), init=start, n_init=1, tol=0).fit(features.astype(np.float64))
    np.testing.assert_allclose(centres_of(params, features, start=start), oracle.cluster_centers_, atol=1e-4)


def test_it_ends_as_well_as_scikit_learn_does() -> None:
    features = blobs(4000, spread=1.0)
    found = [inertia(features, centres_of(KMeans(clusters=7), features, seed)) for seed in range(10)]
    oracle = [Oracle(7, n_init=1, random_state=seed).fit(features).inertia_ for seed in range(10)]
    assert np.median(found) <= 1.02 * np.median(oracle)
    best = inertia(features, centres_of(KMeans(clusters=7, restarts=4), features))
    assert best == pytest.approx(min(oracle), rel=1e-3)


def test_mini_batches_come_near_the_whole() -> None:
    features = blobs(4000, spread=1.0)
    whole = inertia(features, centres_of(KMeans(clusters=7, restarts=4), features))
    batched = centres_of(KMeans(clusters=7, restarts=4, batch_size=256, max_iterations=20), features)
    assert inertia(features, batched) <= 1.05 * whole


def test_first_centres_are_spread_as_those_of_scikit_learn() -> None:
    features = blobs(spread=0.3)
    found, oracle = [], []
    for seed in range(20):
        found.append(inertia(features, seed_centres(np, features, 7, np.random.default_rng(seed))))
        oracle.append(inertia(features, kmeans_plusplus(features, 7, random_state=seed)[0]))
    assert np.median(found) == pytest.approx(np.median(oracle), rel=0.1)
    assert np.median(found) < 0.2 * inertia(features, features[:7])


def test_centres_without_rows_go_to_the_farthest_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_FEWEST_HOST_ROWS", 2)
    monkeypatch.setattr(kernel, "_HOST_SCORES", 1)
    features = np.array([[0, 0], [1, 0], [0, 1], [9, 9], [20, 0], [21, 0]], np.float32)
    start = np.array([[0.3, 0.3], [100, 100], [-100, 100]])
    found = centres_of(KMeans(clusters=3, max_iterations=1), features, start=start)
    # Rows come in blocks of two, of which each offers its farthest: the last row, and the fourth.
    np.testing.assert_allclose(found, [[5.25, 0.25], [21, 0], [9, 9]])
    whole = centres_of(KMeans(clusters=3), features, start=start)
    assert sorted(whole.tolist()) == [[1 / 3, 1 / 3], [9, 9], [20.5, 0]]


def test_fewer_different_rows_than_clusters() -> None:
    features = np.repeat(np.array([[1, 2], [3, 4]], np.float32), 10, axis=0)
    for batch_size in (0, 4):
        found = centres_of(KMeans(clusters=5, batch_size=batch_size), features)
        assert np.isfinite(found).all()
        assert inertia(features, found) == pytest.approx(0, abs=1e-9)


def test_fewer_rows_than_clusters_is_refused() -> None:
    with pytest.raises(ComputeError, match="4 clusters need as many rows, got 3") as caught:
        centres_of(KMeans(clusters=4), blobs()[:3])
    assert caught.value.field == "clusters"


@pytest.mark.parametrize("batch_size", [0, 100])
def test_the_seed_decides(batch_size: int) -> None:
    features, params = blobs(), KMeans(clusters=9, batch_size=batch_size)
    first, again, other = (centres_of(params, features, seed).tobytes() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_goes_on_from_the_centres_of_an_earlier_fit() -> None:
    features, params = blobs(), KMeans(clusters=7, tolerance=0)
    start = centres_of(params, features)
    loop = Recorder()
    algorithm = KMeansEstimator(replace(params, tolerance=1e-4), 0)
    outcome = algorithm.fit(samples(features), None, 5, loop, NUMPY, start={"centres": start})
    assert outcome.steps == 1
    np.testing.assert_allclose(outcome.arrays["centres"], start, atol=1e-5)


def test_stops_between_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans, "_BLOCK_ROWS", 100)
    outcome = KMeansEstimator(KMeans(), 0).fit(samples(blobs()), None, 0, Recorder(stop_after=3), NUMPY)
    assert outcome.stopped
    assert outcome.steps == 0


def test_silhouette_as_scikit_learn_has_it() -> None:
    features = blobs(300).astype(np.float64)
    clusters = np.random.default_rng(0).integers(0, 4, 300) + 3 * (features[:, 0] > 0)
    clusters[7] = 99  # alone
    expected = silhouette_score(features, clusters)
    assert silhouette(features, clusters) == pytest.approx(expected, abs=1e-9)
    assert silhouette(features, np.zeros(300, np.intp)) is None
    assert silhouette(features, np.arange(300)) is None


def test_metrics_of_blocks_are_those_of_the_whole() -> None:
    features, centres = blobs(5000), blobs(7).astype(np.float64)
    score = ClusterScore(len(features), centres)
    for rows in np.array_split(features, 7):
        score.add(rows, labels_of(rows, centres).astype(np.float64))
    metrics = score.metrics()
    assert metrics["inertia"] == pytest.approx(inertia(features, centres), rel=1e-6)
    whole = silhouette_score(features, labels_of(features, centres))
    assert metrics["silhouette"] == pytest.approx(whole, abs=0.03)
