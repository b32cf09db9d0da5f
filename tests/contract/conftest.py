from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from services.chassis.database import Database
from services.training.adapters.store_sql import SqlStore
from services.training.application.ports import Artifacts
from tests.contract.artifact_places import PLACES, machines
from tests.contract.postgres import Postgres
from tests.unit.training.samples import sqlite_url

if TYPE_CHECKING:
    from tests.contract.vendors import Vendors


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of its own with the newest schema, of each kind that there is."""
    if request.param == "sqlite":
        yield sqlite_url(tmp_path)
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.fresh()
    yield url
    server.drop(url)


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    """A store on `url`."""
    database = Database(url)
    yield SqlStore(database)
    database.close()


@pytest.fixture(params=PLACES)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Artifacts]:
    """Artifacts as each machine sees them, by the machine's name, in every place that there is."""
    return machines(request.param, tmp_path, request)


@pytest.fixture
def artifacts(machine: Callable[[str], Artifacts]) -> Artifacts:
    """As one machine sees them."""
    return machine("a")


@pytest.fixture(scope="session")
def fakes() -> Iterator[Vendors]:
    import httpx  # noqa: PLC0415 (most tests do without)

    from services.ai_gateway.fakes.app import Fake  # noqa: PLC0415
    from services.ai_gateway.fakes.serving import serving_in_thread  # noqa: PLC0415
    from tests.contract.vendors import Vendors  # noqa: PLC0415

    fake = Fake()
    with serving_in_thread(fake) as address, httpx.Client(base_url=address, timeout=10) as http:
        yield Vendors(address, fake, http)


@pytest.fixture
def vendors(fakes: Vendors) -> Vendors:
    """The fake vendors on loopback, with nothing remembered."""
    fakes.settled()
    fakes.fake.faults.clear()
    fakes.fake.truth.reset()
    return fakes
