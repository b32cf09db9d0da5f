"""Which calls are written down, and when they may be answered: the interceptor's side of the audit log.

An answer waits for its entry. If that cannot be stored the call has happened all the same, and so it is
answered: the log has the entry, a metric counts it, and it is stored when the database is back, if the
process lives to see that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter

from services.chassis import callers, clock
from services.chassis.audit.chain import Chain, Head
from services.chassis.audit.entry import NOTHING, Entry, clean
from services.chassis.audit.refusals import REFUSED, STRANGERS, Refusals
from services.chassis.audit.subject import subject
from services.chassis.database import Database
from services.chassis.errors import AppError
from services.chassis.group_commit import GroupCommit
from services.chassis.logs import TRACE_ID
from services.chassis.scopes import changes

log = logging.getLogger("audit")
# Seconds that an answer waits for its entry.
PATIENCE = 5.0
MINUTE, HOUR = 60.0, 3600.0


class Call(Protocol):
    """A call that has ended. request: None when it is a stream whose first message did not come.
    refusal: with what its caller was turned away at the door."""

    method: str
    request: Any
    request_id: str
    refusal: AppError | None


class Auditor:
    """Writes calls to one service's chain, while it is `running`. One event loop."""

    def __init__(
        self,
        service: str,
        database: Database,
        registry: CollectorRegistry,
        now: Callable[[], datetime] = clock.now,
        *,
        period: float = MINUTE,
        pinned_every: float = HOUR,
    ) -> None:
        """period: see `Refusals`. pinned_every: seconds between two lines of the log that name the chain's
        end."""
        self._chain, self._database, self._now = Chain(service), database, now
        self._period, self._pinned_every = period, pinned_every
        self._refusals = Refusals()
        self._storing: set[asyncio.Task[None]] = set()
        self._pinned: Head = (0, NOTHING)
        self._entries = Counter("ml_api_audit_entries_total", "Entries of the audit log", registry=registry)
        self._missed = Counter(
            "ml_api_audit_missed_total",
            "Calls that were answered before their entry was stored",
            registry=registry,
        )

    def note(
        self, call: Call, code: str, answer: Any, *, recorded: bool = False
    ) -> asyncio.Task[None] | None:
        """Writes the call down, and answers the writing; None when there is nothing to wait for.

        recorded: somebody else keeps a record of it, unless its caller was turned away.
        """
        if code not in STRANGERS and (recorded or not changes(call.method)):
            return None
        entry = self._entry(call, code, answer)
        if code in REFUSED and not self._refusals.take(entry):
            return None
        return self._begin(entry)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While calls are taken. At the end everything is stored, if it can be."""
        # Transactions of its own: who waits for the chain's turn in one should hold nothing that others need.
        self._commits = GroupCommit(self._database)
        routine = asyncio.create_task(self._routine())
        try:
            yield
        finally:
            routine.cancel()
            with suppress(asyncio.CancelledError):
                await routine
            self._end_period()
            if self._storing:
                await asyncio.wait(self._storing)
            await self._pin()
            await asyncio.to_thread(self._commits.close)

    def _entry(self, call: Call, code: str, answer: Any) -> Entry:
        tenant, key = _whose(call)
        return Entry(
            time=self._now().isoformat(timespec="microseconds"),
            tenant=tenant,
            key=key,
            method=call.method,
            resource=clean(subject(call.method, call.request, answer)),
            request_id=clean(call.request_id),
            trace_id=TRACE_ID.get(),
            code=code,
        )

    def _begin(self, entry: Entry) -> asyncio.Task[None]:
        storing = asyncio.create_task(self._store(entry))
        self._storing.add(storing)
        storing.add_done_callback(self._storing.discard)
        return storing

    async def _store(self, entry: Entry) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._commits.submit(self._chain.append, entry, later=entry)
        except Exception as error:
            self._missed.inc()
            fields = {"entry": asdict(entry), "why": str(error) or "it took too long"}
            log.error("an entry of the audit log is not stored", extra={"fields": fields})
        else:
            self._entries.inc()

    async def _routine(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            if loop.time() >= due:
                due = loop.time() + self._pinned_every
                await self._pin()
            await asyncio.sleep(self._period)
            self._end_period()

    def _end_period(self) -> None:
        for entry in self._refusals.end_period():
            self._begin(entry)

    async def _pin(self) -> None:
        """Names the end of the chain in the log, which is kept elsewhere: who cuts the chain off before it,
        or makes another one, is found out by that."""
        try:
            async with asyncio.timeout(PATIENCE):
                head: Head = await self._commits.submit(self._chain.head, None)
        except Exception as error:
            log.warning("the audit log's end is not known: %s", error or "it took too long")
            return
        if head != self._pinned:
            self._pinned = head
            fields = {"chain": self._chain.service, "seq": head[0], "hash": head[1]}
            log.info("audit head", extra={"fields": fields})


def _whose(call: Call) -> tuple[str, str]:
    """Tenant and key. Of who was turned away, what is known of them."""
    if call.refusal is None:
        return callers.tenant(), callers.key()
    if caller := callers.CALLER.get():
        return caller.tenant, caller.key
    return call.refusal.metadata.get("tenant", ""), call.refusal.metadata.get("key_id", "")
