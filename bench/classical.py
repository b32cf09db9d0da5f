"""Classical algorithms beside scikit-learn's, on one thread: `logistic`, `kmeans`, `linear`.

python -m bench.classical [REPETITIONS]

Both get the same float32 rows and are timed in turn, in one process; seconds are of processor time, so that
others on the machine matter less. What is compared is the time to a model that is as good: the mean loss, the
inertia, the squared error on the training rows stand beside the seconds.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402 (after the threads are set)
import sklearn  # noqa: E402
from scipy import sparse  # noqa: E402
from sklearn.cluster import KMeans as PeerKMeans  # noqa: E402
from sklearn.linear_model import LogisticRegression, Ridge  # noqa: E402

from services.training.compute.backend import open_backend  # noqa: E402
from services.training.compute.estimators.base import Arrays, Samples  # noqa: E402
from services.training.compute.estimators.registry import estimator  # noqa: E402
from services.training.compute.loop import NullLoop  # noqa: E402
from services.training.compute.preprocessing import Preprocessor  # noqa: E402
from services.training.compute.table import Categories, Column  # noqa: E402
from services.training.domain.hyperparameters import Hyperparameters, KMeans, Linear, Logistic  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "classical.json"
NUMPY = open_backend("numpy")


@dataclass(frozen=True)
class Contest:
    """ours, peer: fit, and answer what `cost` takes, of which less is better. share: of the peer's time."""

    name: str
    ours: Callable[[], Any]
    peer: Callable[[], Any]
    cost: Callable[[Any], float]
    share: float


def fit(params: Hyperparameters, samples: Samples, start: Arrays | None = None) -> Arrays:
    """What it learns."""
    kind = estimator(params, samples.classes)
    return kind.fit(samples, None, 0, NullLoop(), NUMPY, start=start).arrays


def logistic(rows: int, width: int, classes: int, noise: float) -> Contest:
    """Classes drawn from a softmax model; inputs standardised and correlated."""
    random = np.random.default_rng(7)
    mixed = random.normal(size=(rows, width)) @ (np.eye(width) + random.normal(0, 0.1, (width, width)))
    features = ((mixed - mixed.mean(axis=0)) / mixed.std(axis=0)).astype(np.float32)
    logits = features @ random.normal(0, noise, (width, classes)) + random.gumbel(size=(rows, classes))
    samples = Samples(features, logits.argmax(axis=1), classes)
    share = 0.5 if rows >= 100_000 else 1.0
    return _logistic(f"logistic {rows}x{width}x{classes}", features, samples, share)


def one_hot(rows: int, sizes: tuple[int, ...], classes: int) -> Contest:
    """Numbers, and categories of so many values; the peer gets them as a sparse matrix."""
    random = np.random.default_rng(11)
    numbers = random.normal(size=(rows, 10))
    table: dict[str, Column] = {f"x{i}": column for i, column in enumerate(numbers.T)}
    scores = 0.3 * numbers.sum(axis=1)
    for place, size in enumerate(sizes):
        odds = np.arange(1, size + 1) ** -0.8
        codes = random.choice(size, rows, p=odds / odds.sum())
        scores += random.normal(0, 0.7, size)[codes]
        table[f"c{place}"] = Categories(codes.astype(np.int32), tuple(map(str, range(size))))
    slopes = np.linspace(1, -1, classes)
    codes = (scores[:, None] * slopes + random.gumbel(size=(rows, classes))).argmax(axis=1)
    preprocessor = Preprocessor.fit([table], list(table))
    packed, expansion = preprocessor.pack(table), preprocessor.expansion
    assert expansion
    features = sparse.vstack(
        [sparse.csr_matrix(expansion(packed[start : start + 10_000])) for start in range(0, rows, 10_000)]
    ).tocsr()
    samples = Samples(packed, codes, classes, expansion=expansion)
    return _logistic(f"logistic {rows}x{expansion.width}x{classes}, sparse", features, samples)


def _logistic(name: str, features: Any, samples: Samples, share: float = 0.5) -> Contest:
    """features: as the peer gets them."""
    rows, codes = len(samples), samples.targets

    def peer() -> tuple[Any, Any]:
        found = LogisticRegression(C=1.0, solver="lbfgs", max_iter=1000).fit(features, codes)
        return found.coef_.T, found.intercept_

    def ours() -> tuple[Any, Any]:
        learned = fit(Logistic(), samples)
        return learned["weights"], learned["intercepts"]

    def cost(model: tuple[Any, Any]) -> float:
        weights, intercepts = model
        scores = features.astype(np.float64) @ weights + intercepts
        if samples.classes == 2:
            scores = np.column_stack([np.zeros(rows), scores])
        scores -= scores.max(axis=1, keepdims=True)
        losses = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(rows), codes]
        return float(losses.mean() + (weights**2).sum() / (2 * rows))

    return Contest(name, ours, peer, cost, share)


def kmeans(rows: int, width: int, clusters: int, iterations: int, begun: bool) -> Contest:
    """Overlapping clusters; begun: both go on from the same centres, else each finds its own."""
    random = np.random.default_rng(3)
    middles = random.normal(size=(clusters, width))
    features = (random.normal(size=(rows, width)) + middles[random.integers(0, clusters, rows)]).astype(
        np.float32
    )
    samples = Samples(features, np.empty((rows, 0), np.float32), 0)
    start = features[:clusters].astype(np.float64)
    params = KMeans(clusters, max_iterations=iterations, tolerance=0)

    def peer() -> Any:
        init = start.astype(np.float32) if begun else "k-means++"
        kind = PeerKMeans(clusters, init=init, n_init=1, max_iter=iterations, tol=0, random_state=0)
        return kind.fit(features).cluster_centers_

    def ours() -> Any:
        return fit(params, samples, {"centres": start} if begun else None)["centres"]

    def cost(centres: Any) -> float:
        blocks = np.array_split(features.astype(np.float64), 50)
        gaps = (
            ((block**2).sum(1)[:, None] - 2 * block @ centres.T + (centres**2).sum(1)) for block in blocks
        )
        return float(sum(gap.min(axis=1).sum() for gap in gaps))

    beginning = "given centres" if begun else "k-means++"
    return Contest(f"kmeans {rows}x{width}, k={clusters}, {beginning}", ours, peer, cost, share=1.0)


def ridge(rows: int, width: int) -> Contest:
    """A plane and noise. The peer adds up in float32, and `linear` in float64."""
    random = np.random.default_rng(5)
    features = random.normal(size=(rows, width)).astype(np.float32)
    values = (features @ random.normal(size=width) + random.normal(size=rows)).astype(np.float32)
    samples = Samples(features, values, 0)

    def peer() -> tuple[Any, Any]:
        found = Ridge(alpha=1.0).fit(features, values)
        return found.coef_, found.intercept_

    def ours() -> tuple[Any, Any]:
        learned = fit(Linear(), samples)
        return learned["weights"], learned["intercept"]

    def cost(model: tuple[Any, Any]) -> float:
        return float(np.square(features.astype(np.float64) @ model[0] + model[1] - values).mean())

    return Contest(f"ridge {rows}x{width}", ours, peer, cost, share=1.25)


def measured(contest: Contest, repetitions: int) -> dict[str, Any]:
    """Medians of both, each run after the other; the first of each, which warms up, is not counted."""
    kinds = {"ours": contest.ours, "scikit_learn": contest.peer}
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    costs: dict[str, float] = {}
    for repetition in range(repetitions + 1):
        for name, run in kinds.items():
            began = time.process_time()
            found = run()
            if repetition:
                seconds[name].append(time.process_time() - began)
            costs[name] = contest.cost(found)
    medians = {name: round(statistics.median(times), 4) for name, times in seconds.items()}
    ratio = statistics.median(a / b for a, b in zip(seconds["ours"], seconds["scikit_learn"], strict=True))
    return {"seconds": medians, "share": round(ratio, 3), "wanted": contest.share, "cost": costs}


def main(repetitions: int) -> int:
    """0 when every share is met at a cost that is not higher, but for rounding."""
    warnings.simplefilter("ignore")
    contests = [
        lambda: logistic(200_000, 50, 10, 0.35),
        lambda: logistic(20_000, 20, 2, 0.5),
        lambda: one_hot(100_000, (300, 300, 200, 50, 20, 400), 3),
        lambda: kmeans(200_000, 32, 64, 20, begun=True),
        lambda: kmeans(200_000, 32, 64, 20, begun=False),
        lambda: ridge(1_000_000, 50),
    ]
    versions = {"python": platform.python_version(), "numpy": np.__version__, "sklearn": sklearn.__version__}
    results: dict[str, Any] = {"cores": os.cpu_count(), "threads": 1, **versions, "runs": {}}
    print(
        "| what | ours, s | scikit-learn, s | share | ours, cost | scikit-learn, cost |\n" + "|---" * 6 + "|"
    )
    for made in contests:
        contest = made()
        found = results["runs"][contest.name] = measured(contest, repetitions)
        cells = (
            *found["seconds"].values(),
            found["share"],
            *(f"{one:.7g}" for one in found["cost"].values()),
        )
        print(f"| {contest.name} | " + " | ".join(str(cell) for cell in cells) + " |", flush=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    return 0 if all(run["share"] <= run["wanted"] for run in results["runs"].values()) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
