"""k-means: centres that make the sum of squared distances from each row to its nearest centre small.

By Lloyd's iterations over all rows (S. Lloyd, "Least squares quantization in PCM", 1982), or over
mini-batches (D. Sculley, "Web-scale k-means clustering", WWW 2010), where a centre is the mean of all rows
that it was ever given. A centre without rows is moved to the row that is farthest from its own.

Where rows have weights, squared distances and means count them by those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from services.training.compute.backend import Backend
from services.training.compute.communicator.base import ALONE, Communicator
from services.training.compute.communicator.together import (
    Shard,
    added_up,
    gathered,
    go_on,
    shared_state,
)
from services.training.compute.errors import ComputeError
from services.training.compute.estimators.base import Arrays, Matrix, Outcome, Samples, Weights
from services.training.compute.estimators.batches import random
from services.training.compute.kernels.kmeans import Centres, Far, Tally, assign, labels_of
from services.training.compute.loop import Loop, State, Stopped
from services.training.compute.resume import fitting, misfit
from services.training.compute.seeding import seed_centres
from services.training.compute.table import IntArray
from services.training.domain.hyperparameters import KMeans

# Rows between two questions whether to stop; on a device, enough to fill it.
_BLOCK_ROWS, _DEVICE_ROWS = 65_536, 262_144
# Centres begin among so many rows, or so many for each of them; drawing from all would take a pass for each.
_SEED_ROWS, _SEED_ROWS_EACH = 16_384, 32
# Tell the streams that one seed gives apart.
_SEEDS, _BATCHES = 3, 4

Table = npt.NDArray[np.float64]
# Inputs, and weights where they have them.
_Rows: TypeAlias = tuple[Matrix, Weights | None]


class KMeansEstimator:
    """Clustering only, of the preprocessed inputs as they are: standardised, and one for each category."""

    def __init__(self, params: KMeans, classes: int) -> None:
        assert classes == 0, "kmeans knows no classes"
        self._params = params

    def fit(
        self,
        train: Samples,
        validation: Samples | None,
        seed: int,
        loop: Loop,
        backend: Backend,
        *,
        resume: State | None = None,
        start: Arrays | None = None,
        communicator: Communicator = ALONE,
    ) -> Outcome:
        """See Estimator. Raises ComputeError naming `clusters` when there are fewer rows."""
        params, shard = self._params, Shard.of(communicator, len(train))
        if shard.total < params.clusters:
            raise ComputeError("clusters", f"{params.clusters} clusters need as many rows, got {shard.total}")
        run = _Run(params, train, shard, seed, loop, backend)
        resume = shared_state(communicator, resume)
        try:
            walk = run.begin(start) if resume is None else run.restore(resume)
            while walk.restart < params.restarts:
                walk = run.step(walk)
                loop.report(walk.steps, walk.progress(params), {"train_loss": walk.inertia / shard.total})
                loop.checkpoint(walk.steps, walk.state)
                go_on(communicator, loop)
        except Stopped:
            return Outcome({}, run.samples, run.steps, stopped=True)
        return Outcome({"centres": walk.best}, run.samples, walk.steps)

    def predict(self, arrays: Arrays, features: Matrix) -> npt.NDArray[np.float64]:
        """The number of the nearest centre (n,)."""
        return labels_of(features, arrays["centres"]).astype(np.float64)


@dataclass(frozen=True)
class _Walk:
    """How far a fit has come; its arrays are not changed any more.

    centres: (k, d). weights: (k,), for mini-batches: how much the rows count that each stands for.
    inertia: what the last iteration found. best, best_inertia: the end of the best run so far.
    steps: iterations of all runs.
    """

    centres: Table
    weights: Table
    best: Table
    best_inertia: float = np.inf
    inertia: float = np.inf
    restart: int = 0
    iteration: int = 0
    steps: int = 0

    def progress(self, params: KMeans) -> float:
        """From 0 to 1."""
        return min(1.0, (self.restart + self.iteration / params.max_iterations) / params.restarts)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All of it, as arrays."""
        return {name: np.asarray(value) for name, value in vars(self).items()}


class _Run:
    """One fit. steps: the last one that was reported; samples: rows read here since the beginning."""

    def __init__(  # noqa: PLR0917 (what is fitted, and where)
        self, params: KMeans, train: Samples, shard: Shard, seed: int, loop: Loop, backend: Backend
    ) -> None:
        self.samples = self.steps = 0
        self._shard = shard
        self._params, self._seed, self._loop, self._backend = params, seed, loop, backend
        self._train = train.on(backend)
        # What a move is small against: the mean variance of the inputs.
        self._spread = float(self._sample(0).var(axis=0, dtype=np.float64).mean())

    def begin(self, start: Arrays | None) -> _Walk:
        """Before the first iteration."""
        centres = self._seeds(0) if start is None else np.array(start["centres"], np.float64)
        return _Walk(centres, np.zeros(len(centres)), centres)

    def restore(self, state: State) -> _Walk:
        """The inverse of `state`; raises ComputeError when it is one of another fit."""
        shape = (self._params.clusters, self._train.width)
        arrays = fitting(state, _Walk(np.zeros(shape), np.zeros(shape[0]), np.zeros(shape)).state())
        values: dict[str, Any] = {n: array if array.ndim else array.item() for n, array in arrays.items()}
        walk = _Walk(**values)
        if not (0 <= walk.restart <= self._params.restarts and walk.iteration >= 0):
            raise misfit(f"there is no iteration {walk.iteration} of run {walk.restart}")
        self.steps = walk.steps
        return walk

    def step(self, walk: _Walk) -> _Walk:
        """One iteration; the last of a run is followed by the beginning of the next."""
        moved = self._batched(walk) if self._params.batch_size else self._lloyd(walk)
        self.steps = moved.steps
        shift = float(np.square(moved.centres - walk.centres).sum())
        if shift > self._params.tolerance * self._spread and moved.iteration < self._params.max_iterations:
            return moved
        return self._ended(moved)

    def _lloyd(self, walk: _Walk) -> _Walk:
        tally = self._pass(walk.centres)
        return self._after(walk, _means(tally, walk.centres), walk.weights, tally.inertia)

    def _batched(self, walk: _Walk) -> _Walk:
        """As many batches as make a pass."""
        centres, weights, whole = walk.centres, walk.weights, Tally.empty(*walk.centres.shape)
        for batch in self._batches(walk):
            tally = self._assigned([batch], centres)
            weights = weights + tally.counts
            counted = np.where(weights > 0, weights, 1)[:, None]
            centres = centres + (tally.sums - tally.counts[:, None] * centres) / counted
            whole.counts += tally.counts
            whole.inertia += tally.inertia
            whole.far = tally.far
        whole.sums[:] = whole.counts[:, None] * centres
        # A centre that gets rows no more is moved, and what it stood for is forgotten.
        return self._after(walk, _means(whole, centres), weights * (whole.counts > 0), whole.inertia)

    def _after(self, walk: _Walk, centres: Table, weights: Table, inertia: float) -> _Walk:
        iteration, steps = walk.iteration + 1, walk.steps + 1
        moved = replace(walk, centres=centres, weights=weights, inertia=inertia)
        return replace(moved, iteration=iteration, steps=steps)

    def _ended(self, walk: _Walk) -> _Walk:
        """Keeps the centres if they are the best so far, and begins another run if there is to be one."""
        inertia = self._pass(walk.centres).inertia
        if inertia < walk.best_inertia:
            walk = replace(walk, best=walk.centres, best_inertia=inertia)
        restart = walk.restart + 1
        centres = self._seeds(restart) if restart < self._params.restarts else walk.centres
        zeros = np.zeros(len(centres))
        return replace(walk, centres=centres, weights=zeros, inertia=inertia, restart=restart, iteration=0)

    def _pass(self, centres: Table) -> Tally:
        """Over all rows. Raises Stopped."""
        most = _BLOCK_ROWS if self._backend.name == "numpy" else _DEVICE_ROWS
        return self._assigned(((x, weights) for x, _, weights in self._train.blocks(most)), centres)

    def _assigned(self, blocks: Iterable[_Rows], centres: Table) -> Tally:
        """Of the blocks of all ranks. Raises Stopped."""
        kernels, tally, told = self._backend.kernels, Tally.empty(*centres.shape), False
        prepared, to_device = Centres(kernels, centres), self._backend.to_device
        for x, weights in blocks:
            if told := self._loop.should_stop():
                break
            there = None if weights is None else to_device(weights)
            assign(kernels, to_device(x), prepared, tally, there)
            self.samples += len(x)
        own = np.concatenate([[tally.inertia], tally.counts, tally.sums.ravel()])
        inertia, rest = np.split(added_up(self._shard.communicator, own, told), [1])
        counts, sums = np.split(rest, [len(centres)])
        far = _farthest(self._shard.communicator, tally.far, centres) if not counts.all() else []
        return Tally(sums.reshape(centres.shape), counts, float(inertia[0]), far)

    def _batches(self, walk: _Walk) -> Iterator[_Rows]:
        """What is here of rows drawn at random, with replacement."""
        rows = self._shard.total
        size = min(self._params.batch_size, rows)
        draw = random(self._seed, _BATCHES, walk.restart, walk.iteration)
        for _ in range(-(-rows // size)):
            here = self._shard.here(np.sort(draw.integers(rows, size=size)))
            yield self._train.at(here), self._train.weights_at(here)

    def _seeds(self, restart: int) -> Table:
        to_device, drawn = self._backend.to_device, self._drawn(restart)
        rows, weights = to_device(self._sample(restart)), self._train.weights_at(self._shard.here(drawn))
        draw = random(self._seed, _SEEDS, restart, 1)
        if weights is not None:
            weights = to_device(self._shard.collected(drawn, self._backend.to_host(weights)))
        seeds = seed_centres(self._backend.xp, rows, self._params.clusters, draw, weights)
        centres = np.array(self._backend.to_host(seeds), np.float64)
        # Of two rows that are about as good, rounding chooses; so one rank does.
        self._shard.communicator.broadcast(centres)
        return centres

    def _sample(self, restart: int) -> Matrix:
        """Rows of all ranks, to draw the first centres from."""
        drawn = self._drawn(restart)
        return self._shard.collected(drawn, self._backend.to_host(self._train.at(self._shard.here(drawn))))

    def _drawn(self, restart: int) -> IntArray:
        """Their places among the rows of all ranks, which rise."""
        rows = self._shard.total
        size = min(rows, max(_SEED_ROWS, _SEED_ROWS_EACH * self._params.clusters))
        draw = random(self._seed, _SEEDS, restart, 0)
        return np.sort(draw.choice(rows, size, replace=False, shuffle=False))


def _farthest(communicator: Communicator, own: list[Far], centres: Table) -> list[Far]:
    """Of all ranks, as many from each as there are centres; all where there is one rank."""
    if communicator.world_size == 1:
        return own
    table = np.zeros((len(centres), 3 + centres.shape[1]))
    for place, one in zip(table, sorted(own, key=lambda one: -one.distance), strict=False):
        place[:3], place[3:] = (one.distance, one.cluster, one.weight), one.row
    found = gathered(communicator, table).reshape(-1, table.shape[1])
    return [
        Far(float(one[0]), int(one[1]), one[3:].astype(np.float32), float(one[2]))
        for one in found
        if one[0] > 0
    ]


def _means(tally: Tally, centres: Table) -> Table:
    """The mean of each centre's rows. Those without any go to the farthest rows of a pass, which they take
    from the centres that had them; when no row is away from its centre, they stay."""
    sums, counts, means = tally.sums.copy(), tally.counts.copy(), centres.copy()
    far = sorted(tally.far, key=lambda one: -one.distance)
    for cluster in np.flatnonzero(counts == 0):
        farthest = next(
            (one for one in far if one.distance > 0 and counts[one.cluster] > one.weight > 0), None
        )
        if farthest is None:
            break
        far.remove(farthest)
        moved = farthest.weight * farthest.row
        sums[farthest.cluster] -= moved
        counts[farthest.cluster] -= farthest.weight
        sums[cluster], counts[cluster] = moved, farthest.weight
    filled = counts > 0
    means[filled] = sums[filled] / counts[filled, None]
    return means
