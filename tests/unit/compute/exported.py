"""Tables that are hard to export, and what onnxruntime makes of an exported model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime

from services.training.compute.table import Categories, Column, Columns
from tests.unit.compute.tables import text

COLOURS = ("red", "größe ☃", "blue", "green")
# More values than a network makes an input of each for.
CITIES = tuple(f"city {i}" for i in range(23))
WILD = (1e300, -1e300, np.inf, -np.inf, np.nan, 1.5)


@dataclass(frozen=True)
class Awkward:
    """Rows of every kind: numbers with and without gaps, far from 0, constant; categories with gaps and not.

    At training `fresh` is false; else values come up that training never saw.
    """

    rows: int
    seed: int
    fresh: bool = False

    def table(self, *names: str) -> dict[str, Column]:
        """The columns named, or all, and the targets: `kind` of three texts, `pair` of 0 and 1, `y`."""
        random = np.random.default_rng([5, self.seed])
        size, colour = random.gamma(2, 2, self.rows), random.integers(0, 4, self.rows)
        time = 1.7e9 + random.normal(0, 3600, self.rows)
        y = 1e6 + 50 * np.sqrt(size) + 20 * (colour == 1) + (time - 1.7e9) / 200
        city = random.integers(0, len(CITIES), self.rows)
        found: dict[str, Column] = {
            "size": np.where(random.random(self.rows) < 0.15, np.nan, size),
            "colour": self._category(random, colour, COLOURS, gaps=0.1),
            "label": time,
            "fixed": np.full(self.rows, 7.0),
            "two": self._category(random, (size > 4).astype(int), ("no", "yes"), gaps=0),
            "city": self._category(random, city, CITIES, gaps=0.1),
        }
        if self.fresh:
            for name in ("size", "label", "fixed"):
                found[name][: len(WILD)] = WILD  # type: ignore[index]
        found = {name: column for name, column in found.items() if not names or name in names}
        kind = np.digitize(y - 1e6, [60, 90])
        targets = {"kind": Categories(kind.astype(np.int32), ("rose", "tulip", "aster")), "y": y}
        return {**found, **targets, "pair": (y > 1e6 + 75).astype(np.float64)}

    def _category(
        self, random: Any, codes: np.ndarray, values: tuple[str, ...], *, gaps: float
    ) -> Categories:
        texts: list[str | None] = [values[code] for code in codes]
        for row in np.flatnonzero(random.random(self.rows) < (0.3 if self.fresh else gaps)):
            texts[row] = None
        if self.fresh:
            texts[::7] = ["never seen"] * len(texts[::7])
        return text(*texts)


def run(file: bytes, table: Columns) -> dict[str, np.ndarray]:
    """Output → value, by onnxruntime, of a file that the checker passes."""
    model = onnx.load_from_string(file)
    onnx.checker.check_model(model, full_check=True)
    names = json.loads({prop.key: prop.value for prop in model.metadata_props}["inputs"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    feed = {name: given(table[column]) for column, name in names.items()}
    values = session.run(None, feed)
    return {output.name: value for output, value in zip(session.get_outputs(), values, strict=True)}


def given(column: Column) -> np.ndarray:
    """The column as an input, (n, 1)."""
    if not isinstance(column, Categories):
        return column[:, None]
    texts = np.array([*column.vocabulary, ""], object)
    return texts[column.codes][:, None]
