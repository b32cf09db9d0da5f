"""What the checks look at: some rows of each part, and what tells all its rows apart."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from services.training.compute.columns import categories_of, numbers_of
from services.training.compute.preprocessing import Preprocessor
from services.training.compute.splits import UNUSED, Parts
from services.training.compute.table import Categories, Column, Columns, FloatArray, IntArray, row_count, take
from services.training.compute.targets import Target

Hashes: TypeAlias = npt.NDArray[np.uint64]

# Rows of a part whose values are looked at, and values in all; of more, rows evenly far from each other.
MOST_ROWS = (20_000, 10_000, 10_000)
_MOST_NUMBERS = 4_000_000
# Rows of all parts that are told apart; of more, those whose hash is divisible by a power of two. So equal
# rows are in it together or not at all.
MOST_HASHED = 2_000_000
_MIX = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


@dataclass(frozen=True)
class Part:
    """A part of the data. hashes: equal for equal rows; of all rows, but see MOST_HASHED.

    sample, sample_hashes, targets: some of its rows, their hashes and their encoded targets.
    """

    rows: int
    sample: Columns
    sample_hashes: Hashes
    targets: npt.NDArray[Any]
    hashes: Hashes


class Gathering:
    """Takes the blocks of all parts as they come."""

    def __init__(self, preprocessor: Preprocessor, target: Target, counts: Sequence[int]) -> None:
        """counts: rows of each part."""
        self._reads, self._target, self._counts = preprocessor.reads, target, counts
        at_once = max(1, _MOST_NUMBERS // max(1, len(self._reads)))
        self._most = [min(rows, at_once) for rows in MOST_ROWS]
        bits = max(0, (sum(counts) - 1) // MOST_HASHED).bit_length()
        self._mask = np.uint64(2**bits - 1)
        self._seen = [0, 0, 0]
        self._samples: list[list[Columns]] = [[], [], []]
        self._targets: list[list[npt.NDArray[Any]]] = [[], [], []]
        self._hashes: list[list[Hashes]] = [[], [], []]
        self._sample_hashes: list[list[Hashes]] = [[], [], []]

    def add(self, block: Columns, parts: Parts) -> None:
        """parts: (m,), where each row of the block goes."""
        hashes = self._hashed(block)
        kept = hashes & self._mask == 0
        for part in np.unique(parts[parts != UNUSED]).tolist():
            mine = parts == part
            self._hashes[part].append(hashes[mine & kept])
            rows = np.flatnonzero(mine)
            chosen = rows[self._chosen(part, len(rows))]
            if len(chosen):
                self._sample_hashes[part].append(hashes[chosen])
                found = take(block, chosen)
                self._samples[part].append({name: found[name] for name in self._reads})
                self._targets[part].append(self._target.of(found) if self._target.name else np.empty(0))

    def finish(self) -> tuple[Part, Part, Part]:
        """The parts in their order."""
        train, validation, test = (self._part(number) for number in range(3))
        return train, validation, test

    def _part(self, number: int) -> Part:
        pieces = self._samples[number]
        sample = {
            name: _joined([piece[name] for piece in pieces], name, text) for name, text in self._reads.items()
        }
        targets = np.concatenate(self._targets[number] or [np.empty(0)])
        hashes, of_sample = (
            np.concatenate(found[number] or [np.empty(0, np.uint64)])
            for found in (self._hashes, self._sample_hashes)
        )
        return Part(self._counts[number], sample, of_sample, targets, hashes)

    def _chosen(self, part: int, rows: int) -> IntArray:
        """Which of the next rows of a part are in its sample."""
        places = self._seen[part] + np.arange(rows)
        self._seen[part] += rows
        count, most = max(1, self._counts[part]), self._most[part]
        if count <= most:
            return np.arange(rows)
        return np.flatnonzero((places + 1) * most // count > places * most // count)

    def _hashed(self, block: Columns) -> Hashes:
        """(m,): equal for rows with the same values in every column."""
        found = np.full(row_count(block), _MIX)
        for name, text in self._reads.items():
            bits = _text_bits(name, block[name]) if text else _number_bits(name, block[name])
            found ^= bits
            found *= _MIX
            found ^= found >> _SHIFT
        return found


def _number_bits(name: str, column: Column) -> Hashes:
    values = numbers_of(name, column) + 0.0  # −0 is 0
    values[np.isnan(values)] = np.nan
    return values.view(np.uint64)


def _text_bits(name: str, column: Column) -> Hashes:
    values = categories_of(name, column)
    used = np.unique(values.codes[values.codes >= 0])
    bits = np.zeros(len(values.vocabulary) + 1, np.uint64)  # the last entry is what code −1 picks
    bits[used] = [1 + zlib.crc32(values.vocabulary[code].encode()) for code in used.tolist()]
    return bits[values.codes]


def _joined(pieces: Sequence[Column], name: str, categorical: bool) -> Column:
    if categorical:
        return _joined_texts([categories_of(name, piece) for piece in pieces])
    values: FloatArray = np.concatenate([np.empty(0), *(numbers_of(name, piece) for piece in pieces)])
    return values


def _joined_texts(pieces: Iterable[Categories]) -> Categories:
    known: dict[str, int] = {}
    codes = [np.empty(0, np.int32)]
    for piece in pieces:
        places = np.full(len(piece.vocabulary) + 1, -1, np.int32)
        for code in np.unique(piece.codes[piece.codes >= 0]).tolist():
            places[code] = known.setdefault(piece.vocabulary[code], len(known))
        codes.append(places[piece.codes])
    return Categories(np.concatenate(codes), tuple(known))


def counts_of(column: Column) -> Mapping[Any, int]:
    """Value → how often it comes; of a missing one, under None."""
    if isinstance(column, Categories):
        codes, counts = np.unique(column.codes, return_counts=True)
        names = [column.vocabulary[code] if code >= 0 else None for code in codes.tolist()]
        return dict(zip(names, counts.tolist(), strict=True))
    known = column[~np.isnan(column)]
    values, counts = np.unique(known, return_counts=True)
    missing = len(column) - len(known)
    found = dict(zip(values.tolist(), counts.tolist(), strict=True))
    return {**found, None: missing} if missing else found
