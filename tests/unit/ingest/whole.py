"""An Arrow file read whole, as the tests want it; the product reads it in blocks only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from services.training.adapters.ingest import ArrowTable
from services.training.compute.table import Categories, Column


def read_table(path: Path) -> dict[str, Column]:
    """Every column, in the order of the file; the vocabulary of text is sorted."""
    table = ArrowTable(path)
    blocks = list(table.blocks(table.names))
    return {name: _together([block[name] for block in blocks]) for name in table.names}


def _together(parts: Sequence[Column]) -> Column:
    texts = [part for part in parts if isinstance(part, Categories)]
    if not texts:
        return np.concatenate([np.asarray(part) for part in parts])
    vocabulary = tuple(sorted({word for part in texts for word in part.vocabulary}))
    position = {word: code for code, word in enumerate(vocabulary)}
    codes = [np.array([*(position[word] for word in part.vocabulary), -1])[part.codes] for part in texts]
    return Categories(np.concatenate(codes).astype(np.int32), vocabulary)
