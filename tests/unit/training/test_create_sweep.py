"""What CreateSweep finds out before anything is tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from mlapi.training.v1 import sweep_pb2, sweep_service_pb2

from services.chassis.errors import InvalidArgument, NotFound
from services.training.adapters.store_sql import SqlStore
from services.training.application.create_sweep import CreateSweep, folds_for
from services.training.domain.dataset import ColumnType
from services.training.domain.job import Device
from services.training.domain.pruning import PrunerKind
from services.training.domain.sweep import Prices, Sweep, SweepState
from services.training.domain.trial import Trial, TrialState
from services.training.domain.usual_space import usual_space
from services.training.rpc import mapping_sweeps
from tests.unit.training.samples import NOW, column, content, dataset, spec

Create: TypeAlias = Callable[..., Sweep]
GOOD: dict[str, Any] = {
    "job": {"dataset_id": "table", "target": "kind", "logistic": {}},
    "budget": {"max_trials": 4},
}


TEXT = ColumnType.TEXT
WIDE = content(
    "c3", *map(column, ("x", "y", "z", "5")), column("word", TEXT), column("kind", TEXT, distinct=3)
)


@pytest.fixture
def use_case(store: SqlStore) -> CreateSweep:
    with store.write() as tx:
        tx.datasets.put(replace(dataset("table", content("a1")), version=1))
        tx.datasets.put(replace(dataset("other", content("b2")), version=1))
        tx.datasets.put(replace(dataset("wide", WIDE), version=1))
    return CreateSweep(store, lambda: NOW, lambda: None, {Device.CPU: 3})


@pytest.fixture
def create(use_case: CreateSweep) -> Create:
    def asked(request_id: str = "", validate_only: bool = False, **changes: Any) -> Sweep:
        message = ParseDict({**GOOD, **changes}, sweep_service_pb2.CreateSweepRequest())
        return use_case(mapping_sweeps.sweep_request(message, "default"), request_id, validate_only)

    return asked


def stored(store: SqlStore) -> list[Sweep]:
    with store.read() as tx:
        return tx.sweeps.in_states(SweepState)


def test_a_sweep_is_created_with_what_is_usual(create: Create, store: SqlStore) -> None:
    made = create()
    assert stored(store) == [made]
    assert (made.metric, made.parallel, made.sampler, made.rows) == ("log_loss", 3, "tpe", 100)
    assert made.space == usual_space(made.base.hyperparameters, "classification")
    sent = mapping_sweeps.sweep(made, Prices())
    assert (sent.state, sent.base.job_id, sent.base.logistic.l2) == (sweep_pb2.Sweep.RUNNING, "", 1.0)
    assert mapping_sweeps._space(sent.space) == made.space


def test_the_platform_chooses_blend_and_its_parts_are_searched(create: Create) -> None:
    made = create(job={"dataset_id": "table", "target": "kind"})
    assert made.base.hyperparameters.name == "blend"
    names = {one.name for one in made.space.parameters}
    assert {"mlp.learning_rate", "boosted_trees.max_depth"} <= names


def test_request_ids_are_replayed_and_checking_creates_nothing(create: Create, store: SqlStore) -> None:
    assert create(validate_only=True).sweep_id == ""
    assert stored(store) == []
    assert create("once") == create("once")
    assert len(stored(store)) == 1


SPACE = [{"name": "l2", "float": {"low": 0.01, "high": 10, "log": True}}]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"job": {"target": "kind"}}, "job.dataset_id"),
        ({"job": {**GOOD["job"], "target": "nowhere"}}, "job.target"),
        ({"job": {**GOOD["job"], "display_name": "x"}}, "job.display_name"),
        ({"job": {**GOOD["job"], "request_id": "x"}}, "job.request_id"),
        ({"job": {**GOOD["job"], "validate_only": True}}, "job.validate_only"),
        ({"job": {**GOOD["job"], "logistic": {"l2": -1}}}, "job.logistic.l2"),
        ({"job": {**GOOD["job"], "split": {"validation_fraction": 0}}}, "job.split.validation_fraction"),
        ({"budget": {"max_trials": 0}}, "budget.max_trials"),
        ({"budget": {"max_trials": 1001}}, "budget.max_trials"),
        ({"budget": {"max_trials": 1, "max_seconds": -1}}, "budget.max_seconds"),
        ({"budget": {"max_trials": 1, "max_cost_usd": 1}}, "budget.max_cost_usd"),  # nothing has a price here
        ({"parallel": 65}, "parallel"),
        ({"metric": "rmse"}, "metric"),
        ({"pruner": "ASHA"}, "pruner"),  # logistic
        ({"pruner": 7}, "pruner"),
        ({"space": [{"name": "l2"}]}, "space[0]"),
        ({"space": [*SPACE, *SPACE]}, "space[1].name"),
        ({"space": [{"name": "l2", "choice": {"values": [1, True]}}]}, "space[0].choice.values[1]"),
        ({"proposals": [{"values": {"l2": 1}}, {"values": {"l1": 1}}]}, "proposals[1].values.l1"),
        ({"proposals": [{"values": {"l2": None}}]}, "proposals[0].values.l2"),
        ({"proposals": [{}]}, "proposals[0].values"),
        ({"proposals": [{"values": {"l2": 1}}] * 5}, "proposals"),
    ],
)
def test_what_is_wrong_is_named(create: Create, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        create(**changes)
    assert [one.field for one in refused.value.violations] == [field]


def test_a_pruner_is_taken_where_an_algorithm_can_be_pruned(create: Create) -> None:
    job = {"dataset_id": "table", "target": "kind"}
    names = {"name": "algorithm", "choice": {"values": ["logistic", "mlp"]}}
    for asked in (create(job={**job, "mlp": {}}, pruner="ASHA"), create(space=[names], pruner="ASHA")):
        assert mapping_sweeps.sweep(asked, Prices()).pruner == sweep_pb2.ASHA
    assert mapping_sweeps.sweep(create(), Prices()).pruner == sweep_pb2.PRUNER_UNSPECIFIED


@pytest.mark.parametrize(
    ("changes", "folds"),
    [
        ({}, 5),  # of the hundred rows here
        ({"folds": 1}, 1),
        ({"folds": 10}, 10),
        ({"job": {"dataset_id": "table", "target": "kind"}, "pruner": "ASHA"}, 1),
        ({"job": {**GOOD["job"], "validation_dataset_id": "other"}}, 1),
    ],
)
def test_few_rows_are_divided_into_folds(create: Create, changes: dict[str, Any], folds: int) -> None:
    made = create(**changes)
    assert made.spec_of({}).folds == mapping_sweeps.sweep(made, Prices()).folds == folds


@pytest.mark.parametrize(("rows", "folds"), [(11, 1), (12, 5), (117, 5), (118, 1)])
def test_as_many_folds_as_help(rows: int, folds: int) -> None:
    assert folds_for(0, PrunerKind.NONE, spec(), rows) == folds


@pytest.mark.parametrize(
    "changes",
    [
        {"folds": 11},
        {"folds": -1},
        {"folds": 2, "job": {"dataset_id": "table", "target": "kind"}, "pruner": "ASHA"},
        {"folds": 2, "job": {**GOOD["job"], "validation_dataset_id": "other"}},
    ],
)
def test_folds_that_make_no_sense_are_refused(create: Create, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        create(**changes)
    assert [one.field for one in refused.value.violations] == ["folds"]


def test_invalid_proposals_may_be_left_out(create: Create) -> None:
    proposals = [{"values": {"l2": -1}, "source": "gpt"}, {"values": {"l2": 2, "seed": 7}}]
    made = create(proposals=proposals, skip_invalid_proposals=True)
    assert [(one.values, one.source) for one in made.proposals] == [({"l2": 2, "seed": 7}, "proposal")]
    [rejection] = made.rejections
    assert (rejection.index, rejection.source) == (0, "gpt")
    assert rejection.reason.startswith("values.l2: must be in [0, ")
    assert made.spec_of(made.proposals[0].values).seed == 7


def proposed(**values: Any) -> list[dict[str, Any]]:
    return [{"values": {"l2": 1, **values}}]


RATIO = {"kind": "RATIO", "columns": ["x", "y"]}
# Of a job that makes log(x), and leaves out z.
WIDER = {**GOOD["job"], "dataset_id": "wide", "excluded_columns": ["z"]}
WIDER["transforms"] = [{"kind": "LOG", "columns": ["x"]}]


def test_a_proposal_may_name_what_is_a_jobs(create: Create, store: SqlStore) -> None:
    values = {"seed": 7, "class_weight": "balanced", "excluded_columns": ["5", "z"], "transforms": [RATIO]}
    made = create(job=WIDER, proposals=proposed(**values))
    assert stored(store) == [made]  # the very same out of the document
    spec = made.spec_of(made.proposals[0].values)
    assert (spec.seed, spec.weighting.class_weight, spec.hyperparameters.l2) == (7, "balanced", 1)
    assert spec.excluded_columns == ("z", "5")  # beside the job's own
    assert [one.names for one in spec.transforms] == [("log(x)",), ("x / y",)]
    trial = Trial(0, made.proposals[0].values, "me", "job-1")
    shown = MessageToDict(mapping_sweeps.sweep(replace(made, trials=(trial,)), Prices()))["trials"][0][
        "values"
    ]
    assert shown == {"l2": 1, **values}


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"class_weight": "even"}, "class_weight", "balanced, none, got 'even'"),
        ({"excluded_columns": "x"}, "excluded_columns", "has to be a list of columns, got 'x'"),
        ({"excluded_columns": ["x", 5]}, "excluded_columns[1]", "a column's name, got 5"),
        ({"excluded_columns": ["kind"]}, "excluded_columns[0]", "is the target"),
        ({"excluded_columns": ["y", "Y"]}, "excluded_columns[1]", "'Y' is not a column"),
        ({"excluded_columns": ["x"]}, "excluded_columns[0]", "'x' is what 'log(x)' of the job is made of"),
        ({"transforms": RATIO}, "transforms", "has to be a list"),
        ({"transforms": ["log(x)"]}, "transforms[0]", "an object"),
        ({"transforms": [RATIO, {**RATIO, "colums": []}]}, "transforms[1].colums", "no field"),
        ({"transforms": [{"kind": "SQUARE", "columns": ["x"]}]}, "transforms[0].kind", "one of LOG, BINS"),
        ({"transforms": [{"kind": "LOG", "columns": ["Y"]}]}, "transforms[0].columns[0]", "not a column"),
        ({"transforms": [{"kind": "LOG", "columns": ["word"]}]}, "transforms[0].columns[0]", "is TEXT"),
        ({"transforms": [{"kind": "LOG", "columns": ["z"]}]}, "transforms[0].columns[0]", "excluded"),
        ({"transforms": [{"kind": "LOG", "columns": ["x"]}]}, "transforms[0]", "made already"),
        ({"transforms": [{"kind": "LOG"}]}, "transforms[0].columns", "a list of columns"),
        ({"transforms": [{"kind": "BINS", "columns": ["x"], "bins": 1}]}, "transforms[0].bins", "[2, 64]"),
        ({"transforms": [{"kind": "BINS", "columns": ["x"], "bins": 2.5}]}, "transforms[0].bins", "whole"),
        ({"seed": -1}, "seed", "whole number"),
    ],
)
def test_what_cannot_be_a_jobs_is_named_or_left_out(
    create: Create, values: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        create(job=WIDER, proposals=proposed(**values))
    [violation] = refused.value.violations
    assert violation.field == f"proposals[0].values.{field}"
    assert words in violation.description
    made = create(job=WIDER, proposals=proposed(**values), skip_invalid_proposals=True)
    assert not made.proposals
    assert made.rejections[0].reason == f"values.{field}: {violation.description}"


def test_class_weights_are_for_classes(create: Create) -> None:
    job = {"dataset_id": "wide", "target": "x", "linear": {}}
    with pytest.raises(InvalidArgument) as refused:
        create(job=job, proposals=proposed(class_weight="none"))
    assert [one.field for one in refused.value.violations] == ["proposals[0].values.class_weight"]
    space = [*SPACE, {"name": "class_weight", "choice": {"values": ["balanced", "none"]}}]
    with pytest.raises(InvalidArgument) as refused:
        create(job=job, space=space)
    assert [one.field for one in refused.value.violations] == ["space[1].name"]


def test_class_weight_may_be_searched_and_is_learned_from(create: Create) -> None:
    made = create(space=[*SPACE, {"name": "class_weight", "choice": {"values": ["balanced", "none"]}}])
    assert made.first_values() == {"l2": 1.0, "class_weight": "none"}
    trial = Trial(
        0, {"l2": 2.0, "class_weight": "balanced"}, "tpe", "", TrialState.SUCCEEDED, {"log_loss": 1}
    )
    [measured] = replace(made, trials=(trial,)).measured()
    assert measured.values == trial.values
    assert made.spec_of(trial.values).weighting.class_weight == "balanced"


def test_it_learns_from_earlier_sweeps_of_the_same_question(create: Create, store: SqlStore) -> None:
    earlier = create(space=SPACE)
    results = [
        (0.5, 0.9, TrialState.SUCCEEDED),
        (20.0, 0.8, TrialState.SUCCEEDED),
        (1.0, 0.1, TrialState.FAILED),
    ]
    trials = [
        Trial(number, {"l2": l2}, "tpe", "", state, {"log_loss": loss})
        for number, (l2, loss, state) in enumerate(results)
    ]
    with store.write() as tx:
        tx.sweeps.update(replace(earlier, trials=tuple(trials)))
    made = create(space=SPACE, warm_start_sweep_ids=[earlier.sweep_id])
    assert [(one.values, one.loss) for one in made.learned] == [({"l2": 0.5}, 0.9)]  # 20 is out of the space
    assert made.measured() == list(made.learned)
    with pytest.raises(InvalidArgument) as refused:
        create(metric="accuracy", warm_start_sweep_ids=[earlier.sweep_id])
    assert [one.field for one in refused.value.violations] == ["warm_start_sweep_ids[0]"]
    with pytest.raises(NotFound):
        create(warm_start_sweep_ids=["sweep-none"])


def test_a_budget_of_money_needs_a_price(use_case: CreateSweep) -> None:
    changed = {**GOOD, "budget": {"max_trials": 1, "max_cost_usd": 1}}
    message = ParseDict(changed, sweep_service_pb2.CreateSweepRequest())
    request = mapping_sweeps.sweep_request(message, "default")
    assert replace(use_case, prices=Prices(cpu_hour=0.05))(request).budget.max_cost_usd == 1
