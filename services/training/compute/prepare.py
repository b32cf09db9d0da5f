"""From tables to preprocessed samples, reading the tables a block at a time.

Training data is read in this order: its target, to learn the classes and to split the rows; the columns of
the training rows, to learn the preprocessing; everything, to write the samples. All columns of a block are
handled together: taken one by one they would be read in small pieces from all over the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from services.training.compute.data_checks.findings import data_warnings
from services.training.compute.data_checks.gathering import Gathering, Part
from services.training.compute.estimators.base import Samples, Weights
from services.training.compute.estimators.registry import PACKED, SPARSE
from services.training.compute.loop import Offering
from services.training.compute.model import TrainedModel
from services.training.compute.moments import Moments
from services.training.compute.preprocessing import Preprocessor
from services.training.compute.sample_writer import PART_NAMES, Room, SampleWriter
from services.training.compute.splits import TEST, TRAIN, Parts, fold, split, tally
from services.training.compute.table import Column, Columns, PickedTable, Table, row_count, take
from services.training.compute.targets import ClassTarget, NoTarget, Target, ValueTarget
from services.training.compute.transforms import fit_transforms
from services.training.compute.weights import Weighing, class_weights, without_weightless
from services.training.domain.hyperparameters import Hyperparameters
from services.training.domain.transforms import FeatureTransform

Task = Literal["classification", "regression", "clustering"]


@dataclass(frozen=True)
class Problem:
    """What to learn: `target` from every other column; or, where it is empty, clusters of the rows.

    seed: 0 to 2⁶⁴ − 1; decides the initial weights, the order of rows and the dropout, and the split where
    `split_seed` is None.
    validation_fraction, test_fraction: of the training rows, cut off where no such table is given.
    weight_column: says how much each row counts, in training and in metrics, and is no feature. Every table
    has it. Empty where all count alike.
    class_weights: see `weights`; in training, and in what is compared on validation rows meanwhile.
    excluded_columns: are no features, and not read.
    transforms: columns made of others, which are features too.
    fold: (number, folds), see `splits.fold`; None for the ordinary split.
    """

    task: Task
    target: str
    hyperparameters: Hyperparameters
    seed: int = 0
    validation_fraction: float = 0.15
    test_fraction: float = 0.15
    weight_column: str = ""
    class_weights: tuple[tuple[str, float], ...] | Literal["balanced"] = ()
    split_seed: int | None = None
    excluded_columns: tuple[str, ...] = ()
    transforms: tuple[FeatureTransform, ...] = ()
    fold: tuple[int, int] | None = None

    def features(self, names: Sequence[str]) -> list[str]:
        """Those of a table's columns that are features, in their order."""
        others = {self.target, self.weight_column, *self.excluded_columns}
        return [name for name in names if name not in others]


@dataclass(frozen=True)
class Prepared:
    """Samples of the three parts, in the order of PART_NAMES, and what made them.

    class_weights: (classes,); None where all are the same. Those of the samples themselves are for metrics.
    warnings: see `data_checks`.
    """

    preprocessor: Preprocessor
    target: Target
    parts: tuple[Samples, Samples, Samples]
    class_weights: Weights | None = None
    warnings: tuple[str, ...] = ()

    @property
    def for_training(self) -> tuple[Samples, Samples]:
        """The training and the validation samples, as they count in training."""
        train, validation, _ = self.parts
        given = self.class_weights
        return replace(train, class_weights=given), replace(validation, class_weights=given)


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

    @classmethod
    def of(
        cls, problem: Problem, tables: tuple[Table, Table | None, Table | None], loop: Offering, room: Room
    ) -> Preparation:
        """Of tables in the order of PART_NAMES; rows that weigh nothing are left out from here on."""
        if column := problem.weight_column:
            train, *others = (
                None if table is None else without_weightless(table, column, name, loop)
                for table, name in zip(tables, PART_NAMES, strict=True)
            )
            assert train is not None
            return cls(problem, train, (others[0], others[1]), loop, room)
        return cls(problem, tables[0], tables[1:], loop, room)

    def __call__(self, start: TrainedModel | None) -> Prepared:
        """start: a model whose preprocessing and target encoding are used instead of new ones."""
        target = start.target if start else self._whole_target()
        for table in (self.train if start else None, *self.others):
            if table is not None:
                target.check(self._target_of(table))
        parts = self._split(target)
        if start:
            start.preprocessor.check(self.train.names)
            return self._prepared(start.preprocessor, target, parts)
        if isinstance(target, ValueTarget):
            # Its mean and scale may know nothing of the rows that were cut off.
            target = ValueTarget.fit(self.problem.target, self._training_target(parts))
        features = self.problem.features(self.train.names)
        transforms = fit_transforms(
            self.problem.transforms,
            int(tally(parts, 3)[TRAIN]),
            lambda names: self._training_blocks(names, parts),
            self.train.names,
        )
        preprocessor = Preprocessor.fit(self._training_blocks(features, parts), features, transforms)
        return self._prepared(preprocessor, target, parts)

    def test_table(self, target: Target) -> Table:
        """The rows that training keeps a model from. target: as that model encodes it."""
        given = self.others[1]
        return PickedTable(self.train, self._split(target) == TEST) if given is None else given

    def _prepared(self, preprocessor: Preprocessor, target: Target, parts: Parts) -> Prepared:
        samples, gathered = self._samples(preprocessor, target, parts)
        given = None
        if isinstance(target, ClassTarget):
            given = class_weights(target, self.problem.class_weights, samples[0])
        own = {name for name, table in zip(PART_NAMES[1:], self.others, strict=True) if table is not None}
        warnings = data_warnings(gathered, frozenset(own), target, preprocessor)
        return Prepared(preprocessor, target, samples, given, warnings)

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
        given, seed = self.problem.split_seed, self.problem.seed
        rows, seed, go_on = len(self.train), seed if given is None else given, self.loop.go_on
        parts = split(rows, fractions[0], fractions[1], seed, codes, on_block=go_on)
        return fold(parts, *self.problem.fold, seed, codes) if self.problem.fold else parts

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
    ) -> tuple[tuple[Samples, Samples, Samples], tuple[Part, Part, Part]]:
        """All the samples, and what the checks of the data look at, in one pass."""
        counts = tally(parts, 3)[:3].tolist()
        for part, table in enumerate(self.others, TRAIN + 1):
            if table is not None:
                counts[part] = len(table)
        as_packed = self.problem.hyperparameters.name in PACKED
        sparse = self.problem.hyperparameters.name in SPARSE
        how = self.room, as_packed, sparse, self._weighing(parts)
        writing = SampleWriter(preprocessor, target, counts, *how)
        gathering = Gathering(preprocessor, target, counts)
        names = [*preprocessor.reads, *filter(None, (self.problem.target, self.problem.weight_column))]
        for block, of in self._every_block(preprocessor, names, parts):
            writing.add(block, of)
            gathering.add(block, of)
        return writing.finish(), gathering.finish()

    def _every_block(
        self, preprocessor: Preprocessor, names: Sequence[str], parts: Parts
    ) -> Iterator[tuple[Columns, Parts]]:
        """Those of all tables."""
        yield from self._parted_blocks(names, parts)
        for part, table in enumerate(self.others, TRAIN + 1):
            if table is not None:
                preprocessor.check(table.names)
                for block in self._blocks(table, names):
                    yield block, np.full(row_count(block), part, np.int8)

    def _weighing(self, parts: Parts) -> Weighing | None:
        column = self.problem.weight_column
        if not column:
            return None
        moments = Moments()
        for block in self._training_blocks([column], parts):
            moments.add(np.asarray(block[column], np.float64))
        return Weighing(column, moments.mean)
