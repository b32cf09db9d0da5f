"""Between datasets and compute: what is uploaded trains, is kept, and predicts in the words of its target."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from safetensors import safe_open

from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.ingest import FileIngest
from services.training.adapters.learner import ComputeLearner
from services.training.application.ports import InvalidRow, Learned, UnfitCheckpoint, UntrainableData
from services.training.compute.backend import open_backend
from services.training.compute.loop import NullLoop
from services.training.domain.candidate import Candidate, CandidateResult
from services.training.domain.dataset import ColumnType, Content, Reading
from services.training.domain.hyperparameters import KMeans, Linear, Logistic, Mlp
from services.training.domain.job import JobSpec, Source, Task
from services.training.domain.model import ExportFormat
from services.training.domain.transforms import FeatureTransform, TransformKind
from services.training.domain.weighting import ClassWeight, Weighting
from services.training.rpc import mapping
from tests.unit.compute.exported import run
from tests.unit.compute.tables import Interrupted, Recorder


@pytest.fixture
def learner(artifacts: DiskArtifacts) -> ComputeLearner:
    return ComputeLearner(artifacts, open_backend("numpy"))


def stored(artifacts: DiskArtifacts, folder: Path, text: str, key: str = "a1") -> Content:
    source = folder / "source.csv"
    source.write_text(text)
    return FileIngest().read(source, Reading("text/csv"), artifacts.content(key), sha256="5a")


def spec(content: Content, target: str, task: Task = Task.CLASSIFICATION) -> JobSpec:
    column = content.column(target)
    assert column is not None
    params = Logistic() if task is Task.CLASSIFICATION else Linear()
    return JobSpec(Source("table", "5a", 1, "a1"), target, column.type, task, params)


def said(
    learner: ComputeLearner, artifacts: DiskArtifacts, learned: Learned, asked: JobSpec, rows: Any
) -> Any:
    """What the saved and restored model says, as a caller reads it."""
    artifacts.save_model("model-1", learned.arrays, learned.metadata)
    outcomes = learner.restore("model-1").predict(rows)
    return [MessageToDict(mapping.prediction(outcome, asked.target_type)) for outcome in outcomes]


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [
        (("no", "ja ☃"), ["no", "ja ☃"]),
        (("false", "true"), [False, True]),
        (("-3", "7"), [-3, 7]),
        (("0.25", "1.5"), [0.25, 1.5]),
        (("1000000000", "2"), [1e9, 2]),
    ],
)
def test_classes_come_back_as_they_were_sent(
    learner: ComputeLearner,
    artifacts: DiskArtifacts,
    tmp_path: Path,
    spelled: tuple[str, str],
    expected: list[Any],
) -> None:
    lines = [f"{number / 100},{spelled[number >= 50]}" for number in range(100)]
    asked = spec(stored(artifacts, tmp_path, "\n".join(["größe,kind", *lines])), "kind")
    learned = learner.fit(asked, NullLoop())
    answers = said(learner, artifacts, learned, asked, [{"größe": 0}, {"größe": 1}])
    assert [answer["value"] for answer in answers] == expected
    for answer in answers:
        assert set(answer["probabilities"]) == set(spelled)
        assert sum(answer["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize("spelled", [("no", "ja ☃"), ("false", "true"), ("-3", "7")])
@pytest.mark.parametrize(
    ("factor", "choice", "second"), [(1.0, None, 2 / 3), (3.0, None, 6 / 7), (0, ClassWeight.BALANCED, 1 / 2)]
)
def test_rows_count_by_their_column_and_their_class(  # noqa: PLR0917
    learner: ComputeLearner,
    artifacts: DiskArtifacts,
    tmp_path: Path,
    spelled: tuple[str, str],
    factor: float,
    choice: ClassWeight | None,
    second: float,
) -> None:
    """Both classes come as often everywhere, so what is said of them is how much they count."""
    lines = [f"{n // 2 % 5},{1 + n % 2},{spelled[n % 2]}" for n in range(400)]
    asked = spec(stored(artifacts, tmp_path, "\n".join(["x,w,kind", *lines])), "kind")
    weighting = Weighting("w", choice, ((spelled[1], factor),) if factor else ())
    # Without validation rows, by which it would be calibrated: those count by their column alone.
    learned = learner.fit(replace(asked, weighting=weighting, validation_fraction=0.0), NullLoop())
    assert [one.name for one in learned.features] == ["x"]
    [answer] = said(learner, artifacts, learned, asked, [{"x": 2, "w": "not read"}])
    assert answer["probabilities"][spelled[1]] == pytest.approx(second, abs=0.02)


def test_an_excluded_column_is_not_read(
    learner: ComputeLearner, artifacts: DiskArtifacts, tmp_path: Path
) -> None:
    """It would tell everything; and the dataset for validation does not even have it."""
    chance = np.random.default_rng(0)
    rows = [(chance.normal(), n % 2) for n in range(300)]
    whole = "\n".join(["x,copy,kind", *(f"{x},{kind},{'ab'[kind]}" for x, kind in rows)])
    thin = "\n".join(["x,kind", *(f"{x},{'ab'[kind]}" for x, kind in rows)])
    asked = spec(stored(artifacts, tmp_path, whole), "kind")
    stored(artifacts, tmp_path, thin, "b2")
    asked = replace(asked, validation=Source("thin", "b2"), excluded_columns=("copy",))
    learned = learner.fit(asked, NullLoop())
    assert [one.name for one in learned.features] == ["x"]
    assert learned.test_metrics["accuracy"] < 0.8
    [answer] = said(learner, artifacts, learned, asked, [{"x": 0}])
    assert answer["value"] in {"a", "b"}


def test_what_is_made_of_times_is_made_of_rows_too(
    learner: ComputeLearner, artifacts: DiskArtifacts, tmp_path: Path
) -> None:
    """A caller writes a time as the file did, and nothing of what is made of it."""
    days = [f"2026-0{1 + n % 2}-{1 + n % 28:02}T0{n % 7}:30:00Z,{'ab'[n % 2]}" for n in range(420)]
    asked = spec(stored(artifacts, tmp_path, "\n".join(["time,kind", *days])), "kind")
    made = FeatureTransform(TransformKind.DATE_PARTS, ("time",))
    asked = replace(asked, transforms=(made,))
    learned = learner.fit(asked, NullLoop())
    assert [one.name for one in learned.features] == ["time"]
    answers = said(
        learner, artifacts, learned, asked, [{"time": "2026-01-05T04:00:00Z"}, {"time": "2026-02-20"}]
    )
    assert [answer["value"] for answer in answers] == ["a", "b"]


def test_what_is_doubtful_of_the_data_is_told_and_kept(
    learner: ComputeLearner, artifacts: DiskArtifacts, tmp_path: Path
) -> None:
    chance = np.random.default_rng(0)
    lines = [f"{chance.normal()},{n % 2},{'ab'[n % 2]}" for n in range(800)]
    asked = spec(stored(artifacts, tmp_path, "\n".join(["x,copy,kind", *lines])), "kind")
    told: list[str] = []
    learned = learner.fit(asked, NullLoop(), warn=told.append)
    [said] = told
    assert learned.warnings == (said,)
    assert said.startswith(
        "column 'copy' alone tells 'kind' nearly perfectly (balanced accuracy 1.000 on 120"
    )
    assert not learner.fit(replace(asked, excluded_columns=("copy",)), NullLoop()).warnings


def test_a_weight_that_is_none_fails_the_job_by_its_name(
    learner: ComputeLearner, artifacts: DiskArtifacts, tmp_path: Path
) -> None:
    lines = [f"{n},{'inf' if n == 70 else 1.5},{'ab'[n % 2]}" for n in range(100)]
    asked = spec(stored(artifacts, tmp_path, "\n".join(["x,w,kind", *lines])), "kind")
    with pytest.raises(UntrainableData, match="weight_column: 'w' is inf in row 71 of the train data"):
        learner.fit(replace(asked, weighting=Weighting("w")), NullLoop())


def test_clusters_come_back_as_their_numbers(
    learner: ComputeLearner, artifacts: DiskArtifacts, tmp_path: Path
) -> None:
    lines = [f"{number + 1000 * (number % 2)},{'ab'[number % 2]}" for number in range(100)]
    stored(artifacts, tmp_path, "\n".join(["x,kind", *lines]))
    params, source = KMeans(clusters=2), Source("table", "5a", 1, "a1")
    asked = JobSpec(source, "", ColumnType.INTEGER, Task.CLUSTERING, params)
    learned = learner.fit(asked, NullLoop())
    assert (learned.classes, len(learned.features)) == ((), 2)
    assert set(learned.validation_metrics) == {"inertia", "silhouette"}
    assert learned.test_metrics["silhouette"] > 0.9
    rows = [{"x": 5, "kind": "a"}, {"x": 1005, "kind": "b"}, {"x": 1005, "kind": "b"}]
    first, second, third = said(learner, artifacts, learned, asked, rows)
    assert sorted([first["value"], second["value"]]) == [0, 1]
    assert second == third == {"value": second["value"]}


def test_numbers_come_back_as_numbers(
    learner: ComputeLearner, artifacts: DiskArtifacts, tmp_path: Path
) -> None:
    lines = [f"{number},{2 * number + 1}" for number in range(100)]
    asked = spec(stored(artifacts, tmp_path, "\n".join(["x,y", *lines])), "y", Task.REGRESSION)
    learned = learner.fit(asked, NullLoop())
    assert learned.validation_metrics["r2"] > 0.99
    [answer] = said(learner, artifacts, learned, asked, [{"x": 10, "extra": [1]}])
    assert answer == {"value": pytest.approx(21, abs=5)}
    with pytest.raises(InvalidRow) as caught:
        learner.restore("model-1").predict([{"x": 1}, {"x": "ten"}])
    assert (caught.value.row, caught.value.column) == (1, "x")


def test_data_that_do_not_suit_are_said(
    learner: ComputeLearner, artifacts: DiskArtifacts, tmp_path: Path
) -> None:
    asked = spec(stored(artifacts, tmp_path, "x,kind\n1,a\n2,b\n3,\n"), "kind")
    with pytest.raises(UntrainableData, match="kind"):
        learner.fit(asked, NullLoop())


def test_what_is_not_there_is_not_found(learner: ComputeLearner) -> None:
    with pytest.raises(FileNotFoundError):
        learner.restore("none")


@pytest.mark.parametrize(
    ("spelled", "dtype"),
    [
        (("no", "ja ☃"), object),
        (("false", "true"), bool),
        (("-3", "7"), np.int64),
        (("0.25", "1.5"), np.float64),
    ],
)
def test_exported_labels_have_the_target_columns_type(
    learner: ComputeLearner, artifacts: DiskArtifacts, tmp_path: Path, spelled: tuple[str, str], dtype: Any
) -> None:
    lines = [f"{number / 100},{spelled[number >= 50]}" for number in range(100)]
    asked = spec(stored(artifacts, tmp_path, "\n".join(["label,kind", *lines])), "kind")
    saved(learner, artifacts, asked)
    file = learner.restore("model-1").export(ExportFormat.ONNX, asked.target_type)
    said = run(file, {"label": np.array([0.0, 1.0])})["label"]
    assert said.dtype == dtype
    assert said.tolist() == [json.loads(text) if dtype is not object else text for text in spelled]


def test_an_exported_model_is_all_that_was_saved(
    learner: ComputeLearner, artifacts: DiskArtifacts, tmp_path: Path
) -> None:
    lines = [f"2026-01-{day:02}T00:00:00Z,{day % 7},{'ab'[day > 9]}" for day in range(1, 29)]
    learned = saved(
        learner, artifacts, spec(stored(artifacts, tmp_path, "\n".join(["t,x,kind", *lines])), "kind")
    )
    path = tmp_path / "model.safetensors"
    path.write_bytes(learner.restore("model-1").export(ExportFormat.SAFETENSORS, ColumnType.TEXT))
    with safe_open(path, "numpy") as file:
        assert json.loads(file.metadata()["model"]) == learned.metadata
        assert learned.metadata["timestamps"] == ["t"]
        assert set(file.keys()) == set(learned.arrays)


SMALL = Mlp(hidden_sizes=(4,), max_epochs=6, batch_size=16)


def clouds(shift: float = 0.0) -> str:
    """Two classes that lie apart."""
    lines = [f"{n % 10 + shift + 5 * (n % 2)},{n % 7},{'ab'[n % 2]}" for n in range(200)]
    return "\n".join(["x,z,kind", *lines])


def saved(learner: ComputeLearner, artifacts: DiskArtifacts, asked: JobSpec) -> Learned:
    learned = learner.fit(asked, NullLoop())
    artifacts.save_model("model-1", learned.arrays, learned.metadata)
    return learned


def test_what_was_interrupted_goes_on(
    learner: ComputeLearner, artifacts: DiskArtifacts, tmp_path: Path
) -> None:
    asked = replace(spec(stored(artifacts, tmp_path, clouds()), "kind"), hyperparameters=SMALL)
    loop = Interrupted(last=13)
    assert learner.fit(asked, loop).stopped
    resumed = learner.fit(asked, NullLoop(), resume=loop.states[-1])
    assert resumed.weights_sha256 == learner.fit(asked, NullLoop()).weights_sha256
    with pytest.raises(UnfitCheckpoint, match="only one of the two"):
        learner.fit(replace(asked, hyperparameters=Logistic()), NullLoop(), resume=loop.states[-1])


def test_candidates_are_told_of_and_the_best_is_the_model(
    learner: ComputeLearner, artifacts: DiskArtifacts, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    lines = [f"{a},{b},{'yes' if a * b > 0 else 'no'}" for a, b in random.normal(0, 1, (90, 2))]
    asked = spec(stored(artifacts, tmp_path, "\n".join(["a,b,c", *lines])), "c")
    network = Mlp(hidden_sizes=(8,), ensemble_size=1, max_epochs=20)
    params = (Logistic(), network, replace(network, learning_rate=0.01))
    candidates = tuple(Candidate(number, one, asked.seed) for number, one in enumerate(params, 5))
    told: list[CandidateResult] = []
    several = replace(asked, candidates=candidates, ranked_by="accuracy")
    learned = learner.fit(several, NullLoop(), told=told.append)
    found = {one.number: one for one in told}
    best = max(sorted(found), key=lambda number: found[number].validation_metrics["accuracy"])
    assert learned.chosen == best
    assert learned.validation_metrics == found[best].validation_metrics
    for one in candidates:
        alone = learner.fit(replace(asked, hyperparameters=one.hyperparameters), NullLoop())
        assert found[one.number].test_metrics == pytest.approx(dict(alone.test_metrics), rel=1e-4)


def test_training_begins_with_another_model(
    learner: ComputeLearner, artifacts: DiskArtifacts, tmp_path: Path
) -> None:
    params = replace(SMALL, max_epochs=30, learning_rate=0.01)
    asked = replace(spec(stored(artifacts, tmp_path, clouds()), "kind"), hyperparameters=params)
    first = saved(learner, artifacts, asked)
    stored(artifacts, tmp_path, clouds(0.5), "a2")
    later = replace(asked, train=Source("table", "5b", 2, "a2"))
    loops = [Recorder(), Recorder()]
    cold = learner.fit(later, loops[0])
    warm = learner.fit(replace(later, warm_start_model_id="model-1"), loops[1])
    losses = [loop.reports[0][2]["train_loss"] for loop in loops]
    assert losses[1] < 0.8 * losses[0]
    assert warm.metadata["preprocessing"] == first.metadata["preprocessing"]
    assert np.array_equal(warm.arrays["preprocessing.means"], first.arrays["preprocessing.means"])
    assert warm.weights_sha256 not in (first.weights_sha256, cold.weights_sha256)


def test_a_model_that_cannot_be_begun_with_is_said(
    learner: ComputeLearner, artifacts: DiskArtifacts, tmp_path: Path
) -> None:
    asked = replace(spec(stored(artifacts, tmp_path, clouds()), "kind"), hyperparameters=SMALL)
    warm = replace(asked, warm_start_model_id="model-1")
    with pytest.raises(UntrainableData, match="model-1, is not there"):
        learner.fit(warm, NullLoop())
    saved(learner, artifacts, asked)
    with pytest.raises(UntrainableData, match="hidden_sizes"):
        learner.fit(replace(warm, hyperparameters=replace(SMALL, hidden_sizes=(5,))), NullLoop())
    dated = "\n".join(["x,z,kind", *(f"{n % 9},2024-01-0{1 + n % 9},{'ab'[n % 2]}" for n in range(40))])
    stored(artifacts, tmp_path, dated, "a2")
    with pytest.raises(UntrainableData, match="z: a point in time"):
        learner.fit(replace(warm, train=Source("table", "5b", 2, "a2")), NullLoop())


def test_rows_that_memory_does_not_hold_go_to_the_workspace(
    learner: ComputeLearner, artifacts: DiskArtifacts, tmp_path: Path
) -> None:
    asked = spec(stored(artifacts, tmp_path, clouds()), "kind")
    folder = artifacts.workspace("job-1", 1)
    expected = learner.fit(asked, NullLoop(), workspace=folder)
    assert not list(folder.iterdir())
    small = ComputeLearner(artifacts, open_backend("numpy"), memory_budget=100)
    assert small.fit(asked, NullLoop(), workspace=folder).weights_sha256 == expected.weights_sha256
    assert (folder / "train.features").stat().st_size == 140 * 2 * 4
