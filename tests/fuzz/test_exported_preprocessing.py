"""Preprocessing of any columns and any values is the same in an ONNX graph."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from services.training.compute.columns import CategoryColumn, NumericColumn
from services.training.compute.export.graph import Graph
from services.training.compute.export.rows import packed_rows
from services.training.compute.preprocessing import Preprocessor
from services.training.compute.table import Column
from services.training.compute.transforms import Transform
from services.training.domain.transforms import FeatureTransform, TransformKind
from tests.unit.compute.exported import given as as_given
from tests.unit.compute.tables import text

NUMBERS = st.floats(width=64) | st.sampled_from([0.0, -0.0, 5e-324, 1.7976931348623157e308])
# An empty text is a missing value to ONNX; a value of that text is tried in tests/unit.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
NUMERIC = st.builds(
    NumericColumn,
    st.just(""),
    # onnxruntime leaves out the subtraction of a lone number that is 0 as float32.
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda mean: not 0 < abs(mean) < 1e-37),
    st.just(0.0) | st.floats(1e-300, 1e300),
    st.booleans(),
)
CATEGORY = st.builds(
    CategoryColumn,
    st.just(""),
    st.lists(TEXTS, min_size=1, max_size=5, unique=True).map(tuple),
    st.booleans(),
    st.booleans(),
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Preprocessor, dict[str, Column]]:
    drawn = draw(st.lists(NUMERIC | CATEGORY, min_size=1, max_size=5))
    rows, table, columns = draw(st.integers(1, 4)), {}, []
    for number, column in enumerate(drawn):
        name = f"c{number}"
        columns.append(type(column)(name, *list(vars(column).values())[1:]))
        if isinstance(column, NumericColumn):
            table[name] = np.array(draw(st.lists(NUMBERS, min_size=rows, max_size=rows)))
        else:
            values = st.none() | st.sampled_from(column.kept) | TEXTS
            table[name] = text(*draw(st.lists(values, min_size=rows, max_size=rows)))
    return Preprocessor(tuple(columns), ()), table


KINDS = {
    kind: FeatureTransform(kind, ("a", "b")[: kind.arity] if kind is not TransformKind.FREQUENCY else ("c",))
    for kind in TransformKind
}
TIMES = NUMBERS | st.integers(-62_135_596_801, 253_402_300_800).map(float)


@st.composite
def made_columns(draw: st.DrawFn) -> tuple[Preprocessor, dict[str, Column]]:
    """Of every kind of transform one; of numbers and points in time a and b, and texts c."""
    rows = draw(st.integers(1, 4))
    table: dict[str, Column] = {
        name: np.array(draw(st.lists(TIMES, min_size=rows, max_size=rows))) for name in ("a", "b")
    }
    shares = draw(st.dictionaries(TEXTS, st.floats(0, 1), min_size=1, max_size=4))
    seen = st.none() | st.sampled_from(list(shares)) | TEXTS
    table["c"] = text(*draw(st.lists(seen, min_size=rows, max_size=rows)))
    edges = sorted(set(draw(st.lists(TIMES.filter(np.isfinite), max_size=4))))
    learned = {
        TransformKind.BINS: {"edges": tuple(edges)},
        TransformKind.FREQUENCY: {"shares": tuple(shares.items())},
    }
    transforms = tuple(Transform(KINDS[kind], **learned.get(kind, {})) for kind in TransformKind)
    columns: list[NumericColumn | CategoryColumn] = []
    for one in transforms:
        for name in one.asked.names:
            if one.asked.kind is TransformKind.BINS:
                kept = draw(st.permutations([str(number) for number in range(len(edges) + 1)]))
                columns.append(
                    CategoryColumn(name, tuple(kept[:3]), draw(st.booleans()), draw(st.booleans()))
                )
            else:
                columns.append(NumericColumn(name, 0.0, 1.0, draw(st.booleans())))
    return Preprocessor(tuple(columns), (), transforms), table


@settings(max_examples=60, deadline=None)
@given(made_columns())
def test_the_graph_makes_the_same_columns(drawn: tuple[Preprocessor, dict[str, Column]]) -> None:
    said, expected = both(*drawn)
    np.testing.assert_allclose(said, expected, rtol=1e-6, atol=1e-36)


@settings(max_examples=60, deadline=None)
@given(tables())
def test_the_graph_gives_the_same_inputs(drawn: tuple[Preprocessor, dict[str, Column]]) -> None:
    said, expected = both(*drawn)
    # A runtime may take numbers near the smallest of float32 for 0.
    np.testing.assert_allclose(said, expected, rtol=0, atol=1e-36)


def both(preprocessor: Preprocessor, table: dict[str, Column]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of a model, by the graph and by the preprocessor."""
    graph = Graph({*table, "inputs"})
    graph.name_output(
        packed_rows(graph, preprocessor, {name: name for name in table}).expanded(graph), "inputs"
    )
    feed = {name: as_given(column) for name, column in table.items()}
    kinds = {True: onnx.TensorProto.STRING, False: onnx.TensorProto.DOUBLE}
    inputs = [
        helper.make_tensor_value_info(name, kinds[value.dtype == object], ["n", 1])
        for name, value in feed.items()
    ]
    output = helper.make_tensor_value_info("inputs", onnx.TensorProto.FLOAT, ["n", preprocessor.width])
    model = graph.model(inputs, [output], {})
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (said,) = session.run(None, feed)
    return said, preprocessor.transform(table)
