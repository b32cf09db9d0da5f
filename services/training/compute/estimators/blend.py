"""Networks and boosted trees, averaged: what one gets wrong the other often gets right.

Both train on the same rows, one after the other. Their weights in the average are those that fit the
validation rows best, drawn a little towards equal ones; without such rows they are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from services.training.compute.backend import Backend
from services.training.compute.calibration import LEAST
from services.training.compute.communicator.base import ALONE, Communicator
from services.training.compute.communicator.together import alone
from services.training.compute.estimators.base import Arrays, Estimator, Matrix, Outcome, Samples, Weights
from services.training.compute.estimators.registry import estimator
from services.training.compute.loop import Loop, Snapshot, State, Stopped
from services.training.compute.resume import misfit
from services.training.domain.hyperparameters import Blend

# Part → the progress at which it begins. Trees are quick.
_BEGINS = {"mlp": 0.0, "boosted_trees": 0.8}
# The weights that are tried, of the first part.
_WEIGHTS = np.linspace(0, 1, 21)
# How far from 1/2 a weight is expected to lie.
_SPREAD = 0.25
_BLOCK_ROWS = 4096


class BlendEstimator:
    """The arrays of a part are under its name; `weights` (2,) sum to 1."""

    def __init__(self, params: Blend, classes: int) -> None:
        self._parts: Mapping[str, Estimator] = {
            name: estimator(getattr(params, name), classes) for name in _BEGINS
        }
        self._classes = classes

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
        """See Estimator. Losses that are reported are those of the part that trains."""
        alone(communicator, "blend")
        learned, samples = _learned(resume), 0
        steps = int(resume["steps"]) if resume else 0
        for name in list(self._parts)[len(learned) :]:
            outcome = self._parts[name].fit(
                train,
                validation,
                seed,
                _Stage(loop, name, learned, steps),
                backend,
                resume=under(name, resume) if resume else None,
                start=under(name, start) if start else None,
            )
            resume = None  # it was of that part
            steps, samples = steps + outcome.steps, samples + outcome.samples
            if outcome.stopped:
                return Outcome({}, samples, steps, stopped=True)
            learned[name] = outcome.arrays
        try:
            weights = self._weights(learned, validation, loop)
        except Stopped:
            return Outcome({}, samples, steps, stopped=True)
        return Outcome({**_flat(learned), "weights": weights}, samples, steps)

    def predict(self, arrays: Arrays, features: Matrix) -> npt.NDArray[np.float64]:
        """See Estimator; `features` are packed rows."""
        said = self._each({name: under(name, arrays) for name in self._parts}, features)
        return np.asarray(np.tensordot(arrays["weights"], said, 1))

    def _each(self, learned: Mapping[str, Arrays], features: Matrix) -> npt.NDArray[np.float64]:
        """What each part says: (2, n, classes) or (2, n)."""
        return np.stack([part.predict(learned[name], features) for name, part in self._parts.items()])

    def _weights(
        self, learned: Mapping[str, Arrays], validation: Samples | None, loop: Loop
    ) -> npt.NDArray[np.float64]:
        """Raises Stopped."""
        if validation is None:
            return np.array([0.5, 0.5])
        judged, counted = zip(*self._judged(learned, validation, loop), strict=True)
        loss = _log_loss if self._classes else _squared_loss
        rows = None if counted[0] is None else np.concatenate(counted)
        first = weight(np.concatenate(judged, axis=1), lambda found: loss(found, rows))
        return np.array([first, 1 - first])

    def _judged(
        self, learned: Mapping[str, Arrays], validation: Samples, loop: Loop
    ) -> Iterator[tuple[npt.NDArray[np.float64], Weights | None]]:
        """Of each block (2, rows), a part's probability of the true class, or how far off its value is; and
        the rows' weights."""
        for features, targets, weights in validation.blocks(_BLOCK_ROWS):
            if loop.should_stop():
                raise Stopped
            said = self._each(learned, features)
            found = said[:, np.arange(len(targets)), targets] if self._classes else said - targets
            yield found, weights


class _Stage:
    """The loop as one part has it: what came before it is in its steps, its progress and its checkpoints."""

    def __init__(self, loop: Loop, name: str, before: Mapping[str, Arrays], steps: int) -> None:
        self._loop, self._name, self._before, self._steps = loop, name, dict(before), steps
        self._begin, self._end = [*_BEGINS.values(), 1.0][len(before) :][:2]

    def report(self, step: int, progress: float, metrics: Mapping[str, float]) -> None:
        self._loop.report(self._steps + step, self._begin + (self._end - self._begin) * progress, metrics)

    def checkpoint(self, step: int, snapshot: Snapshot) -> None:
        self._loop.checkpoint(self._steps + step, lambda: self._state(snapshot()))

    def should_stop(self) -> bool:
        return self._loop.should_stop()

    def _state(self, own: State) -> State:
        parts = _flat({**self._before, self._name: own})
        return {"stage": np.array(len(self._before)), "steps": np.array(self._steps), **parts}


def under(part: str, arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
    """A part's arrays, by the names that it has for them."""
    prefix = f"{part}."
    return {
        name.removeprefix(prefix): np.asarray(array)
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def weight(judged: npt.NDArray[np.float64], loss: Callable[[npt.NDArray[np.float64]], float]) -> float:
    """Of the first of two, in their average: the one with the least loss, and a prior at 1/2.

    judged: (2, n), see `_judged`, which average as predictions do. loss: of such an average, as minus the
    logarithm of its likelihood.
    """
    losses = [
        loss(first * judged[0] + (1 - first) * judged[1]) + ((first - 0.5) / _SPREAD) ** 2 / 2
        for first in _WEIGHTS
    ]
    return float(_WEIGHTS[int(np.argmin(losses))])


def _log_loss(probabilities: npt.NDArray[np.float64], weights: Weights | None = None) -> float:
    return -len(probabilities) * _mean(np.log(np.maximum(probabilities, LEAST)), weights)


def _squared_loss(errors: npt.NDArray[np.float64], weights: Weights | None = None) -> float:
    """Of errors that are normal, with a variance that is not known."""
    return len(errors) / 2 * float(np.log(max(_mean(errors**2, weights), LEAST)))


def _mean(values: npt.NDArray[np.float64], weights: Weights | None) -> float:
    return float(np.average(values, weights=weights))


def _learned(resume: State | None) -> dict[str, Arrays]:
    """What the parts learned that had ended at a checkpoint."""
    if resume is None:
        return {}
    if not {"stage", "steps"} <= resume.keys():
        raise misfit("it does not say which part trained")
    return {name: under(name, resume) for name in list(_BEGINS)[: int(resume["stage"])]}


def _flat(parts: Mapping[str, Arrays]) -> dict[str, npt.NDArray[Any]]:
    return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}
