"""Group commit: whoever waits for the store at the same moment is served by one transaction.

A commit costs what ten statements do, and a change of thread what twenty do; shared by all who wait, both
become small, and the more so the more there are.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any, TypeAlias, cast

from services.chassis.cursor import Cursor
from services.chassis.database import Database, unavailable
from services.chassis.errors import AppError, Unavailable

log = logging.getLogger("commits")

# Runs some operations, and answers each; what one is refused with is its answer, and is raised to its caller.
# Anything raised undoes them all.
Handler: TypeAlias = Callable[[Cursor, Sequence[Any]], Sequence[Any]]
# So many share a transaction at most: the first should not wait for too many others.
LARGEST = 128
# Seconds between two times that what was committed is brought to the disk, and between two tries of what a
# store that was away has missed.
PAUSE = 1.0
# Operations that are kept for a store that is away.
MOST_LATE = 100_000


@dataclass(slots=True)
class _Waiting:
    """An operation, and who waits for it. later: what has to be done when the store could not be reached."""

    handler: Handler
    operation: Any
    later: Any
    future: Any
    loop: asyncio.AbstractEventLoop | None


class GroupCommit:
    """One thread that writes, for all callers of a process; thread-safe.

    Those that are submitted first come first. What one operation is refused with is nothing to the others.
    """

    def __init__(self, database: Database, largest: int = LARGEST) -> None:
        self._database = database
        self._largest = largest
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._late: list[_Waiting] = []
        self._written = False
        self._closed = Event()
        self._threads = [Thread(target=self._write, name="commits", daemon=True)]
        if database.lazy:
            self._threads.append(Thread(target=self._sync, name="commits-sync", daemon=True))
        for thread in self._threads:
            thread.start()

    async def submit(self, handler: Handler, operation: Any, later: Any = None) -> Any:
        """What the handler answers, once that is committed. Who is cancelled changes nothing about it.

        later: what is done instead, as soon as that is possible, when the store is away. Raises what the
        operation is refused with, or Unavailable.
        """
        if self._closed.is_set():
            raise unavailable()
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._queue.put(_Waiting(handler, operation, later, future, loop))
        return await future

    def post(self, handler: Handler, operation: Any, later: Any = None) -> Future[Any]:
        """The same, for who has no event loop, or does not wait."""
        future: Future[Any] = Future()
        self._queue.put(_Waiting(handler, operation, later, future, None))
        return future

    def close(self) -> None:
        """Does what is waiting, and ends the threads."""
        self._closed.set()
        self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _write(self) -> None:
        open_ = True
        while open_:
            batch, open_ = self._gather()
            # What is late comes first: a claim must not be undone by what was to undo an earlier one.
            away = self._catch_up()
            if batch:
                self._answer(batch, [away] * len(batch) if away else self._outcomes(batch))
        if self._late:
            log.error("%d operations could not be written", len(self._late))

    def _gather(self) -> tuple[list[_Waiting], bool]:
        """All that wait now, at least one unless something is late; and whether more may come."""
        batch: list[_Waiting] = []
        try:
            item = self._queue.get(timeout=PAUSE if self._late else None)
            while item is not None:
                batch.append(item)
                if len(batch) == self._largest:
                    return batch, True
                item = self._queue.get_nowait()
        except Empty:
            return batch, True
        return batch, False

    def _answer(self, batch: Sequence[_Waiting], answers: Sequence[Any]) -> None:
        """Tells those who wait, each loop once."""
        by_loop: dict[asyncio.AbstractEventLoop | None, list[tuple[Any, Any]]] = defaultdict(list)
        for item, answer in zip(batch, answers, strict=True):
            by_loop[item.loop].append((item.future, answer))
            if item.later is not None and _is_away(answer):
                self._keep(item)
        for loop, answered in by_loop.items():
            if loop is None:
                _tell(answered)
                continue
            with suppress(RuntimeError):  # nobody waits any more: the loop is closed
                loop.call_soon_threadsafe(_tell, answered)

    def _keep(self, item: _Waiting) -> None:
        if len(self._late) < MOST_LATE:
            self._late.append(_Waiting(item.handler, item.later, None, None, None))
        else:
            log.error("too much waits for the store; not written: %s", item.later)

    def _catch_up(self) -> AppError | None:
        """Does what is late; answers the error when the store is still away."""
        count = len(self._late)
        while self._late:
            some = self._late[: self._largest]
            answers = self._outcomes(some)
            if away := next(filter(_is_away, answers), None):
                return cast(AppError, away)
            for item, answer in zip(some, answers, strict=True):
                if isinstance(answer, Exception):
                    log.error("not written: %s: %s", item.operation, answer)
            del self._late[: len(some)]
        if count:
            log.warning("the store is back; %d operations that it had missed are done", count)
        return None

    def _outcomes(self, batch: Sequence[_Waiting]) -> Sequence[Any]:
        """The answer of each: of all together, or of each by itself when one spoils it for the others."""
        try:
            return self._together(batch)
        except AppError as error:
            return [error] * len(batch)
        except Exception as error:
            if len(batch) == 1:
                return [error]
        return [self._outcomes([item])[0] for item in batch]

    def _together(self, batch: Sequence[_Waiting]) -> list[Any]:
        places: dict[Handler, list[int]] = defaultdict(list)
        for place, item in enumerate(batch):
            places[item.handler].append(place)
        answers: list[Any] = [None] * len(batch)
        with self._database.write() as connection:
            cursor = Cursor(connection)
            # In one order everywhere: each takes locks, and two processes may not wait for each other.
            for handler, mine in sorted(places.items(), key=lambda place: place[0].__module__):
                found = handler(cursor, [batch[place].operation for place in mine])
                for place, answer in zip(mine, found, strict=True):
                    answers[place] = answer
        self._written = True
        return answers

    def _sync(self) -> None:
        while not self._closed.wait(PAUSE):
            if not self._written:
                continue
            self._written = False
            try:
                self._database.sync()
            except AppError as error:
                self._written = True
                log.warning("what was written could not be brought to the disk: %s", error)


def _is_away(answer: object) -> bool:
    return isinstance(answer, Unavailable) or (
        isinstance(answer, AppError) and answer.reason == "STORAGE_FULL"
    )


def _tell(answered: Sequence[tuple[Any, Any]]) -> None:
    for future, answer in answered:
        if future.done():
            continue  # cancelled
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
