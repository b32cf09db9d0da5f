"""How good the networks are on the validation rows, and which of their weights were best."""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt

from services.training.compute.backend import Backend
from services.training.compute.communicator.base import ALONE, Communicator
from services.training.compute.communicator.together import added_up
from services.training.compute.estimators.architectures import network
from services.training.compute.estimators.base import Arrays, Samples, Weights
from services.training.compute.estimators.inputs import Inputs
from services.training.compute.estimators.layout import Layout
from services.training.compute.kernels.cross_entropy import softmax
from services.training.compute.kernels.launch import Array
from services.training.compute.loop import Loop, State

# Rows that validation and prediction run at a time; bounds the memory that they take.
FORWARD_ROWS = 1024


class Best:
    """Each network's best weights so far, and which candidates go on: those of which none stands still.

    A candidate is one of `candidates` equal parts of the networks, one after another. What became of one is
    what would have become of it alone.
    """

    def __init__(self, parameters: Array, patience: int, backend: Backend, candidates: int = 1) -> None:
        self.parameters = parameters.copy()
        self._current = parameters
        self._losses = np.full((candidates, len(parameters) // candidates), np.inf)
        self._patience, self._backend = patience, backend
        self._waited = np.zeros(candidates, np.int64)
        self._lost = np.zeros(candidates, np.bool_)

    @property
    def ended(self) -> npt.NDArray[np.bool_]:
        """(C,), true for a candidate whose training loss is no number any more, or of which `patience` epochs
        in a row brought no network a lower loss. It changes no more."""
        ended: npt.NDArray[np.bool_] = self._lost | (self._waited >= self._patience)
        return ended

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """(C,), true for a candidate of which every network had a finite loss once."""
        found: npt.NDArray[np.bool_] = np.isfinite(self._losses).all(axis=1)
        return found

    def observe(
        self, trained: npt.NDArray[np.float64], losses: npt.NDArray[np.float64] | None = None
    ) -> None:
        """Keeps the weights of the networks whose loss, (K,), is as low as ever: of equals, the last.

        trained: (C,), the training losses. losses: None without validation rows.
        """
        going = ~self.ended
        if losses is not None:
            losses = losses.reshape(self._losses.shape)
            better = (losses < self._losses).any(axis=1)
            self._waited[going] = np.where(better, 0, self._waited + 1)[going]
            kept = (losses <= self._losses) & going[:, None]
            self._losses[kept] = losses[kept]
            for network in np.flatnonzero(kept):
                self.parameters[network] = self._current[network]
        self._lost |= going & ~np.isfinite(trained)

    def state(self) -> State:
        """What a resume needs of this; of a candidate alone as ever, for it is over once it is lost."""
        alone = len(self._waited) == 1
        waited = {"waited": self._waited[0]} if alone else {"waited": self._waited, "lost": self._lost}
        parameters = self._backend.to_host(self.parameters)
        numbers = {name: np.array(value) for name, value in waited.items()}
        return {"best_parameters": parameters, "best_losses": self._losses.ravel(), **numbers}

    def restore(self, arrays: Arrays) -> None:
        """Goes to where `state()` was taken."""
        self.parameters[:] = self._backend.to_device(arrays["best_parameters"])
        self._losses[:] = arrays["best_losses"].reshape(self._losses.shape)
        self._waited[:] = arrays["waited"]
        self._lost[:] = arrays.get("lost", False)


class Judge:
    """Scores the networks on the validation rows of all ranks; each has the same scores."""

    def __init__(
        self,
        layout: Layout,
        parameters: Array,
        samples: Samples,
        inputs: Inputs,
        backend: Backend,
        *,
        candidates: int = 1,
        communicator: Communicator = ALONE,
    ) -> None:
        """candidates: equal parts of the networks, each of which is judged together."""
        self._communicator, self._candidates = communicator, candidates
        rows, self._networks = min(len(samples), FORWARD_ROWS), len(parameters)
        self._network = network(layout, parameters, backend, rows, inputs.owners)
        self._as_one = layout.architecture == "tab_m"
        self._samples, self._inputs, self._backend = samples, inputs, backend
        self._judge = _judge_classes if samples.classes else _judge_values

    def scores(self, loop: Loop) -> tuple[npt.NDArray[np.float64], list[dict[str, float]]]:
        """Each network's loss (K,), by which the best is chosen, and what to report of each candidate's mean
        prediction.

        The loss is the share of wrong classes, or the mean squared error; rows count by their weights. For
        members that share weights, which are one network here, it is the log loss or squared error of their
        mean. Raises Stopped when the loop says stop.
        """
        count, total, told = self._candidates, 0.0, False
        losses, together = np.zeros(self._networks), np.zeros((count, 2))
        for start in range(0, len(self._samples), FORWARD_ROWS):
            if told := loop.should_stop():
                break
            place = slice(start, start + FORWARD_ROWS)
            made = map(self._backend.to_device, self._inputs(self._samples.features[place]))
            outputs = self._backend.to_host(self._network.forward(*made))
            targets = self._samples.targets[place]
            weights = self._samples.weighing(place, targets)
            loss, block = self._judge(outputs, targets, weights, count)
            losses, together = losses + (block[:, 0] if self._as_one else loss), together + block
            total += len(targets) if weights is None else float(weights.sum())
        own = np.concatenate([losses, together.ravel(), [total]])
        sums = added_up(self._communicator, own, told)
        means = sums[:-1] / sums[-1]
        together = means[self._networks :].reshape(count, 2)
        return means[: self._networks], [self._named(*map(float, pair)) for pair in together]

    def _named(self, first: float, second: float) -> dict[str, float]:
        if self._samples.classes:
            return {"validation_loss": first, "validation_accuracy": second}
        return {"validation_loss": first, "validation_rmse": self._samples.unit * sqrt(second)}


def _judge_classes(
    logits: Array, labels: Array, weights: Weights | None, candidates: int
) -> tuple[Array, Array]:
    """How often each network is wrong (K,); of each candidate's mean prediction the summed log loss and the
    hits, (C, 2)."""
    wrong = _sum(logits.argmax(axis=2) != labels, weights)
    wrong = np.where(np.isfinite(logits).all(axis=(1, 2)), wrong, np.inf)
    said = softmax(np, logits.astype(np.float64))
    mean = said.reshape(candidates, -1, *said.shape[1:]).mean(axis=1)
    picked = np.maximum(mean[:, np.arange(len(labels)), labels], 1e-30)
    hits = _sum(mean.argmax(axis=2) == labels, weights)
    return wrong, np.stack([_sum(-np.log(picked), weights), hits], axis=1)


def _judge_values(
    outputs: Array, targets: Array, weights: Weights | None, candidates: int
) -> tuple[Array, Array]:
    """Summed squared error of each network (K,), and that of each candidate's mean prediction, twice."""
    loss = _sum((outputs[..., 0] - targets) ** 2, weights)
    mean = outputs[..., 0].reshape(candidates, -1, len(targets)).mean(axis=1)
    together = _sum((mean - targets) ** 2, weights)
    return loss, np.stack([together, together], axis=1)


def _sum(values: Array, weights: Weights | None) -> Array:
    """Over the last axis, of rows, in float64."""
    return values.sum(axis=-1, dtype=np.float64) if weights is None else values @ weights
