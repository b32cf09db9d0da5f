"""A blocking context manager on the event loop is left, whatever becomes of the task."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from services.training.rpc.blocking import in_thread


class Room:
    """Notes who comes and goes, and on which thread. open: let those in who knock."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.threads: set[str] = set()
        self.knocked, self.open = threading.Event(), threading.Event()

    @contextmanager
    def enter(self) -> Iterator[str]:
        self.knocked.set()
        assert self.open.wait(10)
        self._note("in")
        try:
            yield "value"
        except BaseException as error:
            self._note(type(error).__name__)
            raise
        finally:
            self._note("out")

    def _note(self, what: str) -> None:
        self.seen.append(what)
        self.threads.add(threading.current_thread().name)


def test_it_is_entered_and_left_off_the_loop() -> None:
    room = Room()
    room.open.set()

    async def main() -> str:
        async with in_thread(room.enter()) as value:
            return value

    assert asyncio.run(main()) == "value"
    assert room.seen == ["in", "out"]
    assert threading.current_thread().name not in room.threads


def test_an_error_passes_through_it() -> None:
    room = Room()
    room.open.set()

    async def main() -> None:
        async with in_thread(room.enter()):
            raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(main())
    assert room.seen == ["in", "KeyError", "out"]


def test_what_cannot_be_entered_is_not_left() -> None:
    @contextmanager
    def closed() -> Iterator[None]:
        raise KeyError
        yield

    async def main() -> None:
        async with in_thread(closed()):
            raise AssertionError

    with pytest.raises(KeyError):
        asyncio.run(main())


@pytest.mark.parametrize("inside", [False, True])
def test_a_cancelled_task_leaves_it(inside: bool) -> None:
    room = Room()
    if inside:
        room.open.set()
    within = asyncio.Event()

    async def stay() -> None:
        async with in_thread(room.enter()):
            within.set()
            await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(stay())
        await (within.wait() if inside else asyncio.to_thread(room.knocked.wait))
        task.cancel()
        room.open.set()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert room.seen == ["in", "CancelledError", "out"]
