"""Where each parameter of TabM lies: weights that all members share, and vectors and heads of their own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from services.training.compute.estimators.layout import Group, Layout
from services.training.compute.kernels.embedding import OF_CATEGORY
from services.training.compute.kernels.launch import Array
from services.training.compute.kernels.members import Vectors


@dataclass(frozen=True)
class SharedLayout(Layout):
    """The P parameters of `members` networks (Y. Gorishniy et al., "TabM", ICLR 2025), in one row.

    The weights of hidden layers are shared. A member has a head of its own, (outputs, units), and a row of
    vectors: r of the inputs, then s, b and, but for the last, the next layer's r for each hidden layer, and
    the head's bias.
    """

    members: int = 1

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """In their order; the last two may be empty."""
        weights = sum(below * above for below, above in pairwise(self.sizes[:-1]))
        heads = self.members * self.sizes[-2] * self.outputs
        return (
            Group("weights", weights),
            Group("heads", heads),
            Group("own", self.members * self.own_size, decays=False),
            Group("tables", self.entries * OF_CATEGORY),
            Group("scales", self.inputs if self.embeds else 0, 0.0, decays=False),
        )

    @cached_property
    def vectors(self) -> tuple[Vectors, ...]:
        """Of each hidden layer; the r of the first one begins a member's row."""
        found, place = [], self.inputs
        for index, units in enumerate(self.hidden, 1):
            last = index == len(self.hidden)
            found.append(Vectors(place, place + units, -1 if last else place + 2 * units))
            place += (2 if last else 3) * units
        return tuple(found)

    @property
    def own_size(self) -> int:
        """A: numbers in a member's row, the head's bias at its end."""
        return self.inputs + 3 * sum(self.hidden) - self.hidden[-1] + self.outputs

    def weights(self, flat: Array) -> list[Array]:
        """Each hidden layer's weights (1, in, out), as views of `flat` (1, P)."""
        found, place = [], 0
        for inputs, units in pairwise(self.sizes[:-1]):
            found.append(flat[:, place : place + inputs * units].reshape(1, inputs, units))
            place += inputs * units
        return found

    def heads(self, flat: Array) -> Array:
        """(members, outputs, units), a view."""
        return self.part(flat, "heads").reshape(self.members, self.outputs, self.sizes[-2])

    def own(self, flat: Array) -> Array:
        """(members, A), a view."""
        return self.part(flat, "own").reshape(self.members, self.own_size)
