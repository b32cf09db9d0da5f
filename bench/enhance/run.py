"""One enhancement from its beginning to its verdict, by the gateway's own turns on a store in SQLite."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from bench.enhance import peer
from bench.enhance.datasets import rows as rows_of
from bench.enhance.fits import Fits
from bench.enhance.provider import ScriptedChats
from bench.enhance.sweeps import ComputedSweeps
from services.ai_gateway.adapters import migrations
from services.ai_gateway.adapters.enhancements_sql import SqlEnhancements
from services.ai_gateway.adapters.key_ring import KeyRing
from services.ai_gateway.application.accounts import Account
from services.ai_gateway.application.consult import Consult
from services.ai_gateway.application.enhance_turns import EnhanceTurns
from services.ai_gateway.application.enhancements import Enhancements
from services.ai_gateway.application.held_enhancement import Means
from services.ai_gateway.application.ports import Caller
from services.ai_gateway.domain.enhancement import Asked, Enhancement, Run, State
from services.ai_gateway.domain.routing import Routes
from services.ai_gateway.domain.trials import Arm, Trial, validation
from services.chassis.database import Database
from services.chassis.group_commit import GroupCommit
from services.chassis.schema import migrate

ARMS = (Arm.TPE, Arm.HYBRID)
LEASE = timedelta(hours=1)
TURNS = 100
Result = dict[str, Any]


class Clock:
    """A second later whenever it is looked at, so that nobody waits."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self._now += timedelta(seconds=60)
        return self._now


def enhanced(name: str, seed: int, trials: int, beside_peer: bool = True) -> Result:
    """What came of run `seed` of that dataset. beside_peer: with Optuna's own loop beside its arms."""
    rows = rows_of(name, seed)
    fits = Fits(rows)
    trainer = ComputedSweeps(rows, fits)
    one = asyncio.run(_ended(trainer, trials))
    if one.state is not State.SUCCEEDED:
        raise RuntimeError(one.problem)
    arms = {"input": _scores(trainer, fits, seed, one.start.trials[:1])}
    for run in one.runs[1:]:
        _check(run, trials)
        arms[str(run.arm)] = _scores(trainer, fits, seed, (*one.start.trials, *run.trials))
    if beside_peer:
        params, value = peer.search(rows, fits, trials)
        test = fits(params, seed, 1).test[rows.metric]
        arms["optuna"] = {"validation": value, "test": test, "truth": fits.truth(params, seed)}
    found = {"dataset": name, "seed": seed, "recommendation": str(one.recommendation), "reason": one.reason}
    return {**found, "arms": arms, "final": _final(trainer, one), "fits": fits.count}


async def _ended(trainer: ComputedSweeps, trials: int) -> Enhancement:
    with _store() as store:
        clock, routes = Clock(), Routes({}, frozenset(("openai",)))
        keys = KeyRing({"openai": ["k"]}, {})
        use = Enhancements(store, trainer, lambda: routes, keys, clock, lambda: None, may_train=True)
        asked = Asked(job_id="job", arms=ARMS, max_trials=trials, models=("openai/scripted",))
        one = await use.create(asked, Account("t"), Caller(0, tenant="t"))
        # Without a limit of cost, `chats` is asked nothing, and the advisor has no arm.
        consult = Consult(None, ScriptedChats(), None)  # type: ignore[arg-type]
        turns = EnhanceTurns(Means(store, trainer, consult, clock, "", 1.0, LEASE))
        for _ in range(TURNS):
            await turns.round()
            one = await use.get(one.enhancement_id, "t")
            if one.ended:
                return one
    raise RuntimeError(f"it did not end: {one}")


@contextmanager
def _store() -> Iterator[SqlEnhancements]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gateway.db"
        path.write_bytes(_empty_store())
        database = Database(f"sqlite:///{path}", lazy=True)
        commits = GroupCommit(database)
        try:
            yield SqlEnhancements(database, commits)
        finally:
            commits.close()
            database.close()


@cache
def _empty_store() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gateway.db"
        migrate(f"sqlite:///{path}", Path(migrations.__path__[0]))
        return path.read_bytes()


def _check(run: Run, trials: int) -> None:
    """Arms are compared by equal trials, all of which have a result."""
    measured = [one for one in run.trials if one.validation is not None]
    if len(measured) != trials:
        raise RuntimeError(f"{run.arm} made {len(measured)} of {trials} trials: {run.note}")


def _scores(trainer: ComputedSweeps, fits: Fits, seed: int, trials: tuple[Trial, ...]) -> dict[str, float]:
    """The best of these on validation rows, there, on test rows, and on rows that say what is true."""
    best = min((one for one in trials if one.validation is not None), key=validation)
    truth = fits.truth(trainer.settled(best.values), seed)
    return {"validation": validation(best), "test": best.test or 0.0, "truth": truth}


def _final(trainer: ComputedSweeps, one: Enhancement) -> dict[str, float] | None:
    """What was claimed of the final's winner, and what is true; None where there was nothing to claim."""
    finals = one.finals
    if finals is None or finals.comparison is None:
        return None
    sides = finals.comparison.candidate.model_ids, finals.comparison.baseline.model_ids
    winner, asked = ([trainer.truth(model_id) for model_id in side] for side in sides)
    return {
        "claimed": finals.comparison.improvement.mean,
        "p_value": finals.comparison.improvement.p_value,
        "truth_input": sum(asked) / len(asked),
        "truth_winner": sum(winner) / len(winner),
    }
