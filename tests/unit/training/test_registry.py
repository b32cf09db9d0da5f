"""Registering models under names, and what then stands for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from services.chassis.errors import Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.learner import ComputeLearner
from services.training.adapters.store_sql import SqlStore
from services.training.application.models import Models
from services.training.application.references import found_model
from services.training.application.registry import Registration, Registry
from services.training.compute.backend import open_backend
from tests.unit.training.samples import model
from tests.unit.training.stand_ins import HandClock


@pytest.fixture
def registry(store: SqlStore, clock: HandClock) -> Registry:
    """With the models a, b, and c of another tenant."""
    with store.write() as tx:
        for one in (model("a"), model("b"), replace(model("c"), tenant="other")):
            tx.models.add(one)
    return Registry(store, clock)


@pytest.fixture
def models(store: SqlStore, clock: HandClock, tmp_path: Path) -> Models:
    artifacts = DiskArtifacts(tmp_path)
    return Models(store, artifacts, ComputeLearner(artifacts, open_backend("numpy")), clock)


def test_a_name_stands_for_a_model(registry: Registry, models: Models, store: SqlStore) -> None:
    assert registry.register(Registration("roses", "a", ("champion",)), "")[1].version == 1
    assert registry.register(Registration("roses", "b", comment="more rows"), "")[1].version == 2
    for reference, model_id in {"roses@champion": "a", "roses@1": "a", "roses@2": "b", "b": "b"}.items():
        assert models.get(reference).model_id == model_id
    for reference in ("roses@3", "roses@candidate", "tulips@1", "roses@", "@1", "roses"):
        with store.read() as tx, pytest.raises(NotFound) as missing:
            found_model(tx, reference)
        assert missing.value.resource_name == reference


def test_a_repeated_request_is_answered_as_the_first_was(registry: Registry) -> None:
    first = registry.register(Registration("roses", "a"), "once")
    registry.delete_version("roses", 1, "gone")
    assert registry.register(Registration("roses", "a"), "once") == first
    registry.delete_version("roses", 1, "gone")
    assert registry.register(Registration("roses", "a"), "again")[1].version == 2
    moved = registry.set_alias("roses", "champion", 2, 0, "move")
    registry.set_alias("roses", "champion", 0, None, "")
    assert registry.set_alias("roses", "champion", 2, 0, "move") == moved
    with pytest.raises(AlreadyExists):
        registry.register(Registration("roses", "b"), "once")
    registry.delete("roses", "all")
    registry.delete("roses", "all")


def test_what_is_in_the_way_is_said(registry: Registry, models: Models) -> None:
    registry.register(Registration("roses", "a", ("champion",)), "")
    with pytest.raises(Aborted) as moved:
        registry.set_alias("roses", "champion", 0, 7, "")
    assert (moved.value.reason, moved.value.metadata["version"]) == ("ALIAS_MOVED", "1")
    with pytest.raises(FailedPrecondition) as aliased:
        registry.delete_version("roses", 1, "")
    assert aliased.value.reason == "MODEL_VERSION_ALIASED"
    with pytest.raises(FailedPrecondition) as used:
        models.delete("a", "")
    assert (used.value.reason, used.value.metadata["versions"]) == ("MODEL_IN_USE", "roses@1")
    for call in (
        lambda: registry.set_alias("roses", "champion", 2, None, ""),
        lambda: registry.delete_version("roses", 2, ""),
        lambda: registry.get("tulips"),
        lambda: registry.delete("tulips", ""),
        lambda: registry.register(Registration("tulips", "z"), ""),
    ):
        with pytest.raises(NotFound):
            call()
    registry.delete("roses", "")
    models.delete("a", "")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (Registration("", "a"), "name"),
        (Registration("a@b", "a"), "name"),
        (Registration("-a", "a"), "name"),
        (Registration("a" * 101, "a"), "name"),
        (Registration("roses", "a", ("champion", "12")), "aliases[1]"),
        (Registration("roses", "a", ("ö",)), "aliases[0]"),
        (Registration("roses", "a", comment="x" * 1001), "comment"),
        (Registration("roses", "c"), "model_id"),
    ],
)
def test_what_cannot_be_registered_is_refused_by_name(
    registry: Registry, asked: Registration, field: str
) -> None:
    registry.register(Registration("roses", "b"), "")
    with pytest.raises(InvalidArgument) as refused:
        registry.register(asked, "")
    assert [one.field for one in refused.value.violations] == [field]


def test_names_come_in_pages(registry: Registry) -> None:
    for name in ("b", "a", "c"):
        registry.register(Registration(name, "a"), "")
    first, token = registry.page(2, "")
    rest, end = registry.page(2, token)
    assert [[one.name for one in part] for part in (first, rest)] == [["a", "b"], ["c"]]
    assert end == ""
    for wrong in ("x", "§"):
        with pytest.raises(InvalidArgument):
            registry.page(2, wrong)
