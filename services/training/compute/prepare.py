"""From tables to preprocessed samples, reading the tables a block at a time.

Training data is read in this order: its target, to learn the classes and to split the rows; the columns of
the training rows, to learn the preprocessing; everything, to write the samples. All columns of a block are
handled together: taken one by one they would be read in small pieces from all over the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from services.training.compute.estimators.base import Samples
from services.training.compute.estimators.registry import PACKED, SPARSE
from services.training.compute.loop import Offering
from services.training.compute.model import TrainedModel
from services.training.compute.preprocessing import Preprocessor
from services.training.compute.splits import TRAIN, Parts, split, tally
from services.training.compute.storage import RowsWriter
from services.training.compute.table import Column, Columns, Table, row_count, take
from services.training.compute.targets import ClassTarget, NoTarget, Target, ValueTarget
from services.training.domain.hyperparameters import Hyperparameters

Task = Literal["classification", "regression", "clustering"]
PART_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Problem:
    """What to learn: `target` from every other column; or, where it is empty, clusters of the rows.

    seed: 0 to 2⁶⁴ − 1; decides the split, the initial weights, the order of rows and the dropout.
    validation_fraction, test_fraction: of the training rows, cut off where no such table is given.
    """

    task: Task
    target: str
    hyperparameters: Hyperparameters
    seed: int = 0
    validation_fraction: float = 0.15
    test_fraction: float = 0.15


@dataclass(frozen=True)
class Room:
    """Samples are kept in memory up to `memory` bytes; beyond that in files in `folder`, if there is one."""

    memory: int
    folder: Path | None


@dataclass(frozen=True)
class Prepared:
    """Samples of the three parts, in the order of PART_NAMES, and what made them."""

    preprocessor: Preprocessor
    target: Target
    parts: tuple[Samples, Samples, Samples]


@dataclass(frozen=True)
class Preparation:
    """Prepares `train`, of which a part is cut off for each of validation and test that is None.

    Every method raises Stopped when the loop says stop, and ComputeError for data that cannot be used.
    """

    problem: Problem
    train: Table
    others: tuple[Table | None, Table | None]
    loop: Offering
    room: Room

    def __call__(self, start: TrainedModel | None) -> Prepared:
        """start: a model whose preprocessing and target encoding are used instead of new ones."""
        target = start.target if start else self._whole_target()
        for table in (self.train if start else None, *self.others):
            if table is not None:
                target.check(self._target_of(table))
        parts = self._split(target)
        if start:
            start.preprocessor.check(self.train.names)
            return Prepared(start.preprocessor, target, self._samples(start.preprocessor, target, parts))
        if isinstance(target, ValueTarget):
            # Its mean and scale may know nothing of the rows that were cut off.
            target = ValueTarget.fit(self.problem.target, self._training_target(parts))
        features = [name for name in self.train.names if name != self.problem.target]
        preprocessor = Preprocessor.fit(self._training_blocks(features, parts), features)
        return Prepared(preprocessor, target, self._samples(preprocessor, target, parts))

    def _whole_target(self) -> Target:
        if self.problem.task == "clustering":
            return NoTarget()
        kind = ClassTarget if self.problem.task == "classification" else ValueTarget
        return kind.fit(self.problem.target, self._target_of(self.train))

    def _split(self, target: Target) -> Parts:
        fractions = [
            fraction if table is None else 0.0
            for fraction, table in zip(
                (self.problem.validation_fraction, self.problem.test_fraction), self.others, strict=True
            )
        ]
        codes = self._codes(target) if isinstance(target, ClassTarget) else None
        rows, seed, go_on = len(self.train), self.problem.seed, self.loop.go_on
        return split(rows, fractions[0], fractions[1], seed, codes, on_block=go_on)

    def _codes(self, target: ClassTarget) -> npt.NDArray[np.int16]:
        codes, row = np.empty(len(self.train), np.int16), 0
        for column in self._target_of(self.train):
            codes[row : row + len(column)] = target.encode(column)
            row += len(column)
        return codes

    def _target_of(self, table: Table) -> Iterator[Column]:
        name = self.problem.target
        return (block[name] for block in self._blocks(table, [name]))

    def _training_target(self, parts: Parts) -> Iterator[Column]:
        name = self.problem.target
        return (block[name] for block in self._training_blocks([name], parts))

    def _training_blocks(self, names: Sequence[str], parts: Parts) -> Iterator[Columns]:
        for block, of in self._parted_blocks(names, parts):
            yield take(block, of == TRAIN)

    def _parted_blocks(self, names: Sequence[str], parts: Parts) -> Iterator[tuple[Columns, Parts]]:
        row = 0
        for block in self._blocks(self.train, names):
            rows = slice(row, row + row_count(block))
            yield block, parts[rows]
            row = rows.stop

    def _blocks(self, table: Table, names: Sequence[str]) -> Iterator[Columns]:
        for block in table.blocks(names):
            self.loop.go_on()
            yield block

    def _samples(
        self, preprocessor: Preprocessor, target: Target, parts: Parts
    ) -> tuple[Samples, Samples, Samples]:
        counts = tally(parts, 3).tolist()
        for part, table in enumerate(self.others, TRAIN + 1):
            if table is not None:
                counts[part] = len(table)
        as_packed = self.problem.hyperparameters.name in PACKED
        sparse = self.problem.hyperparameters.name in SPARSE
        writing = _Writing(preprocessor, target, counts, self.room, as_packed, sparse=sparse)
        names = preprocessor.names + [self.problem.target] * bool(self.problem.target)
        for block, of in self._parted_blocks(names, parts):
            writing.add(block, of)
        for part, table in enumerate(self.others, TRAIN + 1):
            if table is not None:
                preprocessor.check(table.names)
                for block in self._blocks(table, names):
                    writing.add(block, np.full(row_count(block), part, np.int8))
        return writing.finish()


class _Writing:
    """Turns blocks into the samples of three parts, of as many rows as `counts` says."""

    def __init__(
        self,
        preprocessor: Preprocessor,
        target: Target,
        counts: Sequence[int],
        room: Room,
        as_packed: bool,
        *,
        sparse: bool = False,
    ) -> None:
        """as_packed, sparse: whether the algorithm takes packed rows, or expands them itself, and better."""
        dense = not (as_packed or sparse) and _bytes(preprocessor.width, counts) <= room.memory
        self._as_packed = as_packed
        packed = _bytes(len(preprocessor.columns), counts) <= room.memory or room.folder is None
        self._inputs = preprocessor.transform if dense else preprocessor.pack
        self._expansion = None if dense else preprocessor.expansion
        self._target = target
        width = preprocessor.width if dense else len(preprocessor.columns)
        folder = None if dense or packed else room.folder
        self._features = [
            RowsWriter((count, width), np.float32, _file(folder, name, "features", count))
            for name, count in zip(PART_NAMES, counts, strict=True)
        ]
        self._targets = [
            RowsWriter((count, *target.shape), target.dtype, _file(folder, name, "targets", count))
            for name, count in zip(PART_NAMES, counts, strict=True)
        ]

    def add(self, block: Columns, parts: Parts) -> None:
        inputs, targets = self._inputs(block), self._target.of(block)
        for part in np.unique(parts):
            rows = parts == part
            self._features[part].append(inputs[rows])
            self._targets[part].append(targets[rows])

    def finish(self) -> tuple[Samples, Samples, Samples]:
        classes, unit = 0, 1.0
        if isinstance(self._target, ClassTarget):
            classes = len(self._target.classes)
        elif isinstance(self._target, ValueTarget):
            unit = self._target.scale
        train, validation, test = (
            Samples(features.finish(), targets.finish(), classes, unit, self._expansion, self._as_packed)
            for features, targets in zip(self._features, self._targets, strict=True)
        )
        return train, validation, test


def _bytes(width: int, counts: Sequence[int]) -> int:
    """What the samples take: float32 features, and targets of up to eight bytes."""
    return (4 * width + 8) * sum(counts)


def _file(folder: Path | None, part: str, content: str, rows: int) -> Path | None:
    return folder / f"{part}.{content}" if folder and rows else None
