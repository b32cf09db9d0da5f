"""One run of training networks side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from services.training.compute.backend import Backend
from services.training.compute.communicator.together import Shard
from services.training.compute.estimators.architectures import trainable
from services.training.compute.estimators.base import Samples
from services.training.compute.estimators.batches import Batch, Batches, random
from services.training.compute.estimators.candidates import Member, column
from services.training.compute.estimators.initial import initialise
from services.training.compute.estimators.inputs import Inputs
from services.training.compute.estimators.judge import Best
from services.training.compute.estimators.layout import Layout
from services.training.compute.estimators.network import Noise
from services.training.compute.estimators.recipes import RECIPES
from services.training.compute.graphs import Work, repeated
from services.training.compute.kernels.cross_entropy import cross_entropy
from services.training.compute.kernels.dropout import cut_of
from services.training.compute.kernels.launch import Array
from services.training.compute.kernels.progress import advance
from services.training.compute.kernels.squared_error import squared_error
from services.training.compute.loop import Loop, State, Stopped
from services.training.compute.optimizers import AdamW, Pace
from services.training.compute.resume import fitting, misfit
from services.training.domain.hyperparameters import Mlp

# Tells the stream of the initial weights apart from the others that one seed gives.
_WEIGHTS = 0
# Rows that initial weights are fitted to.
_INITIAL_ROWS = 2048
# Between the seeds of two ranks; odd, so that it takes as many steps as there are numbers to come around.
_NEXT_RANK = np.uint64(0x9E3779B97F4A7C15)


def first_parameters(
    layout: Layout, members: Sequence[Member], train: Samples, inputs: Inputs
) -> npt.NDArray[np.float32]:
    """(K, P), each network's by its own seed; members that share weights are one network, by the first's."""
    places = np.unique(np.linspace(0, len(train) - 1, _INITIAL_ROWS).astype(int))
    rows = np.concatenate([train.features[place : place + 1] for place in places])
    x, codes = inputs(rows)
    starting = members[:1] if layout.architecture == "tab_m" else members
    networks = [initialise(layout, random(one.seed, _WEIGHTS), x, inputs, codes) for one in starting]
    return np.concatenate(networks)


class Run:
    """The parameters, how far they have come, and the room that a step works in.

    backend: where the parameters are. epoch, batch: what is done, whole epochs and batches of the next one.
    steps: all of them.

    Each of several ranks takes its part of a batch from its own rows. Gradients and losses are added up
    before every update, so that all ranks have the same parameters after it.
    """

    def __init__(  # noqa: PLR0917 (what is trained, and on what)
        self,
        params: Mlp,
        layout: Layout,
        inputs: Inputs,
        members: Sequence[Member],
        train: Samples,
        shard: Shard,
        seed: int,
        backend: Backend,
        *,
        weights: npt.NDArray[np.float32],
        candidates: int = 1,
    ) -> None:
        """candidates: equal parts of the networks, which end apart from each other."""
        xp = backend.xp
        self.epoch = self.batch = self.steps = 0
        self._params, self._epoch_rows, self.backend = params, len(train), backend
        self._recipe, self._members = RECIPES[params.architecture], members
        self._candidates = candidates
        self._communicator = shard.communicator
        ranks, longest = len(shard.lengths), int(shard.lengths.max())
        size = -(-params.batch_size // ranks)
        self._batches = Batches(train, inputs, size, seed, backend, longest=longest, ranks=ranks)
        rows = self._batches.rows
        self.parameters = backend.to_device(weights.copy())
        self.best = Best(self.parameters, params.early_stopping_patience, backend, candidates)
        shapes = (self._recipe.rate_shape, self._recipe.decay_shape)
        paced = members[: len(weights)]
        rates, decays = column(paced, "learning_rate"), column(paced, "weight_decay")
        self._pace = Pace(rates, decays, *shapes, self._recipe.betas)
        self._optimizer = AdamW(backend, self.parameters, layout, self._pace)
        self._classes = train.classes > 0
        # What the ranks add up: gradients, losses, and how many were told to stop.
        self._shared = xp.zeros(self.parameters.size + len(members) * rows + 1, np.float32)
        gradients = self._shared[: self.parameters.size].reshape(self.parameters.shape)
        self._losses = self._shared[self.parameters.size : -1].reshape(len(members), rows)
        self._network = trainable(layout, self.parameters, backend, rows, inputs.owners, gradients)
        self._total = xp.zeros_like(self._losses)
        self._counters = xp.zeros(2, np.int64)
        self._clock, self._at = self._counters[:1], self._counters[1:]
        self._seeds = backend.to_device(_dropout_seeds(members, shard.communicator.rank))
        self._cuts: Array | None = None
        self._noise: Noise | None = None
        self._go_on = self._stepping()

    @property
    def epochs(self) -> int:
        """As many as there are at the most."""
        return self._params.max_epochs

    @property
    def seen(self) -> int:
        """Training rows processed here, those before a checkpoint included."""
        return self.epoch * self._epoch_rows + self._batches.passed(self.batch)

    def learning_rate(self, candidate: int) -> float:
        """That candidate's, at the last step."""
        rates, place = self._pace.learning_rates, np.array([(self.steps - 1) / self._all_steps])
        peak = rates[candidate * (len(rates) // self._candidates)]
        return float(peak * self._pace.rate_shape(place)[0])

    def finish_epoch(self, loop: Loop) -> npt.NDArray[np.float64]:
        """Goes on to the end of the epoch; each candidate's mean loss of its batches. Raises Stopped."""
        self._prepare()
        for _ in self._batches.epoch(self.epoch, self.batch):
            self._go_on()
            self.batch, self.steps = self.batch + 1, self.steps + 1
            loop.checkpoint(self.steps, self.state)
            if self._told(loop):
                raise Stopped
        total = self.backend.to_host(self._total.reshape(self._candidates, -1).sum(axis=1, dtype=np.float64))
        losses: npt.NDArray[np.float64] = total * self._candidates / len(self._total) / self._batches.steps
        return losses

    def next_epoch(self) -> None:
        """Goes to the next epoch's start."""
        self.epoch, self.batch = self.epoch + 1, 0
        self._total[:] = 0

    def state(self) -> State:
        """What a resume needs."""
        arrays = {"parameters": self.parameters, **self._moments, "total": self._total}
        host = {name: self.backend.to_host(array) for name, array in arrays.items()}
        counts = {"step": self.steps, "epoch": self.epoch, "batch": self.batch}
        numbers = {name: np.array(count) for name, count in counts.items()}
        return {**host, **numbers, "plan": np.array(self._batches.plan), **self.best.state()}

    def restore(self, state: State) -> None:
        """Goes to where `state` was taken; raises ComputeError when it is one of another fit."""
        arrays = fitting(state, self.state())
        epoch, batch = int(arrays["epoch"]), int(arrays["batch"])
        if arrays["plan"].tolist() != list(self._batches.plan):
            raise misfit("its batches are others")
        if not (0 <= epoch <= self._params.max_epochs and 0 <= batch <= self._batches.steps):
            raise misfit(f"there is no batch {batch} of epoch {epoch}")
        places = {"parameters": self.parameters, **self._moments, "total": self._total}
        for name, place in places.items():
            place[:] = self.backend.to_device(arrays[name])
        self.epoch, self.batch, self.steps = epoch, batch, int(arrays["step"])
        self.best.restore(arrays)

    @property
    def _moments(self) -> dict[str, Array]:
        return {"first": self._optimizer.first, "second": self._optimizer.second}

    @property
    def _all_steps(self) -> int:
        return self._params.max_epochs * self._batches.steps

    def _prepare(self) -> None:
        """Makes the numbers of the epoch's steps, where the step looks for them."""
        first, count = self.epoch * self._batches.steps, self._batches.steps
        self._optimizer.prepare(first, count, self._all_steps)
        self.backend.refill(self._counters, np.array([self.steps, self.batch]))
        rates = column(self._members, "dropout")
        if rates.any():
            shape = self._recipe.dropout_shape(np.arange(first, first + count) / self._all_steps)
            self._cuts = self.backend.refill(self._cuts, cut_of(shape[:, None] * rates))
            self._noise = self._noise or Noise(self._seeds, self._clock, self._cuts, self._at)

    def _stepping(self) -> Work:
        """What trains on the next batch."""
        again = partial(repeated, self.backend) if self._batches.ready else _as_it_is
        if self._communicator.world_size == 1:
            return again(self._step)
        descend, update = again(self._descend), again(self._update)

        def step() -> None:
            descend()
            self._communicator.allreduce(self._shared)
            update()

        return step

    def _told(self, loop: Loop) -> bool:
        """Whether to stop. Several ranks learn of it with the next step's gradients, and stop after that."""
        if self._communicator.world_size == 1:
            return loop.should_stop()
        told = bool(self._shared[-1])
        self._shared[-1] = loop.should_stop()
        return told

    def _step(self) -> None:
        """Reads all that changes from arrays, as its parts do: see `repeated`."""
        self._descend()
        self._update()

    def _descend(self) -> None:
        """The gradients and losses of the next batch."""
        batch = self._batches.fetch(self._at)
        outputs = self._network.forward(batch.x, batch.codes, self._noise)
        self._loss(outputs, batch)
        self._network.backward(batch.x, batch.codes, outputs, self._noise)

    def _update(self) -> None:
        self._optimizer.step(self._network.gradients, self._at)
        advance(self.backend.kernels, self._losses, self._total, self._counters)

    def _loss(self, outputs: Array, batch: Batch) -> None:
        arrays = (outputs, batch.targets, batch.shares, self._losses)
        if self._classes:
            cross_entropy(self.backend.kernels, *arrays, self._params.label_smoothing)
        else:
            squared_error(self.backend.kernels, *arrays)


def _dropout_seeds(members: Sequence[Member], rank: int) -> npt.NDArray[np.uint64]:
    """(K,): each rank has rows of its own, and so drops by chances of its own."""
    return column(members, "seed").astype(np.uint64) + np.array(rank, np.uint64) * _NEXT_RANK


def _as_it_is(work: Work) -> Work:
    return work
