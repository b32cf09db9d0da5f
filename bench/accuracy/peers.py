"""One model of others at its defaults on one dataset; what it predicts for the test rows goes to a file.

    python -m bench.accuracy.peers MODEL DATASET_FOLDER OUTPUT.npz

Runs in the environment of requirements/bench-accuracy.lock, on one thread. OUTPUT holds `predictions`, which
are probabilities (n, classes) or values (n,), `truth` (n,), `classes` and `seconds`. RealMLP and TabM get
the validation rows for their early stopping; the others, which ask for none, do not. Where a model takes no
categories, or no missing values, it gets them as scikit-learn's guides do it: one-hot or ordinal codes,
medians with an indicator.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SEED = 0


@dataclass(frozen=True)
class Data:
    """A dataset's parts: columns as a frame, and the target as class numbers or values."""

    x: dict[str, pd.DataFrame]
    y: dict[str, np.ndarray]
    classes: np.ndarray
    categories: list[str]

    @property
    def regression(self) -> bool:
        return not len(self.classes)


def read(folder: Path) -> Data:
    """Columns of categories as text, all others as numbers."""
    meta = json.loads((folder / "meta.json").read_text())
    target, regression = meta["target"], meta["task"] == "regression"
    types = dict.fromkeys(meta["categories"], str) | ({} if regression else {target: str})
    parts = {
        part: pd.read_csv(folder / f"{part}.csv", dtype=types, keep_default_na=False, na_values=[""])
        for part in ("train", "validation", "test")
    }
    y = {part: rows.pop(target).to_numpy() for part, rows in parts.items()}
    classes = np.array([]) if regression else np.unique(y["train"].astype(str))
    if not regression:
        y = {part: np.searchsorted(classes, answers.astype(str)) for part, answers in y.items()}
    return Data(parts, y, classes, meta["categories"])


def medians(data: Data) -> dict[str, pd.DataFrame]:
    """Without missing numbers: medians of the training rows, and a column that says so for each."""
    filled = {part: rows.copy() for part, rows in data.x.items()}
    for column in data.x["train"].columns.difference(data.categories):
        median = data.x["train"][column].median()
        gaps = data.x["train"][column].isna().any()
        for part, rows in data.x.items():
            filled[part][column] = rows[column].fillna(median).astype(float)
            if gaps:
                filled[part][f"{column} missing"] = rows[column].isna().astype(float)
    for column in data.categories:
        for rows in filled.values():
            rows[column] = rows[column].fillna("(missing)")
    return filled


def one_hot(data: Data) -> dict[str, np.ndarray]:
    """Standardised numbers and one-hot categories, for what knows numbers only."""
    from sklearn.compose import make_column_transformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frames = medians(data)
    numbers = [column for column in frames["train"] if column not in data.categories]
    encode = make_column_transformer(
        (StandardScaler(), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), data.categories),
    ).fit(frames["train"])
    return {part: encode.transform(rows) for part, rows in frames.items()}


def ordinal(data: Data) -> dict[str, np.ndarray]:
    """Categories as numbers, for the forest; those never seen are -1."""
    from sklearn.compose import make_column_transformer
    from sklearn.preprocessing import OrdinalEncoder

    frames = medians(data)
    encode = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), data.categories),
        remainder="passthrough",
    ).fit(frames["train"])
    return {part: encode.transform(rows) for part, rows in frames.items()}


def native(data: Data) -> dict[str, pd.DataFrame]:
    """Missing numbers as they are, categories as such; those never seen are missing."""
    frames = {part: rows.copy() for part, rows in data.x.items()}
    for column in data.categories:
        known = pd.CategoricalDtype(sorted(data.x["train"][column].dropna().unique()))
        for rows in frames.values():
            rows[column] = rows[column].astype(known)
    return frames


def sklearn_like(classifier: Any, regressor: Any, inputs: Callable[[Data], Any], data: Data) -> np.ndarray:
    """Fitted on the training rows alone."""
    x, model = inputs(data), regressor if data.regression else classifier
    model.fit(x["train"], data.y["train"])
    return model.predict(x["test"]) if data.regression else model.predict_proba(x["test"])


def pytabkit_like(classifier: Any, regressor: Any, data: Data) -> np.ndarray:
    """Fitted on the training rows, stopped by the validation rows."""
    import torch

    torch.set_num_threads(1)
    model = (regressor if data.regression else classifier)(n_threads=1, device="cpu", random_state=SEED)
    x = medians(data)
    y = {part: answers.astype(np.float32) if data.regression else answers for part, answers in data.y.items()}
    model.fit(x["train"], y["train"], x["validation"], y["validation"], cat_col_names=data.categories)
    return model.predict(x["test"]) if data.regression else model.predict_proba(x["test"])


def realmlp(data: Data) -> np.ndarray:
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

    return pytabkit_like(RealMLP_TD_Classifier, RealMLP_TD_Regressor, data)


def tabm(data: Data) -> np.ndarray:
    from pytabkit import TabM_D_Classifier, TabM_D_Regressor

    return pytabkit_like(TabM_D_Classifier, TabM_D_Regressor, data)


def lightgbm(data: Data) -> np.ndarray:
    from lightgbm import LGBMClassifier, LGBMRegressor

    told = {"n_jobs": 1, "random_state": SEED, "verbose": -1}
    return sklearn_like(LGBMClassifier(**told), LGBMRegressor(**told), native, data)


def histgradient(data: Data) -> np.ndarray:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    told = {"random_state": SEED, "categorical_features": "from_dtype"}
    return sklearn_like(
        HistGradientBoostingClassifier(**told), HistGradientBoostingRegressor(**told), native, data
    )


def forest(data: Data) -> np.ndarray:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    told = {"n_jobs": 1, "random_state": SEED}
    return sklearn_like(RandomForestClassifier(**told), RandomForestRegressor(**told), ordinal, data)


def xgboost(data: Data) -> np.ndarray:
    from xgboost import XGBClassifier, XGBRegressor

    told = {"n_jobs": 1, "random_state": SEED, "enable_categorical": True}
    return sklearn_like(XGBClassifier(**told), XGBRegressor(**told), native, data)


def sklearn_mlp(data: Data) -> np.ndarray:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    told = {"random_state": SEED}
    return sklearn_like(MLPClassifier(**told), MLPRegressor(**told), one_hot, data)


def linear(data: Data) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression, Ridge

    return sklearn_like(LogisticRegression(max_iter=2000), Ridge(), one_hot, data)


MODELS = {
    function.__name__: function
    for function in (realmlp, lightgbm, histgradient, forest, xgboost, sklearn_mlp, linear, tabm)
}


def main() -> None:
    warnings.simplefilter("ignore")
    model, folder, output = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    data = read(folder)
    began = time.monotonic()
    predictions = np.asarray(MODELS[model](data), dtype=np.float64)
    seconds = time.monotonic() - began
    np.savez(output, predictions=predictions, truth=data.y["test"], classes=data.classes, seconds=seconds)


if __name__ == "__main__":
    main()
