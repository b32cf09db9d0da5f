"""What every `Ledger` promises, on each database that there is."""

from __future__ import annotations

import asyncio
import itertools
import logging
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ai_gateway.adapters.ledger_sql import SqlLedger
from services.ai_gateway.application.ports.ledger import BudgetExceeded, Claim, Entry, Outcome, UsageFilter
from services.ai_gateway.domain.budget import Budget, Limit, Period, Spent
from services.ai_gateway.domain.usage import Usage
from services.chassis.errors import AppError, InvalidArgument, Unavailable
from services.chassis.schema import migrate
from tests.contract.ledger_model import Model
from tests.contract.ledgers import (
    HOUR,
    NOW,
    SCRIPTS,
    TOMORROW,
    claim,
    day,
    entry,
    ledger_on,
    sqlite_ledger_url,
)
from tests.contract.postgres import Postgres

Answer = TypeVar("Answer")
DAY, MONTH = "2026-01-31", "2026-01"


@pytest.fixture(scope="module")
def template(postgres: Postgres) -> str:
    url = postgres.empty()
    migrate(url, SCRIPTS)
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield sqlite_ledger_url(tmp_path)
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.copy(request.getfixturevalue("template"))
    yield url
    server.drop(url)


@pytest.fixture
def ledger(url: str) -> Iterator[SqlLedger]:
    with ledger_on(url) as ledger:
        yield ledger


def do(*calls: Awaitable[Answer]) -> list[Answer | AppError]:
    """What each is answered, or refused with; they are made at once, in this order."""

    async def answered(call: Awaitable[Answer]) -> Answer | AppError:
        try:
            return await call
        except AppError as error:
            return error

    async def together() -> list[Answer | AppError]:
        return await asyncio.gather(*(answered(call) for call in calls))

    return asyncio.run(together())


def gone(ledger: SqlLedger, now: datetime = NOW) -> dict[tuple[str, str], tuple[int, int]]:
    """Key and window → spent and reserved, of all limits of the tenant."""
    return {
        (one.budget.key, one.window): (one.spent_nano_usd, one.reserved_nano_usd)
        for one in ledger.budgets("t", now)
    }


def refusal(answer: object) -> BudgetExceeded:
    assert isinstance(answer, BudgetExceeded)
    return answer


def cost(ledger: SqlLedger, **asked: Any) -> int:
    return sum(row.nano_usd for row in ledger.usage(UsageFilter(**asked)))


def test_a_claim_is_granted_up_to_the_last_nano_dollar(ledger: SqlLedger) -> None:
    ledger.put_budget(day(100))
    answers = do(ledger.claim(claim("a", 60)), ledger.claim(claim("b", 41)), ledger.claim(claim("c", 40)))
    assert (answers[0], answers[2]) == (None, None)
    refused = refusal(answers[1])
    assert refused.reason == "BUDGET_EXCEEDED"
    assert refused.metadata["left_nano_usd"] == "40"
    assert refused.retry_after == pytest.approx(0.1)
    assert gone(ledger) == {("", DAY): (0, 100)}


def test_a_claim_is_made_in_all_budgets_or_in_none(ledger: SqlLedger) -> None:
    ledger.put_budget(Budget("t", "", (Limit(Period.DAY, 100), Limit(Period.MONTH, 150))))
    ledger.put_budget(Budget("t", "k", (Limit(Period.MONTH, 50),)))
    ledger.put_budget(day(0, key="other"))
    assert do(ledger.claim(claim("a", 40))) == [None]
    refused = refusal(do(ledger.claim(claim("b", 11)))[0])
    assert refused.metadata["limit_nano_usd"] == "50"
    assert do(ledger.claim(claim("c", 60, key="free"))) == [None]
    assert refusal(do(ledger.claim(claim("d", 1, key="free")))[0]).metadata["period"] == "day"
    assert do(ledger.claim(claim("e", 10_000, tenant="nobody's"))) == [None]
    assert gone(ledger) == {
        ("", DAY): (0, 100),
        ("", MONTH): (0, 100),
        ("k", MONTH): (0, 40),
        ("other", DAY): (0, 0),
    }


def test_the_limit_that_is_in_the_way_for_longest_is_named(ledger: SqlLedger) -> None:
    ledger.put_budget(Budget("t", "", (Limit(Period.DAY, 10), Limit(Period.MONTH, 10))))
    noon = datetime(2026, 12, 30, 12, tzinfo=NOW.tzinfo)
    refused = refusal(do(ledger.claim(claim("a", 11, made=noon)))[0])
    assert refused.metadata["period"] == "month"
    assert refused.retry_after == 36 * 3600


def test_an_entry_takes_the_place_of_its_claim_once(ledger: SqlLedger) -> None:
    ledger.put_budget(Budget("t", "", (Limit(Period.DAY, 100), Limit(Period.MONTH, 1000))))
    do(ledger.claim(claim("a", 60)), ledger.claim(claim("b", 40)))
    do(ledger.settle(entry("a", 25)), ledger.settle(entry("a", 26)))
    do(ledger.settle(entry("a", 27)))
    assert gone(ledger) == {("", DAY): (25, 40), ("", MONTH): (25, 40)}
    assert cost(ledger) == 25
    assert do(ledger.claim(claim("c", 35))) == [None]


def test_a_claim_that_is_made_again_changes_nothing(ledger: SqlLedger) -> None:
    ledger.put_budget(day(100))
    assert do(ledger.claim(claim("a", 60)), ledger.claim(claim("a", 60))) == [None, None]
    assert do(ledger.claim(claim("a", 60))) == [None]
    do(ledger.settle(entry("a", 1)), ledger.claim(claim("a", 60)), ledger.settle(entry("a", 60)))
    assert gone(ledger) == {("", DAY): (1, 0)}


def test_an_entry_without_a_claim_is_added(ledger: SqlLedger) -> None:
    ledger.put_budget(day(100, 0.5))
    [passed] = do(ledger.settle(entry("a", 60, outcome=Outcome.CACHED)))
    assert gone(ledger) == {("", DAY): (60, 0)}
    assert isinstance(passed, Sequence)
    assert [one.spent_nano_usd for one in passed] == [60]


def test_what_cost_more_than_was_claimed_is_recorded_as_it_was(
    ledger: SqlLedger, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.put_budget(day(100))
    do(ledger.claim(claim("a", 60)))
    with caplog.at_level(logging.ERROR, "ledger"):
        do(ledger.settle(entry("a", 130)))
    assert gone(ledger) == {("", DAY): (130, 0)}
    assert "call a cost 130, and claimed 60" in caplog.text
    refusal(do(ledger.claim(claim("b", 1)))[0])
    assert do(ledger.claim(claim("free", 0))) == [None]


def test_a_call_counts_in_the_day_and_month_of_its_claim(ledger: SqlLedger) -> None:
    ledger.put_budget(Budget("t", "", (Limit(Period.DAY, 100), Limit(Period.MONTH, 100))))
    do(ledger.claim(claim("a", 90)), ledger.claim(claim("b", 90, made=TOMORROW)))
    do(ledger.settle(entry("a", 80, time=TOMORROW)))
    assert gone(ledger) == {("", DAY): (80, 0), ("", MONTH): (80, 0)}
    assert gone(ledger, TOMORROW) == {("", "2026-02-01"): (0, 90), ("", "2026-02"): (0, 90)}
    assert cost(ledger, since=DAY, until=DAY) == 80
    assert cost(ledger, since="2026-02-01") == 0


def test_a_new_budget_counts_what_was_before(ledger: SqlLedger) -> None:
    early = NOW - timedelta(days=3)
    do(ledger.settle(entry("a", 5, time=early)), ledger.settle(entry("b", 10)), ledger.claim(claim("c", 30)))
    do(ledger.settle(entry("d", 1000, tenant="else")), ledger.settle(entry("e", 3, key="l")))
    ledger.put_budget(Budget("t", "", (Limit(Period.DAY, 100), Limit(Period.MONTH, 100))))
    ledger.put_budget(day(60, key="k"))
    assert gone(ledger) == {("", DAY): (13, 30), ("", MONTH): (18, 30), ("k", DAY): (10, 30)}
    refusal(do(ledger.claim(claim("f", 21)))[0])
    assert do(ledger.claim(claim("g", 20))) == [None]
    do(ledger.settle(entry("c", 29)))
    assert gone(ledger) == {("", DAY): (42, 20), ("", MONTH): (47, 20), ("k", DAY): (39, 20)}


def test_a_budget_replaces_the_one_before(ledger: SqlLedger) -> None:
    ledger.put_budget(day(100))
    do(ledger.claim(claim("a", 60)))
    ledger.put_budget(Budget("t"))
    assert ledger.budgets("t", NOW) == []
    do(ledger.claim(claim("b", 1000)), ledger.settle(entry("a", 50)))
    ledger.put_budget(day(2000))
    assert gone(ledger) == {("", DAY): (50, 1000)}


@pytest.mark.parametrize("share", [0.1, 0.8, 1.0])
def test_a_threshold_is_told_once(ledger: SqlLedger, share: float) -> None:
    ledger.put_budget(day(1000, share))
    for number in range(200):
        do(ledger.claim(claim(f"{number}", 5)))
    answers = do(*(ledger.settle(entry(f"{number}", 5)) for number in range(200)))
    told = [(number, one) for number, answer in enumerate(answers) for one in answer]  # type: ignore[union-attr]
    assert [number + 1 for number, _ in told] == [share * 200]
    assert told[0][1] == Spent(
        day(1000, share), day(1000, share).limits[0], DAY, int(share * 1000), 1000 - int(share * 1000)
    )


def test_a_process_that_dies_between_claim_and_entry_is_charged_in_full(url: str) -> None:
    program = """
import asyncio, signal, sys
from tests.contract.ledgers import claim, entry, ledger_on

async def main():
    with ledger_on(sys.argv[1]) as ledger:
        await asyncio.gather(*(ledger.claim(claim(name, 30)) for name in "abc"))
        await ledger.settle(entry("a", 10))
        print("claimed", flush=True)
        signal.pause()

asyncio.run(main())
"""
    with ledger_on(url) as ledger:
        ledger.put_budget(day(100, 0.5))
        with subprocess.Popen(
            [sys.executable, "-c", program, url], stdout=subprocess.PIPE, text=True
        ) as caller:
            assert caller.stdout is not None
            assert caller.stdout.readline() == "claimed\n"
            caller.kill()
        assert gone(ledger) == {("", DAY): (10, 60)}
        assert len(ledger.release_lost(NOW + HOUR - timedelta(seconds=1))) == 0
        lost = ledger.release_lost(NOW + HOUR)
        assert sorted(len(one.passed) for one in lost) == [0, 1]  # the threshold is told of, once
        assert len(ledger.release_lost(NOW + HOUR)) == 0
        assert gone(ledger) == {("", DAY): (70, 0)}
        [row] = ledger.usage(UsageFilter(by=()))
        assert (row.calls, row.failed, row.nano_usd, row.usage.estimated) == (3, 2, 70, True)
        do(ledger.settle(entry("b", 1)))  # too late
        assert gone(ledger) == {("", DAY): (70, 0)}


def test_two_processes_never_spend_more_than_there_is(url: str) -> None:
    limit = 100_000
    with ledger_on(url) as ledger:
        ledger.put_budget(day(limit, 0.5))
        ledger.put_budget(Budget("t", "k", (Limit(Period.MONTH, limit - 7),)))
        command = [sys.executable, "-m", "tests.contract.ledger_process", url]
        started = [
            subprocess.Popen([*command, name, "100"], stdout=subprocess.PIPE, text=True) for name in "ab"
        ]
        most = 0
        while any(one.poll() is None for one in started):
            seen = ledger.budgets("t", NOW)
            assert all(one.spent_nano_usd + one.reserved_nano_usd <= one.limit.nano_usd for one in seen)
            most = max(most, seen[0].reserved_nano_usd)
            time.sleep(0.005)
        settled = sum(int(one.communicate()[0]) for one in started)
        assert most > 2000  # they did meet
        assert limit - 7 - 150 < settled <= limit - 7
        assert gone(ledger) == {("", DAY): (settled, 0), ("k", MONTH): (settled, 0)}
        assert cost(ledger) == settled


def test_usage_is_added_up_by_whatever_is_asked(ledger: SqlLedger) -> None:
    usage = Usage(100, 20, 3, 4, 50, 10, 2)
    do(
        ledger.settle(entry("a", 7, usage=usage, savings_nano_usd=9)),
        ledger.settle(entry("b", 11, usage=usage, outcome=Outcome.CUT, vendor="xai", key="")),
        ledger.settle(entry("c", 0, usage=Usage(), outcome=Outcome.CACHED, time=TOMORROW)),
        ledger.settle(entry("d", 13, usage=replace(usage, estimated=True), tenant="u")),
    )
    [total] = ledger.usage(UsageFilter(by=()))
    assert (total.calls, total.failed, total.cached, total.nano_usd, total.savings_nano_usd) == (
        4,
        1,
        1,
        31,
        9,
    )
    assert total.usage == Usage(300, 60, 9, 12, 150, 30, 6, True)
    rows = ledger.usage(UsageFilter(tenant="t", by=("vendor", "key")))
    assert [(dict(row.group), row.calls, row.nano_usd) for row in rows] == [
        ({"vendor": "openai", "key": "k"}, 2, 7),
        ({"vendor": "xai", "key": ""}, 1, 11),
    ]
    assert rows[0].usage == usage
    assert len(ledger.usage(UsageFilter())) == 4
    days = ledger.usage(UsageFilter(tenant="t", by=("day",)))
    assert [row.group["day"] for row in days] == [DAY, "2026-02-01"]
    assert ledger.usage(UsageFilter(tenant="none", by=())) == ledger.usage(UsageFilter(tenant="none")) == []
    with pytest.raises(InvalidArgument):
        ledger.usage(UsageFilter(by=("price; DROP TABLE ledger_sums",)))


def test_one_that_cannot_be_written_is_nothing_to_the_others(ledger: SqlLedger) -> None:
    ledger.put_budget(day(100, tenant="u"))

    async def together() -> list[Any]:
        return await asyncio.gather(
            ledger.claim(claim("a", 1)),
            ledger.claim(claim("b", 2**70)),
            ledger.settle(entry("c", 2**70)),
            ledger.settle(entry("d", 5)),
            return_exceptions=True,
        )

    answers = asyncio.run(together())
    assert answers[0] is None
    assert isinstance(answers[1], Exception)
    assert isinstance(answers[2], Exception)
    assert answers[3] == ()
    assert cost(ledger) == 5
    assert len(ledger.release_lost(NOW + HOUR)) == 1


def test_who_is_cancelled_while_he_claims_has_claimed_nothing(ledger: SqlLedger) -> None:
    ledger.put_budget(day(1000))

    async def cancelled(number: int) -> None:
        asking = asyncio.ensure_future(ledger.claim(claim(f"{number}", 10)))
        for _ in range(number % 4):
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    async def all_of_them() -> None:
        await asyncio.gather(*(cancelled(number) for number in range(40)))
        await ledger.claim(claim("last", 1000))

    asyncio.run(all_of_them())
    assert gone(ledger) == {("", DAY): (0, 1000)}


def test_what_a_store_that_was_away_has_missed_is_done_when_it_is_back(tmp_path: Path) -> None:
    url = sqlite_ledger_url(tmp_path)
    with ledger_on(url, busy_timeout=0.1) as ledger:
        ledger.put_budget(day(1000))
        do(ledger.claim(claim("a", 10)))
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as foreign:
            foreign.execute("BEGIN IMMEDIATE")
            answers = do(ledger.settle(entry("a", 7)), ledger.claim(claim("b", 20)))
            assert [type(one) for one in answers] == [Unavailable, Unavailable]
            foreign.execute("ROLLBACK")
        assert do(ledger.claim(claim("b", 30))) == [None]
        assert gone(ledger) == {("", DAY): (7, 30)}


def test_a_server_that_was_away_has_missed_nothing(postgres: Postgres, template: str) -> None:
    url = postgres.copy(template)
    with ledger_on(url) as ledger:
        ledger.put_budget(day(1000))
        do(ledger.claim(claim("a", 10)))
        postgres.stop()
        try:
            answers = do(ledger.settle(entry("a", 7)), ledger.claim(claim("b", 20)))
        finally:
            postgres.start()
        assert [type(one) for one in answers] == [Unavailable, Unavailable]
    with ledger_on(url) as ledger:
        assert gone(ledger) == {("", DAY): (7, 0)}
    postgres.drop(url)


def test_what_is_written_reaches_the_disk_by_itself(tmp_path: Path) -> None:
    """The file alone, without what SQLite keeps beside it, is what a power cut leaves at least."""
    with ledger_on(sqlite_ledger_url(tmp_path)) as ledger:
        do(ledger.settle(entry("a", 7)))
        until = time.monotonic() + 30
        copy = tmp_path / "copy.db"
        found: list[tuple[int]] = []
        while not found and time.monotonic() < until:
            copy.write_bytes((tmp_path / "ledger.db").read_bytes())
            with closing(sqlite3.connect(copy)) as connection:
                found = connection.execute("SELECT nano_usd FROM ledger_entries").fetchall()
            time.sleep(0.05)
        assert found == [(7,)]


MOMENTS = st.sampled_from([NOW - timedelta(days=1), NOW, TOMORROW])
KEYS = st.sampled_from(["", "k", "l"])
CALLS = st.sampled_from("abcdef")
AMOUNTS = st.integers(0, 60)
LIMITS = st.lists(
    st.builds(
        Limit, st.sampled_from(Period), st.integers(0, 150), st.sampled_from([(), (0.5,), (0.33, 0.9)])
    ),
    max_size=2,
    unique_by=lambda limit: limit.period,
)
CLAIMS = st.tuples(st.just("claim"), CALLS, KEYS, AMOUNTS, MOMENTS)
SETTLES = st.tuples(st.just("settle"), CALLS, KEYS, AMOUNTS, MOMENTS)
STEPS = st.one_of(
    st.lists(CLAIMS | SETTLES, min_size=1, max_size=8),
    st.tuples(st.sampled_from(["", "k"]), LIMITS.map(tuple)),
    st.sampled_from([NOW, NOW + HOUR, TOMORROW + HOUR]),
)
NUMBERS = itertools.count()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=12))
def test_any_history_ends_as_the_plain_way_does(ledger: SqlLedger, steps: list[Any]) -> None:
    tenant, model = f"t{next(NUMBERS)}", Model()

    def operation(kind: str, call: str, key: str, amount: int, moment: datetime) -> Claim | Entry:
        call_id = f"{tenant}-{call}"
        if kind == "claim":
            return claim(call_id, amount, moment, tenant=tenant, key=key)
        before = model.claims.get(call_id)
        return entry(call_id, amount, moment, tenant=tenant, key=before.key if before else key)

    def make(found: Claim | Entry) -> Awaitable[Any]:
        return ledger.claim(found) if isinstance(found, Claim) else ledger.settle(found)

    for step in steps:
        if isinstance(step, datetime):
            assert len(ledger.release_lost(step)) == model.release_lost(step)
        elif isinstance(step, tuple):
            budget = Budget(tenant, *step)
            ledger.put_budget(budget)
            model.budgets[tenant, budget.key] = budget
        else:
            operations, expected = [], []
            for one in step:
                found = operation(*one)
                operations.append(found)
                expected.append(model.claim(found) if isinstance(found, Claim) else model.settle(found))
            answers = do(*(make(found) for found in operations))
            seen = [
                not isinstance(answer, BudgetExceeded) if isinstance(found, Claim) else list(answer)  # type: ignore[call-overload]
                for found, answer in zip(operations, answers, strict=True)
            ]
            assert seen == expected
        for moment in (NOW, TOMORROW):
            assert ledger.budgets(tenant, moment) == model.all_of(tenant, moment)
    assert len(ledger.release_lost(TOMORROW + 2 * HOUR)) == model.release_lost(TOMORROW + 2 * HOUR)
    rows = ledger.usage(UsageFilter(tenant=tenant, by=("day", "key")))
    assert {(row.group["day"], row.group["key"]): row.nano_usd for row in rows} == model.cost_by_day_and_key(
        tenant
    )
    assert sum(row.calls for row in rows) == len(model.entries)
