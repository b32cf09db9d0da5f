"""Preprocessed samples of the three parts, written as the blocks of the tables come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from services.training.compute.estimators.base import Samples
from services.training.compute.preprocessing import Preprocessor
from services.training.compute.splits import UNUSED, Parts
from services.training.compute.storage import RowsWriter
from services.training.compute.table import Columns
from services.training.compute.targets import ClassTarget, Target, ValueTarget
from services.training.compute.weights import Weighing

PART_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Room:
    """Samples are kept in memory up to `memory` bytes; beyond that in files in `folder`, if there is one."""

    memory: int
    folder: Path | None


class SampleWriter:
    """Turns blocks into the samples of three parts, of as many rows as `counts` says."""

    def __init__(  # noqa: PLR0917 (what makes the samples, and where they go)
        self,
        preprocessor: Preprocessor,
        target: Target,
        counts: Sequence[int],
        room: Room,
        as_packed: bool,
        sparse: bool,
        weighing: Weighing | None,
    ) -> None:
        """as_packed, sparse: whether the algorithm takes packed rows, or expands them itself, and better."""
        beside = 8 if weighing is None else 16
        dense = not (as_packed or sparse) and _bytes(preprocessor.width, beside, counts) <= room.memory
        self._as_packed = as_packed
        packed = _bytes(len(preprocessor.columns), beside, counts) <= room.memory or room.folder is None
        self._inputs = preprocessor.transform if dense else preprocessor.pack
        self._expansion = None if dense else preprocessor.expansion
        self._target, self._weighing = target, weighing
        width = preprocessor.width if dense else len(preprocessor.columns)
        folder = None if dense or packed else room.folder
        kinds: dict[str, tuple[tuple[int, ...], npt.DTypeLike]] = {
            "features": ((width,), np.float32),
            "targets": (target.shape, target.dtype),
            **({"weights": ((), np.float64)} if weighing else {}),
        }
        self._writers = [
            {
                what: RowsWriter((count, *shape), dtype, _file(folder, name, what, count))
                for what, (shape, dtype) in kinds.items()
            }
            for name, count in zip(PART_NAMES, counts, strict=True)
        ]

    def add(self, block: Columns, parts: Parts) -> None:
        """parts: (m,), where each row of the block goes."""
        content: dict[str, npt.NDArray[Any]] = {
            "features": self._inputs(block),
            "targets": self._target.of(block),
        }
        if self._weighing:
            content["weights"] = self._weighing.of(block)
        for part in np.unique(parts[parts != UNUSED]):
            rows = parts == part
            for what, writer in self._writers[part].items():
                writer.append(content[what][rows])

    def finish(self) -> tuple[Samples, Samples, Samples]:
        """In the order of PART_NAMES."""
        classes, unit = 0, 1.0
        if isinstance(self._target, ClassTarget):
            classes = len(self._target.classes)
        elif isinstance(self._target, ValueTarget):
            unit = self._target.scale
        train, validation, test = (
            Samples(
                rows["features"].finish(),
                rows["targets"].finish(),
                classes,
                unit,
                self._expansion,
                self._as_packed,
                rows["weights"].finish() if self._weighing else None,
            )
            for rows in self._writers
        )
        return train, validation, test


def _bytes(width: int, beside: int, counts: Sequence[int]) -> int:
    """What the samples take: float32 features, and `beside` them targets and weights of eight bytes."""
    return (4 * width + beside) * sum(counts)


def _file(folder: Path | None, part: str, content: str, rows: int) -> Path | None:
    return folder / f"{part}.{content}" if folder and rows else None
