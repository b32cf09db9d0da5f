"""What a store shows to a caller who may see one tenant's things only, on each database that there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from services.chassis.database import Database
from services.training.adapters.store_sql import SqlStore
from services.training.application.ports import Page, Replay
from services.training.domain.registry import RegisteredModel
from tests.unit.training.samples import NOW, content, dataset, job, model, sweep, upload

EVERYTHING = Page(1000)
KINDS = ("datasets", "models", "uploads", "jobs", "sweeps")


class View(SqlStore):
    """A store whose viewer is set."""

    def __init__(self, database: Database) -> None:
        self.tenant: str | None = None
        self.acting = "default"
        super().__init__(database, lambda: self.tenant, lambda: self.acting)
        self.database = database


@pytest.fixture
def store(url: str) -> Iterator[View]:
    """With one thing of each kind of tenant `a`, each of the id `it`."""
    database = Database(url)
    view = View(database)
    with view.write() as tx:
        tx.datasets.put(replace(dataset("it", held=content()), tenant="a"))
        tx.jobs.add(replace(job("it"), tenant="a"))
        tx.models.add(replace(model("it"), tenant="a"))
        tx.uploads.put(replace(upload("it"), tenant="a"))
        tx.sweeps.add(sweep("it", tenant="a"))
        tx.registry.put(RegisteredModel("it", NOW, NOW, "a").registered("it", NOW))
    yield view
    database.close()


def seen(store: View, tenant: str | None) -> dict[str, int]:
    """How often `it` is found, by kind: got, locked and listed."""
    store.tenant = tenant
    with store.write() as tx:
        kinds: dict[str, Any] = {
            kind: getattr(tx, kind) for kind in ("datasets", "models", "uploads", "jobs", "sweeps")
        }
        found = {kind: [part.get("it")] for kind, part in kinds.items()}
        for kind in ("uploads", "jobs", "sweeps"):
            found[kind].append(kinds[kind].lock("it"))
        for kind in ("datasets", "models", "uploads", "sweeps"):
            found[kind] += kinds[kind].page(EVERYTHING)
        found["jobs"] += tx.jobs.page(EVERYTHING, None)
        found["registry"] = [tx.registry.get("it"), *tx.registry.page("", 9)]
    return {kind: sum(one is not None for one in items) for kind, items in found.items()}


def test_what_belongs_to_others_is_not_there(store: View) -> None:
    everything = {"datasets": 2, "models": 2, "uploads": 3, "jobs": 3, "sweeps": 3, "registry": 2}
    assert seen(store, "a") == everything
    # Names are the tenant's that a call is for, also for those who see all tenants' things.
    assert seen(store, None) == everything | {"datasets": 1, "registry": 1}
    store.acting = "a"
    assert seen(store, None) == everything
    assert seen(store, "b") == seen(store, "") == seen(store, "default") == dict.fromkeys(everything, 0)


def test_what_no_tenant_is_named_for_belongs_to_the_default_one(store: View) -> None:
    for table in ("models", "uploads"):
        with store.database.write() as connection:
            sqlite = connection.dialect.name == "sqlite"
            without = "json_remove(document, '$.tenant')" if sqlite else "(document::jsonb - 'tenant')::json"
            connection.execute(text(f"UPDATE {table} SET document = {without}"))
    unnamed = {"models": 2, "uploads": 3}
    named = {"datasets": 2, "jobs": 3, "sweeps": 3, "registry": 2}
    assert seen(store, "default") == unnamed | dict.fromkeys(named, 0)
    assert seen(store, "a") == named | dict.fromkeys(unnamed, 0)


def test_a_name_that_another_tenant_has_is_free(store: View) -> None:
    theirs, named = replace(dataset("it"), tenant="b"), RegisteredModel("it", NOW, NOW, "b")
    store.tenant = "b"
    with store.write() as tx:
        tx.datasets.put(theirs)
        tx.registry.put(named)
    with store.write() as tx:
        assert (tx.datasets.get("it"), tx.registry.get("it")) == (theirs, named)
        assert (tx.datasets.page(EVERYTHING)[0][1], tx.registry.page("", 9)) == (theirs, [named])
        tx.datasets.delete(theirs)
        tx.registry.delete(named)
    store.tenant = "a"
    with store.read() as tx:
        assert tx.datasets.get("it") == replace(dataset("it", held=content()), tenant="a")
        assert len(tx.registry.page("", 9)) == 1


def test_a_page_of_all_tenants_names_leaves_none_out(store: View) -> None:
    with store.write() as tx:
        for tenant in ("b", "c", "default"):
            tx.registry.put(RegisteredModel("it", NOW, NOW, tenant))
    store.tenant, found, after = None, [], ""
    with store.read() as tx:
        while page := tx.registry.page(after, 1):
            found.append(page[0].tenant)
            after = page[0].key
    assert found == ["a", "b", "c", "default"]


def test_contents_in_use_and_the_queue_are_everyones(store: View) -> None:
    store.tenant = "b"
    with store.read() as tx:
        assert tx.datasets.holds_content(content().key)
        assert tx.models.trained_on(model("it").source.key)
        assert [name for name, _ in tx.registry.pointing_to("it")] == ["it"]
        assert [one.tenant for one in tx.jobs.standings()] == ["a"]


def test_request_ids_of_one_tenant_say_nothing_to_another(store: View) -> None:
    replies = {"a": Replay("CreateJob", "f", job("one")), "b": Replay("CancelJob", "g", job("two"))}
    for store.tenant, replay in replies.items():
        with store.write() as tx:
            assert tx.requests.find("r") is None
            tx.requests.add("r", replay, NOW)
    for store.tenant, replay in replies.items():
        with store.write() as tx:
            assert tx.requests.find("r") == replay
    store.tenant = None
    with store.write() as tx:
        assert tx.requests.find("r") is None
