"""Waiting with one timer: what comes in time, what does not, and who else may cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import pytest

from services.chassis.patience import Patience

SOON = 0.02


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def run(**given: Any) -> None:
        asyncio.run(test(**given))

    return run


async def never() -> None:
    await asyncio.Event().wait()


async def with_patience(seconds: float) -> Patience:
    return Patience(asyncio.get_running_loop().time() + seconds)


@in_a_loop
async def test_work_that_comes_in_time_is_answered_piece_by_piece() -> None:
    patience = await with_patience(60)
    assert [await patience.wait(asyncio.sleep(0, piece)) for piece in "abc"] == ["a", "b", "c"]
    patience.close()


@in_a_loop
async def test_what_does_not_come_ends_in_a_timeout_and_leaves_the_task_as_it_was() -> None:
    patience = await with_patience(SOON)
    with pytest.raises(TimeoutError):
        await patience.wait(never())
    assert patience.ended
    task = asyncio.current_task()
    assert task
    assert not task.cancelling()


@in_a_loop
async def test_a_timeout_of_the_works_own_is_not_ours() -> None:
    patience = await with_patience(60)
    with pytest.raises(TimeoutError):
        await patience.wait(asyncio.wait_for(never(), SOON))
    assert not patience.ended
    patience.close()


@in_a_loop
async def test_time_that_passes_between_two_waits_counts() -> None:
    patience = await with_patience(SOON)
    await patience.wait(asyncio.sleep(0))
    await asyncio.sleep(2 * SOON)
    with pytest.raises(TimeoutError):
        await patience.wait(never())


@pytest.mark.parametrize("first", [60.0, SOON])
@in_a_loop
async def test_an_instant_may_be_moved_both_ways(first: float) -> None:
    clock = asyncio.get_running_loop().time
    patience = await with_patience(first)
    await patience.wait(asyncio.sleep(0))
    began, wanted = clock(), 4 * SOON
    patience.move(began + wanted)
    with pytest.raises(TimeoutError):
        await patience.wait(never())
    assert clock() - began >= wanted - 0.002  # uvloop's timers have whole milliseconds


@in_a_loop
async def test_who_cancels_the_task_is_obeyed() -> None:
    patience = await with_patience(60)
    task = asyncio.create_task(patience.wait(never()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not patience.ended
    patience.close()


@in_a_loop
async def test_without_an_end_it_waits_for_ever() -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(Patience(None).wait(never()), SOON)
