"""Page tokens, and lists read page by page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from services.chassis.errors import InvalidArgument
from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.store_sql import SqlStore
from services.training.application import paging
from services.training.application.datasets import Datasets
from services.training.application.jobs import HISTORY, Jobs, cursor_of
from services.training.application.ports import Page
from services.training.domain.job import Device
from tests.unit.training.samples import NOW, dataset, event, job, point
from tests.unit.training.stand_ins import Processes


@pytest.fixture
def datasets(store: SqlStore, artifacts: DiskArtifacts) -> Datasets:
    with store.write() as tx:
        for number in range(6):
            tx.datasets.put(dataset(f"d{number}"))
    return Datasets(store, artifacts, lambda: NOW)


@pytest.fixture
def jobs(store: SqlStore, artifacts: DiskArtifacts) -> Jobs:
    with store.write() as tx:
        tx.jobs.add(job())
        for step in range(1, 5):
            tx.jobs.record("job-1", [point(step), event(f"after-{step}")])
    slots, grace = {Device.CPU: 1}, timedelta(seconds=3)
    return Jobs(store, artifacts, Processes(), lambda: NOW, lambda: None, slots, grace)


def pages(page: Callable[[str], tuple[list[str], str]]) -> list[list[str]]:
    found, token = [], ""
    while True:
        items, token = page(token)
        found.append(items)
        if not token:
            return found


@pytest.mark.parametrize("position", [0, 1, 2**62 // 10])
def test_a_token_reads_back(position: int) -> None:
    assert paging.position("jobs", paging.token("jobs", position)) == position


@pytest.mark.parametrize(
    "token",
    [
        paging.token("datasets", 7),
        paging.token("jobs", -7),
        paging.token("jobs", 10**19),
        "jobs:7",
        "☃",
        "=",
        "A",
        "am9icw",  # "jobs"
        "am9iczo",  # "jobs:"
        "am9iczrCsg",  # "jobs:²"
        "/w",  # no UTF-8
        "\0",
        "x" * 100_000,
    ],
)
def test_any_other_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        paging.position("jobs", token)
    assert caught.value.reason == "INVALID_PAGE_TOKEN"


def test_sizes_have_a_default_and_a_largest() -> None:
    assert paging.parse("jobs", 0, "") == Page(50)
    assert paging.parse("jobs", 7, paging.token("jobs", 3)) == Page(7, 3)
    assert paging.parse("jobs", 2**31 - 1, "") == Page(1000)
    with pytest.raises(InvalidArgument) as caught:
        paging.parse("jobs", -1, "")
    assert caught.value.violations[0].field == "page_size"


@pytest.mark.parametrize(
    ("size", "sizes"), [(1, [1] * 6), (2, [2, 2, 2]), (4, [4, 2]), (6, [6]), (2**31 - 1, [6])]
)
def test_a_token_comes_with_every_page_but_the_last(datasets: Datasets, size: int, sizes: list[int]) -> None:
    def page(token: str) -> tuple[list[str], str]:
        items, following = datasets.page(size, token)
        return [item.dataset_id for item in items], following

    found = pages(page)
    assert [len(items) for items in found] == sizes
    assert [item for items in found for item in items] == [f"d{number}" for number in (5, 4, 3, 2, 1, 0)]


def test_what_is_deleted_between_pages_disturbs_nobody(datasets: Datasets) -> None:
    first, token = datasets.page(3, "")
    for dataset_id in (first[-1].dataset_id, "d2"):
        datasets.delete(dataset_id, "")
    datasets.create("newer", "", "")
    assert [item.dataset_id for item in datasets.page(3, token)[0]] == ["d1", "d0"]


@pytest.mark.parametrize(("size", "sizes"), [(1, [1] * 4), (2, [2, 2]), (3, [3, 1]), (4, [4]), (0, [4])])
def test_points_page_likewise(jobs: Jobs, size: int, sizes: list[int]) -> None:
    def page(token: str) -> tuple[list[str], str]:
        points, following = jobs.points("job-1", size, token)
        return [str(point.step) for point in points], following

    found = pages(page)
    assert [len(items) for items in found] == sizes
    assert [item for items in found for item in items] == ["1", "2", "3", "4"]


@pytest.mark.parametrize(("size", "sizes"), [(1, [1] * 4), (3, [3, 1]), (4, [4])])
def test_so_do_events(jobs: Jobs, size: int, sizes: list[int]) -> None:
    def page(token: str) -> tuple[list[str], str]:
        events, following = jobs.events("job-1", size, token)
        return [one.kind for one in events], following

    found = pages(page)
    assert [len(items) for items in found] == sizes
    assert [item for items in found for item in items] == [f"after-{step}" for step in (1, 2, 3, 4)]


def test_a_cursor_is_a_token_of_points_and_events(jobs: Jobs) -> None:
    first = jobs.points("job-1", 2, "")[0]
    assert [one.step for one in jobs.points("job-1", 0, cursor_of(first[0]))[0]] == [2, 3, 4]
    assert [one.kind for one in jobs.events("job-1", 0, cursor_of(first[1]))[0]] == [
        "after-2",
        "after-3",
        "after-4",
    ]
    assert len(jobs.look("job-1", cursor_of(first[1]))[1]) == 5
    for wrong in (paging.token("jobs", 1), "none"):
        with pytest.raises(InvalidArgument):
            jobs.look("job-1", wrong)
    assert jobs.points("job-1", 1, paging.token(HISTORY, 10**17)) == ([], "")
