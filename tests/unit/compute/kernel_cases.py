"""Calls of every kernel on odd shapes and asymmetric data, whatever computes them: host, emulator, device.

No size divides a warp, a block or another size, so that an index that is wrong anywhere shows. What a kernel
has to set is NaN, or a number that it never gives, before.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from services.training.compute.kernels.activation import Activation, Drops, Layer, activate, activate_back
from services.training.compute.kernels.adamw import adamw
from services.training.compute.kernels.cross_entropy import cross_entropy
from services.training.compute.kernels.dropout import draw
from services.training.compute.kernels.embedding import NUMBER_PARAMETERS, Embedding, embed, embed_back
from services.training.compute.kernels.gather import gather
from services.training.compute.kernels.kmeans import Centres, Tally, assign
from services.training.compute.kernels.launch import Kernels
from services.training.compute.kernels.members import Vectors, adapt, adapt_back, bend, bend_back, first_back
from services.training.compute.kernels.product import product
from services.training.compute.kernels.progress import advance
from services.training.compute.kernels.squared_error import squared_error

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """Arrays on the host, as NumPy makes them anew each time, and a call that changes some of them.

    tolerance: relative to the largest number of an array, for what is not exact.
    """

    name: str
    arrays: Callable[[np.random.Generator], Arrays]
    call: Callable[[Kernels, Arrays], Mapping[str, Any] | None]
    tolerance: float = 2e-6

    def run(self, kernels: Kernels) -> dict[str, np.ndarray]:
        """Every array afterwards, and what the call gave besides, on the host."""
        arrays = {name: kernels.xp.asarray(array) for name, array in self.arrays(random(1)).items()}
        arrays |= self.call(kernels, arrays) or {}
        return {name: array.get() if hasattr(array, "get") else array for name, array in arrays.items()}

    def compare(self, found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
        """Raises AssertionError naming the first array that differs."""
        for name, array in expected.items():
            most = (
                np.max(np.abs(array), initial=0, where=np.isfinite(array)) if array.dtype.kind == "f" else 0
            )
            np.testing.assert_allclose(
                found[name], array, rtol=0, atol=self.tolerance * most, err_msg=f"{self.name}: {name}"
            )


def random(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def normal(chance: np.random.Generator, *shape: int) -> np.ndarray:
    return chance.normal(0.3, 1.2, shape).astype(np.float32)


def unset(*shape: int) -> np.ndarray:
    return np.full(shape, np.nan, np.float32)


def cases() -> list[Case]:
    kinds = [
        activation_case(kind, back=back, sloped=sloped, dropping=dropping)
        for kind, back, sloped, dropping in itertools.product(get_args(Activation), *[(False, True)] * 3)
    ]
    losses = [
        cross_entropy_case(classes, smoothing) for classes, smoothing in [(2, 0.0), (7, 0.1), (67, 0.3)]
    ]
    embeddings = [
        embedding_case(*shape, back=back)
        for shape, back in itertools.product([(3, 2, 2), (2, 0, 0), (0, 3, 1), (0, 0, 2)], [False, True])
    ]
    rows = [gather_case(kind, width) for kind, width in [(np.float32, 11), (np.int64, 1), (np.int32, 3)]]
    products = [
        product_case(*shape) for shape in [(3, 37, 11, 5), (1, 37, 11, 5), (3, 37, 1, 5), (3, 1, 11, 1)]
    ]
    members = [
        bend_case(back=back, last=last, dropping=dropping)
        for back, last, dropping in itertools.product(*[(False, True)] * 3)
    ]
    members += [adapt_case(), adapt_case(more=True)]
    others = [adamw_case(), draw_case(), squared_error_case(), advance_case(), kmeans_case()]
    return kinds + losses + embeddings + rows + products + members + others


def activation_case(kind: Activation, *, back: bool, sloped: bool, dropping: bool) -> Case:
    networks, rows, columns = 3, 37, 45
    layer = Layer(bias=5, activation=kind, slope=70 if sloped else -1, gain=0.7)

    def drops_of(a: Arrays) -> Drops | None:
        mask = a["mask"][:, : rows * columns].reshape(networks, rows, columns)
        return Drops(mask, a["cuts"], a["at"]) if dropping else None

    def arrays(chance: np.random.Generator) -> Arrays:
        shape, parameters = (networks, rows, columns), normal(chance, networks, 131)
        mask = chance.integers(0, 256, (networks, rows * columns + 7), dtype=np.uint8)
        drops = {"mask": mask, "cuts": np.array([[9, 9, 9], [64, 0, 200]]), "at": np.array([1])}
        z, out = normal(chance, *shape), unset(*shape)
        if back:
            activate(Kernels(np), z, out, parameters, layer, drops_of(drops))
        gradients, delta = unset(networks, 131), normal(chance, *shape)
        return {"z": z, "out": out, "parameters": parameters, "gradients": gradients, "delta": delta, **drops}

    def call(kernels: Kernels, a: Arrays) -> None:
        if back:
            places = (a["delta"], a["z"], a["out"], a["parameters"], a["gradients"])
            activate_back(kernels, *places, layer, drops_of(a))
        else:
            activate(kernels, a["z"], a["out"], a["parameters"], layer, drops_of(a))

    marks = "".join(f" {name}" for name, on in {"sloped": sloped, "dropping": dropping}.items() if on)
    return Case(f"{kind}{' back' if back else ''}{marks}", arrays, call, 1e-5 if back else 2e-6)


def bend_case(*, back: bool, last: bool, dropping: bool) -> Case:
    """A layer of members that share weights; `last`: no layer with an r comes after it."""
    members, rows, columns = 3, 37, 45
    at = Vectors(s=5, b=50, r=-1 if last else 97)

    def drops_of(a: Arrays) -> Drops | None:
        mask = a["mask"][:, : rows * columns].reshape(members, rows, columns)
        return Drops(mask, a["cuts"], a["at"]) if dropping else None

    def arrays(chance: np.random.Generator) -> Arrays:
        shape, row = (members, rows, columns), 149
        mask = chance.integers(0, 256, (members, rows * columns + 7), dtype=np.uint8)
        drops = {"mask": mask, "cuts": np.array([[9, 9, 9], [64, 64, 64]]), "at": np.array([1])}
        found = {name: normal(chance, *shape) for name in ("z", "delta")}
        return {**found, "own": normal(chance, members, row), "gradients": unset(members, row), **drops} | {
            "out": unset(*shape)
        }

    def call(kernels: Kernels, a: Arrays) -> None:
        if back:
            bend_back(kernels, a["delta"], a["z"], a["own"], a["gradients"], at, drops_of(a))
        else:
            bend(kernels, a["z"], a["out"], a["own"], at, drops_of(a))

    words = {"back": back, "last": last, "dropping": dropping}
    return Case("bend" + "".join(f" {name}" for name, on in words.items() if on), arrays, call, 1e-5)


def adapt_case(*, more: bool = False) -> Case:
    members, rows, columns, units, row, r = 3, 37, 45, 41, 61, 7

    def arrays(chance: np.random.Generator) -> Arrays:
        own, delta = normal(chance, members, row), normal(chance, members, rows, columns)
        x, weights = normal(chance, rows, columns), normal(chance, columns, units)
        products = normal(chance, members, columns, units)
        shapes = {"sums": (rows, columns), "shared": (columns, units)}
        sums = {name: normal(chance, *shape) if more else unset(*shape) for name, shape in shapes.items()}
        known = {"x": x, "own": own, "delta": delta, "weights": weights, "products": products}
        return {**known, "out": unset(members, rows, columns), "gradients": unset(members, row), **sums}

    def call(kernels: Kernels, a: Arrays) -> None:
        adapt(kernels, a["x"], a["own"], r, a["out"])
        adapt_back(kernels, a["delta"], a["own"], r, a["sums"], more)
        read = (a["products"], a["weights"], a["own"])
        first_back(kernels, *read, a["gradients"], r, a["shared"], more)

    return Case("adapt" + (" more" if more else ""), arrays, call, 1e-5)


def cross_entropy_case(classes: int, smoothing: float) -> Case:
    def arrays(chance: np.random.Generator) -> Arrays:
        logits, weights = 5 * normal(chance, 3, 37, classes), np.abs(normal(chance, 37))
        labels = chance.integers(0, classes, 37)
        return {"logits": logits, "labels": labels, "weights": weights, "losses": unset(3, 37)}

    def call(kernels: Kernels, a: Arrays) -> None:
        cross_entropy(kernels, a["logits"], a["labels"], a["weights"], a["losses"], smoothing)

    return Case(f"cross-entropy of {classes}", arrays, call)


def squared_error_case() -> Case:
    def arrays(chance: np.random.Generator) -> Arrays:
        weights, targets = np.abs(normal(chance, 301)), normal(chance, 301)
        outputs, losses = normal(chance, 3, 301, 1), unset(3, 301)
        return {"outputs": outputs, "targets": targets, "weights": weights, "losses": losses}

    def call(kernels: Kernels, a: Arrays) -> None:
        squared_error(kernels, a["outputs"], a["targets"], a["weights"], a["losses"])

    return Case("squared error", arrays, call)


def draw_case() -> Case:
    def arrays(chance: np.random.Generator) -> Arrays:
        seeds = chance.integers(0, 2**64, 3, dtype=np.uint64)
        return {"mask": np.zeros((3, 112), np.uint8), "seeds": seeds, "clock": np.array([2**33 + 5])}

    def call(kernels: Kernels, a: Arrays) -> None:
        draw(kernels, a["mask"], a["seeds"], a["clock"], layer=3)

    return Case("dropout's bytes", arrays, call)


def adamw_case() -> Case:
    networks, parameters = 3, 131
    bounds = np.array([0, 7, 90, parameters])

    def arrays(chance: np.random.Generator) -> Arrays:
        names = ("parameters", "gradients", "first")
        found = {name: normal(chance, networks, parameters) for name in names}
        found["second"] = np.square(normal(chance, networks, parameters))
        numbers = np.abs(normal(chance, 2, networks, len(bounds) - 1, 3))
        return {**found, "bounds": bounds, "numbers": numbers, "at": np.array([1])}

    def call(kernels: Kernels, a: Arrays) -> dict[str, Any]:
        adamw(kernels, *a.values(), betas=(0.9, 0.95))
        return {"gradients": a["first"]}  # what is left of them is nobody's

    return Case("AdamW", arrays, call)


def gather_case(kind: type, width: int) -> Case:
    def arrays(chance: np.random.Generator) -> Arrays:
        source = chance.integers(-(2**30), 2**30, (101, width)).astype(kind)
        order = chance.permutation(101).astype(np.int32)
        return {"source": source, "order": order, "at": np.array([2]), "out": np.zeros((29, width), kind)}

    def call(kernels: Kernels, a: Arrays) -> None:
        gather(kernels, a["source"], a["order"], a["at"], a["out"])

    return Case(f"gather {kind.__name__}", arrays, call)


def embedding_case(numbers: int, others: int, categories: int, *, back: bool) -> Case:
    """`others`: features beside the numbers. Tables have three, four, … rows."""
    networks, rows, owners = 2, 37, np.repeat(np.arange(categories), np.arange(categories) + 3)
    periodic, tables = 4, 9 + numbers * NUMBER_PARAMETERS
    scale = tables + 8 * len(owners) + 3
    features = numbers + others

    def at(owned: Any) -> Embedding:
        return Embedding(numbers, features, categories, periodic, tables, scale, owned)

    def arrays(chance: np.random.Generator) -> Arrays:
        codes = [chance.choice(np.flatnonzero(owners == c), rows) for c in range(categories)]
        width = at(owners).width
        x, parameters = normal(chance, rows, features), normal(chance, networks, scale + width + 2)
        entries = np.array(codes, np.int32).reshape(categories, rows).T.copy()
        out, delta, gradients = (
            unset(networks, rows, width),
            normal(chance, networks, rows, width),
            0 * parameters,
        )
        if back:
            embed(Kernels(np), at(owners.astype(np.int32)), x, entries, parameters, out)
        found = {"x": x, "codes": entries, "parameters": parameters, "out": out, "delta": delta}
        return {**found, "gradients": gradients, "owners": owners.astype(np.int32)}

    def call(kernels: Kernels, a: Arrays) -> None:
        read = (a["x"], a["codes"], a["parameters"], a["out"])
        if back:
            embed_back(kernels, at(a["owners"]), *read, a["delta"], a["gradients"])
        else:
            embed(kernels, at(a["owners"]), *read)

    name = f"embedding of {numbers}, {others} and {categories}"
    return Case(name + (" back" if back else ""), arrays, call, 2e-5)


def product_case(networks: int, rows: int, middle: int, columns: int) -> Case:
    """As a layer does it: forward, from an x of each network and from one for all, and both ways back."""

    def arrays(chance: np.random.Generator) -> Arrays:
        x, delta = normal(chance, networks, rows, middle), normal(chance, networks, rows, columns)
        flat, gradients = (
            normal(chance, networks, middle * columns + 7),
            unset(networks, middle * columns + 7),
        )
        outs = {"out": unset(*delta.shape), "of_one": unset(*delta.shape), "back": unset(*x.shape)}
        return {"x": x, "delta": delta, "flat": flat, "gradients": gradients, **outs}

    def call(kernels: Kernels, a: Arrays) -> None:
        places = slice(4, 4 + middle * columns)
        weights, into = (
            a[name][:, places].reshape(networks, middle, columns) for name in ("flat", "gradients")
        )
        product(kernels, a["x"], weights, a["out"])
        product(kernels, a["x"][-1], weights, a["of_one"])
        product(kernels, a["delta"], weights.swapaxes(-1, -2), a["back"])
        product(kernels, a["x"].swapaxes(-1, -2), a["delta"], into)

    return Case(f"products {networks} x {rows} x {middle} x {columns}", arrays, call)


# How far a product may be off, relative to that of the absolute values.
PRECISIONS = {"float32": 2**-20, "tf32": 2**-9, "bfloat16": 2**-7}


def product_error(kernels: Kernels) -> float:
    """How far a product is off, in that measure."""
    chance = random(4)
    a, b, out = normal(chance, 2, 37, 101), normal(chance, 2, 101, 29), unset(2, 37, 29)
    on_device = [kernels.xp.asarray(array) for array in (a, b, out)]
    product(kernels, *on_device)
    found = on_device[2].get() if kernels.on_device else out
    exact = a.astype(np.float64) @ b
    return float((np.abs(found - exact) / (np.abs(a) @ np.abs(b))).max())


def advance_case() -> Case:
    def arrays(chance: np.random.Generator) -> Arrays:
        losses, total = normal(chance, 3, 101), normal(chance, 3, 101)
        return {"losses": losses, "total": total, "counters": np.array([5, 2**40])}

    def call(kernels: Kernels, a: Arrays) -> None:
        advance(kernels, a["losses"], a["total"], a["counters"])

    return Case("progress", arrays, call)


def kmeans_case() -> Case:
    def arrays(chance: np.random.Generator) -> Arrays:
        return {"x": normal(chance, 137, 5)}

    def call(kernels: Kernels, a: Arrays) -> dict[str, Any]:
        tally = Tally.empty(39, 5)
        assign(kernels, a["x"], Centres(kernels, normal(random(2), 39, 5).astype(np.float64)), tally)
        far = max(tally.far, key=lambda one: one.distance)
        return {
            "sums": tally.sums,
            "counts": tally.counts,
            "inertia": np.array(tally.inertia),
            "far": far.row,
        }

    return Case("k-means", arrays, call)
