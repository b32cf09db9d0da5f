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


@settings(max_examples=60, deadline=None)
@given(tables())
def test_the_graph_gives_the_same_inputs(drawn: tuple[Preprocessor, dict[str, Column]]) -> None:
    preprocessor, table = drawn
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
    # A runtime may take numbers near the smallest of float32 for 0.
    np.testing.assert_allclose(said, preprocessor.transform(table), rtol=0, atol=1e-36)
