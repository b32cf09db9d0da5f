"""Comparing trained models: on the rows that training kept them from, and on other datasets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound
from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.ingest import FileIngest
from services.training.adapters.learner import ComputeLearner
from services.training.adapters.store_sql import SqlStore
from services.training.application.compare_models import CompareModels
from services.training.application.lineage import GetLineage
from services.training.compute.backend import open_backend
from services.training.compute.loop import NullLoop
from services.training.domain.dataset import Dataset, Reading
from services.training.domain.hyperparameters import KMeans, Linear, Logistic
from services.training.domain.job import Job, Source, Task
from services.training.domain.model import Model
from services.training.domain.registry import RegisteredModel
from services.training.domain.trial import Trial
from services.training.domain.weighting import Weighting
from tests.unit.training.samples import NOW, model, spec, sweep


class Workshop:
    """Datasets, models that were really trained on them, and who compares them."""

    def __init__(self, store: SqlStore, artifacts: DiskArtifacts, folder: Path) -> None:
        self.store, self._artifacts, self._folder = store, artifacts, folder
        self._learner = ComputeLearner(artifacts, open_backend("numpy"))
        self.compare = CompareModels(store, self._learner)

    def upload(self, name: str, seed: int, extra: str = "") -> Source:
        """Numbers x and z, a value y of both, a class of x, and weights, some of them 0."""
        random = np.random.default_rng(seed)
        lines = ["x,z,y,kind,w"]
        for x, z in random.normal(size=(600, 2)):
            kind = "rose" if x + random.normal() > 0 else "tulip"
            lines.append(f"{x},{z},{x + z + random.normal()},{kind},{random.integers(0, 3)}")
        file = self._folder / "source.csv"
        file.write_text("\n".join(lines) + extra + "\n")
        held = FileIngest().read(file, Reading("text/csv"), self._artifacts.content(name), sha256=name)
        with self.store.write() as tx:
            tx.datasets.put(Dataset(name, "", replace(held, content_id=""), NOW, NOW))
        return Source(name, name)

    def model(self, model_id: str) -> Model:
        with self.store.read() as tx:
            found = tx.models.get(model_id)
        assert found
        return found

    def copy(self, model_id: str, to: str) -> None:
        """The weights."""
        self._artifacts.save_model(to, *self._artifacts.load_model(model_id))

    def train(self, model_id: str, on: Source, target: str = "kind", **changes: Any) -> dict[str, float]:
        """Makes the model, of the job with the same number, and answers its test metrics."""
        task = changes.get("task") or (Task.CLASSIFICATION if target == "kind" else Task.REGRESSION)
        usual = {"hyperparameters": Logistic() if task is Task.CLASSIFICATION else Linear(), "task": task}
        asked = replace(spec(), **{"train": on, "target": target, **usual, **changes})
        learned = self._learner.fit(asked, NullLoop())
        self._artifacts.save_model(model_id, learned.arrays, learned.metadata)
        made = replace(
            model(model_id),
            job_id=f"job-{model_id}",
            source=on,
            target=target,
            task=task,
            classes=learned.classes,
            test_metrics=learned.test_metrics,
        )
        with self.store.write() as tx:
            tx.jobs.add(Job(made.job_id, "", asked, NOW, NOW))
            tx.models.add(made)
        return dict(learned.test_metrics)


@pytest.fixture
def workshop(store: SqlStore, artifacts: DiskArtifacts, tmp_path: Path) -> Workshop:
    return Workshop(store, artifacts, tmp_path)


@pytest.mark.parametrize(
    ("target", "other", "loss"),
    [("kind", Logistic(l2=1e4), "log_loss"), ("y", Linear(l2=1e4), "squared_error")],
)
@pytest.mark.parametrize("weighting", [Weighting(), Weighting("w")])
def test_the_test_part_is_that_of_training(
    workshop: Workshop, target: str, other: Any, loss: str, weighting: Weighting
) -> None:
    table = workshop.upload("flowers", 1)
    kept = {"split_seed": 7, "weighting": weighting}
    measured = [
        workshop.train("good-0", table, target, seed=0, **kept),
        workshop.train("good-1", table, target, seed=1, **kept),
        workshop.train("bad", table, target, seed=2, hyperparameters=other, **kept),
    ]
    found = workshop.compare(["good-0", "good-1"], ["bad"])
    assert found.loss == loss
    # Targets are float32 in training.
    assert found.baseline.metrics == pytest.approx(measured[2], rel=1e-6, abs=1e-6)
    means = {name: (value + measured[1][name]) / 2 for name, value in measured[0].items()}
    assert found.candidate.metrics == pytest.approx(means, rel=1e-6, abs=1e-6)
    assert (set(found.candidate.deviations), found.baseline.deviations) == (set(means), {})
    lost = [one["log_loss"] if target == "kind" else one["rmse"] ** 2 for one in measured]
    assert found.improvement.mean == pytest.approx(lost[2] - (lost[0] + lost[1]) / 2, rel=1e-5)
    assert found.improvement.p_value < 0.05
    assert found.over_constant.probability > 0.95
    if target == "y":
        constant = lost[0] / (1 - measured[0]["r2"])
        assert found.over_constant.mean == pytest.approx(constant - (lost[0] + lost[1]) / 2, rel=1e-5)


def test_what_an_ancestor_was_trained_on_counts_as_seen(workshop: Workshop) -> None:
    table, other = workshop.upload("flowers", 1), workshop.upload("others", 2)
    workshop.train("same", table, split_seed=7)
    workshop.train("split", table, split_seed=8)
    workshop.train("elsewhere", other, split_seed=1)
    for ancestor in ("same", "split", "elsewhere", "gone"):
        with workshop.store.write() as tx:
            warm = replace(spec(), train=table, split_seed=7, warm_start_model_id=ancestor)
            tx.jobs.add(Job(f"job-child-of-{ancestor}", "", warm, NOW, NOW))
            child = replace(workshop.model("same"), model_id=f"child-of-{ancestor}")
            tx.models.add(replace(child, job_id=f"job-child-of-{ancestor}"))
        workshop.copy("same", f"child-of-{ancestor}")
    for fine in ("same", "elsewhere"):
        assert workshop.compare([f"child-of-{fine}"], ["same"]).improvement.mean == 0
    for seen in ("split", "gone"):
        with pytest.raises(FailedPrecondition) as refused:
            workshop.compare([f"child-of-{seen}"], ["same"])
        assert refused.value.reason == "MODELS_NOT_COMPARABLE"
        assert seen in refused.value.message
    with pytest.raises(InvalidArgument):
        workshop.compare(["child-of-elsewhere"], ["same"], "others")


def test_another_dataset_has_to_be_unseen_and_rows_without_the_target_are_left_out(
    workshop: Workshop,
) -> None:
    first, held = workshop.upload("first", 1), workshop.upload("held", 2, extra="\n1,2,3,,1")
    workshop.train("a", first, seed=1)
    workshop.train("b", first, seed=2, hyperparameters=Logistic(l2=1e4), validation=workshop.upload("v", 3))
    found = workshop.compare(["a"], ["b"], "held")
    assert (found.rows, found.dataset_id) == (600, "held")
    assert found.candidate.metrics["log_loss"] < found.baseline.metrics["log_loss"]
    for seen in ("first", "v"):
        with pytest.raises(InvalidArgument) as refused:
            workshop.compare(["a"], ["b"], seen)
        assert [one.field for one in refused.value.violations] == ["dataset_id"]
    with pytest.raises(NotFound):
        workshop.compare(["a"], ["b"], "held", 2)
    workshop.train("c", held, "y")
    with pytest.raises(InvalidArgument) as unfit:
        workshop.compare(["a"], ["c"], "v")
    assert [one.field for one in unfit.value.violations] == ["baseline_model_ids[0]"]


def test_a_dataset_for_testing_is_the_test_part(workshop: Workshop) -> None:
    table, held = workshop.upload("flowers", 1), workshop.upload("held", 2)
    measured = workshop.train("a", table, test=held, weighting=Weighting("w"))
    found = workshop.compare(["a"], ["a"])
    assert found.candidate.metrics == pytest.approx(measured, rel=1e-6, abs=1e-6)
    assert (found.improvement.mean, found.improvement.p_value) == (0, 0.5)
    workshop.train("b", table)
    with pytest.raises(FailedPrecondition):
        workshop.compare(["a"], ["b"])
    assert workshop.compare(["a"], ["b"], "held").rows == 600


def test_models_of_other_test_rows_are_not_compared(workshop: Workshop) -> None:
    table = workshop.upload("flowers", 1)
    workshop.train("a", table, seed=1)
    others: dict[str, dict[str, Any]] = {
        "seed": {"seed": 2},
        "split": {"seed": 1, "test_fraction": 0.2},
        "weights": {"seed": 1, "weighting": Weighting("w")},
        "gone": {"seed": 1},
    }
    for name, changes in others.items():
        workshop.train(name, table, **changes)
    with workshop.store.write() as tx:
        tx.jobs.delete("job-gone")
    for name in others:
        with pytest.raises(FailedPrecondition) as refused:
            workshop.compare(["a"], [name])
        assert refused.value.reason == "MODELS_NOT_COMPARABLE"
    workshop.train("same", table, seed=9, split_seed=1)
    assert workshop.compare(["a"], ["same"]).improvement.mean == pytest.approx(0, abs=1e-6)


def test_what_cannot_be_compared_is_refused_by_name(workshop: Workshop) -> None:
    table = workshop.upload("flowers", 1)
    workshop.train("a", table)
    workshop.train("groups", table, "", task=Task.CLUSTERING, hyperparameters=KMeans(3))
    cases: dict[str, Callable[[], object]] = {
        "candidate_model_ids": lambda: workshop.compare([], ["a"]),
        "baseline_model_ids": lambda: workshop.compare(["a"], ["a"] * 51),
        "dataset_version": lambda: workshop.compare(["a"], ["a"], version=1),
        "candidate_model_ids[0]": lambda: workshop.compare(["groups"], ["groups"]),
        "baseline_model_ids[1]": lambda: workshop.compare(["a"], ["a", "groups"]),
    }
    for field, call in cases.items():
        with pytest.raises(InvalidArgument) as refused:
            call()
        assert [one.field for one in refused.value.violations] == [field]
    with pytest.raises(NotFound):
        workshop.compare(["a"], ["roses@champion"])


def test_a_lineage_has_what_is_there(store: SqlStore) -> None:
    trial = Trial(3, {}, "tpe", "job-1")
    trained = Job("job-1", "", spec(warm_start_model_id="model-0"), NOW, NOW, sweep_id="sweep-1")
    named = RegisteredModel("roses", NOW, NOW).registered("model-1", NOW, ["champion"])
    with store.write() as tx:
        tx.models.add(model())
        tx.jobs.add(trained)
        tx.sweeps.add(sweep(trials=(trial,)))
        tx.registry.put(named)
    found = GetLineage(store)("roses@champion")
    assert (found.job, found.trial, found.versions) == (trained, 3, (("roses", named.versions[0]),))
    with store.write() as tx:
        tx.sweeps.delete("sweep-1")
    assert GetLineage(store)("model-1").trial is None
    with store.write() as tx:
        tx.jobs.delete("job-1")
    found = GetLineage(store)("model-1")
    assert (found.model, found.job, found.trial) == (model(), None, None)
    with pytest.raises(NotFound):
        GetLineage(store)("model-2")
