"""A trained model: everything that predicting needs, in arrays and JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.training.compute.calibration import apply_temperature
from services.training.compute.errors import ComputeError
from services.training.compute.estimators.base import Arrays, Matrix
from services.training.compute.estimators.registry import PACKED, estimator
from services.training.compute.explanation import Explanation
from services.training.compute.preprocessing import Preprocessor
from services.training.compute.table import Columns
from services.training.compute.targets import ClassTarget, Target, ValueTarget, restore_target
from services.training.domain.hyperparameters import Hyperparameters, from_json, to_json

FORMAT_VERSION = 2
_PREPROCESSING, _LEARNED = "preprocessing.", "learned."
_TEMPERATURE = "calibration.temperature"


@dataclass(frozen=True)
class Predictions:
    """One prediction a row.

    values: class texts, numbers in the target's units, or numbers of clusters.
    probabilities: (n, classes) in the order of `classes`, rows summing to 1; None where there are no classes.
    """

    values: list[str] | list[float]
    classes: tuple[str, ...] = ()
    probabilities: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class TrainedModel:
    """Learned state kept apart from hyperparameters; predicts on the host, whatever it was trained on.

    temperature: what its probabilities are scaled by, see `calibration`.
    explanation: see `importance`; None where there is none, or an earlier release trained it.
    """

    hyperparameters: Hyperparameters
    preprocessor: Preprocessor
    target: Target
    learned: Arrays
    temperature: float = 1.0
    explanation: Explanation | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the caller should know about the columns: those left out, those without effect."""
        return self.preprocessor.warnings

    def predict(self, table: Columns) -> Predictions:
        """Predicts every row. A row's prediction does not depend on the others, up to rounding.

        Raises ComputeError naming a feature column that is missing or of the wrong kind.
        """
        outputs = self.outputs(self.inputs(table))
        if not isinstance(self.target, ClassTarget):
            return Predictions(outputs.tolist())
        texts = [self.target.classes[code] for code in outputs.argmax(axis=1)]
        return Predictions(texts, self.target.classes, outputs)

    def inputs(self, table: Columns) -> Matrix:
        """Rows as the algorithm takes them, packed or not; raises as `predict` does."""
        packed = self.hyperparameters.name in PACKED
        return self.preprocessor.pack(table) if packed else self.preprocessor.transform(table)

    def outputs(self, features: Matrix) -> npt.NDArray[np.float64]:
        """Probabilities (n, classes), values in the target's units or numbers of clusters (n,).

        features: rows as the algorithm takes them, packed or not.
        """
        classes = len(self.target.classes) if isinstance(self.target, ClassTarget) else 0
        if not len(features):
            return np.zeros((0, classes) if classes else 0)
        outputs = estimator(self.hyperparameters, classes).predict(self.learned, features)
        if classes:
            return apply_temperature(outputs, self.temperature)
        return self.target.decode(outputs) if isinstance(self.target, ValueTarget) else outputs

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Every learned array, C-contiguous, under `preprocessing.…`, `learned.…` or `calibration.…`."""
        found: dict[str, npt.NDArray[np.generic]] = {}
        found |= {_PREPROCESSING + name: array for name, array in self.preprocessor.arrays().items()}
        if isinstance(self.target, ClassTarget):
            found[_TEMPERATURE] = np.array([self.temperature])
        found |= {_LEARNED + name: np.ascontiguousarray(array) for name, array in self.learned.items()}
        return found

    def metadata(self) -> dict[str, Any]:
        """Everything else, fit for JSON; `format_version` says how to read it and the arrays."""
        return {
            "format_version": FORMAT_VERSION,
            "hyperparameters": to_json(self.hyperparameters),
            "preprocessing": self.preprocessor.metadata(),
            "target": self.target.metadata(),
            "explanation": self.explanation.metadata() if self.explanation else None,
        }

    @classmethod
    def restore(cls, metadata: Mapping[str, Any], arrays: Arrays) -> TrainedModel:
        """The inverse of `metadata()` and `arrays()`; raises ComputeError for another format version."""
        version = metadata.get("format_version")
        if version != FORMAT_VERSION:
            raise ComputeError(
                "format_version", f"this release reads {FORMAT_VERSION}, the model has {version}"
            )
        explained = metadata.get("explanation")
        return cls(
            from_json(metadata["hyperparameters"]),
            Preprocessor.restore(metadata["preprocessing"], _under(_PREPROCESSING, arrays)),
            restore_target(metadata["target"]),
            _under(_LEARNED, arrays),
            float(arrays[_TEMPERATURE][0]) if _TEMPERATURE in arrays else 1.0,
            Explanation.restore(explained) if explained else None,
        )


def weights_sha256(arrays: Arrays) -> str:
    """Hex digest over each array's name, dtype, shape and bytes, by name; equal for equal models only."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}\n{array.dtype.str}\n{array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _under(prefix: str, arrays: Arrays) -> dict[str, npt.NDArray[np.generic]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
