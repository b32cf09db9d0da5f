"""Where each parameter of a network lies in one flat row, and how fast each group of them learns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import sqrt
from typing import Literal

from services.training.compute.kernels.activation import Activation, Layer
from services.training.compute.kernels.embedding import NUMBER_PARAMETERS, OF_CATEGORY, OF_NUMBER
from services.training.compute.kernels.launch import Array

Architecture = Literal["real_mlp", "plain", "tab_m"]


@dataclass(frozen=True)
class Group:
    """Parameters that learn alike. rate: times the learning rate. decays: weight decay acts on them."""

    name: str
    size: int
    rate: float = 1.0
    decays: bool = True


@dataclass(frozen=True)
class Layout:
    """A network's P parameters, group after group.

    numbers, features, tables, entries: what its `Inputs` give: of `features` inputs the first `numbers` are
    numbers; `tables` categories come as one of `entries` rows of their tables. hidden: units of each layer.

    real_mlp (D. Holzmüller et al., "Better by Default", NeurIPS 2024): embedded and scaled inputs, neural
    tangent parametrisation, activations with slopes: SELU for classes and Mish for values. plain: ReLU.
    """

    architecture: Architecture
    numbers: int
    features: int
    tables: int
    entries: int
    hidden: tuple[int, ...]
    outputs: int
    classes: bool

    @property
    def embeds(self) -> bool:
        """Whether there is anything between the inputs and the first layer."""
        return self.architecture == "real_mlp" or self.tables > 0

    @property
    def periodic(self) -> int:
        """How many numbers have a periodic embedding; in a plain network none."""
        return self.numbers if self.architecture == "real_mlp" else 0

    @property
    def inputs(self) -> int:
        """Inputs of the first layer."""
        return self.features + self.periodic * (OF_NUMBER - 1) + self.tables * OF_CATEGORY

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Inputs, units of each layer, outputs."""
        return (self.inputs, *self.hidden, self.outputs)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """In their order; all but the first two may be empty."""
        weights = sum(above * below for above, below in pairwise(self.sizes))
        biases, tables = sum(self.sizes[1:]), self.entries * OF_CATEGORY
        if self.architecture == "plain":
            found = [Group("weights", weights), Group("biases", biases, decays=False)]
            scales = self.inputs if self.embeds else 0
            return (*found, Group("tables", tables), Group("scales", scales, 0.0, decays=False))
        return (
            Group("weights", weights),
            Group("biases", biases, 0.1, decays=False),
            Group("slopes", sum(self.hidden), 0.1),
            Group("scales", self.inputs, 6.0),
            Group("periodic", self.periodic * NUMBER_PARAMETERS, 0.1),
            Group("tables", tables),
        )

    @cached_property
    def total(self) -> int:
        """P."""
        return sum(group.size for group in self.groups)

    @cached_property
    def bounds(self) -> tuple[int, ...]:
        """Where each group begins, then P."""
        found = [0]
        for group in self.groups:
            found.append(found[-1] + group.size)
        return tuple(found)

    def start(self, name: str) -> int:
        """Where the group of that name begins; 0 when there is none."""
        for group, begin in zip(self.groups, self.bounds, strict=False):
            if group.name == name:
                return begin
        return 0

    def part(self, flat: Array, name: str) -> Array:
        """The group's columns of `flat` (K, P), as a view."""
        size = sum(group.size for group in self.groups if group.name == name)
        return flat[:, self.start(name) : self.start(name) + size]

    def weights(self, flat: Array) -> list[Array]:
        """Each layer's weights (K, in, out), as views of `flat` (K, P)."""
        found, place = [], 0
        for inputs, outputs in pairwise(self.sizes):
            found.append(flat[:, place : place + inputs * outputs].reshape(-1, inputs, outputs))
            place += inputs * outputs
        return found

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Each layer's bias, activation and slope; the last one has no activation."""
        found: list[Layer] = []
        bias, slope = self.start("biases"), self.start("slopes")
        for inputs, units in pairwise(self.sizes):
            last = len(found) == len(self.hidden)
            sloped = self.architecture == "real_mlp" and not last
            gain = 1 / sqrt(inputs) if self.architecture == "real_mlp" else 1.0
            kind: Activation = "identity" if last else self._activation
            found.append(Layer(bias, kind, slope if sloped else -1, gain))
            bias, slope = bias + units, slope + units
        return tuple(found)

    @property
    def _activation(self) -> Activation:
        if self.architecture == "plain":
            return "relu"
        return "selu" if self.classes else "mish"
