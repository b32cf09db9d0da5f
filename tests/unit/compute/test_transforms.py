"""Columns made of others, beside the same by hand; and models that read them, however they are kept."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from math import e, nan

import numpy as np
import pytest

from services.training.compute.backend import open_backend
from services.training.compute.errors import ComputeError
from services.training.compute.export.onnx_file import onnx_file
from services.training.compute.loop import NullLoop
from services.training.compute.model import TrainedModel
from services.training.compute.prepare import Problem
from services.training.compute.table import Categories, Column
from services.training.compute.trainer import Fitted, fit
from services.training.compute.transforms import Transform, fit_transforms, with_made
from services.training.domain.hyperparameters import BoostedTrees, Hyperparameters, Linear, Logistic, Mlp
from services.training.domain.transforms import FeatureTransform, TransformKind
from tests.unit.compute.exported import run
from tests.unit.compute.tables import Interrupted, text


def asked(kind: str, *columns: str, bins: int = 0) -> FeatureTransform:
    return FeatureTransform(TransformKind(kind), columns, bins)


def made(one: FeatureTransform, table: dict[str, Column], training: dict[str, Column] | None = None) -> list:
    """The columns it makes, as lists; of categories with their texts."""
    learned_from = training or table
    rows = len(next(iter(learned_from.values())))
    [fitted] = fit_transforms([one], rows, lambda names: [learned_from], list(table))
    restored = Transform.restore(json.loads(json.dumps(fitted.metadata())))
    assert restored == fitted
    found = [with_made(table, [restored])[name] for name in one.names]
    return [
        [column.vocabulary[code] if code >= 0 else None for code in column.codes]
        if isinstance(column, Categories)
        else column.tolist()
        for column in found
    ]


def test_logarithms_of_any_sign() -> None:
    [found] = made(asked("LOG", "x"), {"x": np.array([0.0, e - 1, 1 - e, 999.0, nan, 1e-13])})
    assert found == pytest.approx([0, 1, -1, np.log(1000), nan, 1e-13], nan_ok=True, rel=1e-9)


def test_ratios_and_differences() -> None:
    table = {"a": np.array([6.0, 1.0, -3.0, nan, 4.0, 0.0]), "b": np.array([2.0, 0.0, 4.0, 1.0, nan, -2.0])}
    [ratio] = made(asked("RATIO", "a", "b"), table)
    assert ratio == pytest.approx([3, nan, -0.75, nan, nan, 0], nan_ok=True)
    [difference] = made(asked("DIFFERENCE", "a", "b"), table)
    assert difference == pytest.approx([4, 1, -7, nan, nan, 2], nan_ok=True)


def test_intervals_hold_as_many_training_rows_each() -> None:
    training: dict[str, Column] = {"x": np.array([5.0, 1.0, 2.0, 900.0, 3.0, 4.0, nan, 1000.0, 7.0, 6.0])}
    one = asked("BINS", "x", bins=3)
    [found] = made(one, training)
    assert found == ["1", "0", "0", "2", "0", "1", None, "2", "2", "1"]
    new = {"x": np.array([-1e9, 3.99, 4.0, 6.99, 7.0, np.inf, nan])}
    assert made(one, new, training) == [["0", "0", "1", "1", "2", "2", None]]
    constant: dict[str, Column] = {"x": np.array([2.0, 2.0, nan])}
    assert made(one, constant) == [["0", "0", None]]


def test_shares_are_those_of_training_rows() -> None:
    one, training = asked("FREQUENCY", "c"), {"c": text("b", "a", "b", None, "b")}
    assert made(one, {"c": text("a", "new", None, "b")}, training)[0] == pytest.approx(
        [0.2, 0, nan, 0.6], nan_ok=True
    )


def test_parts_of_a_date_are_those_of_the_calendar() -> None:
    random = np.random.default_rng(0)
    times = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)]
    times += [datetime(2000, 2, 29, 23, tzinfo=UTC), datetime(1900, 3, 1, tzinfo=UTC)]
    times += [datetime.fromtimestamp(int(s), UTC) for s in random.integers(-6e10, 2e11, 2000)]
    seconds = np.array([*(time.timestamp() for time in times), nan, 1e300, -1e12])
    hour, weekday, day, month = made(asked("DATE_PARTS", "t"), {"t": seconds})
    expected = [(time.hour, time.weekday(), time.day, time.month) for time in times]
    assert list(zip(hour, weekday, day, month, strict=True))[: len(times)] == expected
    assert np.isnan([hour[-3:], weekday[-3:], day[-3:], month[-3:]]).all()


def test_names_that_are_taken_are_refused() -> None:
    with pytest.raises(ComputeError, match=r"'log\(x\)' would be there twice"):
        fit_transforms([asked("LOG", "x")], 1, lambda names: [], ["x", "log(x)"])


EVERY = (
    asked("LOG", "debt"),
    asked("BINS", "income", bins=5),
    asked("RATIO", "debt", "income"),
    asked("DIFFERENCE", "debt", "income"),
    asked("DATE_PARTS", "time"),
    asked("FREQUENCY", "city"),
)


def loans(rows: int, seed: int) -> dict[str, Column]:
    """Debts, incomes of which some are missing, a few 0, times, and cities that are alike to one-hot."""
    random = np.random.default_rng(seed)
    debt, income = random.lognormal(8, 1, rows), random.lognormal(9, 1, rows)
    y = debt / income
    income[random.random(rows) < 0.05] = np.nan
    time = 1.5e9 + random.integers(0, 10**8, rows).astype(float)
    city = random.choice([f"city {number}" for number in range(40)], rows, p=np.arange(1, 41) / 820)
    texts = [None if random.random() < 0.1 else str(one) for one in city]
    return {"debt": debt, "income": income, "time": time, "city": text(*texts), "y": y}


def trained(params: Hyperparameters, transforms: tuple[FeatureTransform, ...], **more: object) -> Fitted:
    table = loans(1500, 1)
    task, values = "regression", table["y"]
    if params.name == "logistic":
        assert not isinstance(values, Categories)
        table["y"], task = (values > 0.4).astype(float), "classification"
    problem = Problem(task, "y", params, transforms=transforms)  # type: ignore[arg-type]
    return fit(problem, table, None, None, NullLoop(), open_backend("numpy"), **more)  # type: ignore[arg-type]


def test_a_line_can_tell_a_ratio_that_is_made_for_it() -> None:
    without, with_it = (trained(Linear(), one) for one in ((), (asked("RATIO", "debt", "income"),)))
    assert without.test_metrics["r2"] < 0.6
    assert with_it.test_metrics["r2"] > 0.85


@pytest.mark.parametrize(
    "params",
    [Linear(), Logistic(), Mlp(hidden_sizes=(8,), max_epochs=3, ensemble_size=2), BoostedTrees(20)],
    ids=lambda params: params.name,
)
def test_a_model_takes_rows_as_they_are_wherever_it_is_kept(params: Hyperparameters) -> None:
    model = trained(params, EVERY).model
    assert model is not None
    assert set(model.preprocessor.reads) == {"debt", "income", "time", "city"}
    assert {"log(debt)", "bins(income)", "weekday(time)"} <= set(model.preprocessor.names)
    table = loans(300, 2)
    del table["y"]
    for name, strange in (("debt", [nan, 0.0, -5.0, np.inf, 1e-9]), ("income", [0.0, nan, -1.0, 1e300, 2.0])):
        table[name][: len(strange)] = strange  # type: ignore[index]
    table["time"][:3] = [-1e9, nan, 4e12]  # type: ignore[index]
    expected = model.predict(table)
    restored = TrainedModel.restore(json.loads(json.dumps(model.metadata())), model.arrays())
    assert restored.predict(table).values == expected.values
    said = run(onnx_file(model), table)
    if expected.probabilities is None:
        scale = np.abs(expected.values).max()  # type: ignore[arg-type]
        np.testing.assert_allclose(said["value"], expected.values, atol=1e-5 * scale)
    else:
        np.testing.assert_allclose(said["probabilities"], expected.probabilities, atol=1e-5)


def test_a_fit_that_goes_on_makes_the_same_columns() -> None:
    params = Mlp(hidden_sizes=(8,), max_epochs=4, ensemble_size=1)
    problem, backend = Problem("regression", "y", params, transforms=EVERY), open_backend("numpy")
    whole = fit(problem, loans(400, 1), None, None, NullLoop(), backend)
    loop = Interrupted(last=5)
    assert fit(problem, loans(400, 1), None, None, loop, backend).stopped
    resumed = fit(problem, loans(400, 1), None, None, NullLoop(), backend, resume=loop.states[-1])
    assert whole.model is not None
    assert resumed.model is not None
    new = loans(50, 3)
    assert resumed.model.predict(new).values == whole.model.predict(new).values


def test_a_model_to_begin_with_has_the_same_columns() -> None:
    start = trained(Linear(), EVERY[:2]).model
    assert trained(Linear(), EVERY[:2], start=start).model is not None
    with pytest.raises(ComputeError, match=r"transforms: is none, but bins\(income\), log\(debt\) in"):
        trained(Linear(), (), start=start)
