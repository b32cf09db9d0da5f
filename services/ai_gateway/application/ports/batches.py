"""Batches: where they are kept, and the vendors that take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.ai_gateway.application.ports.keys import Key
from services.ai_gateway.domain.batch import Batch, Line, Result, Said, Seen
from services.ai_gateway.domain.chat import Completion
from services.ai_gateway.domain.prompt import Prompt


class Overtaken(Exception):
    """Another process has taken the batch over; nothing was written."""


@dataclass(frozen=True)
class Held:
    """A batch that is this process's until its lease ends. owner: proves it."""

    batch: Batch
    owner: str


class BatchStore(Protocol):
    """Any number of processes on one store. Raises Unavailable when it is away.

    Nobody but the holder of a batch changes it, except for `stop`.
    """

    async def add(self, batch: Batch, lines: Sequence[Line], lease: datetime) -> Held | None:
        """A new one, held by whoever adds it. None when there is one of this name already."""

    async def take(self, now: datetime, lease: datetime, most: int) -> list[Held]:
        """Batches for which something has to be done, and that nobody holds; held until `lease`."""

    async def save(self, held: Held, batch: Batch, lease: datetime, results: Sequence[Result] = ()) -> Held:
        """Writes it and its results, in one transaction, and keeps it; raises Overtaken."""

    async def release(self, held: Held, batch: Batch, due: datetime | None) -> Batch:
        """Writes it, and lets go of it. due: when it can be taken again; None for never. Raises Overtaken."""

    async def drop(self, held: Held) -> None:
        """Forgets it; raises Overtaken."""

    async def stop(self, batch_id: str, tenant: str, now: datetime) -> None:
        """Notes that it shall end, and makes it due."""

    async def get(self, batch_id: str, tenant: str) -> Batch | None:
        """One whose creation is complete."""

    async def page(self, tenant: str, size: int, before: tuple[float, str] | None) -> list[Batch]:
        """Newest first. before: `made`, in seconds since 1970, and id of the last of the page before."""

    async def vendor_ids(self, since: datetime) -> frozenset[str]:
        """The vendors' names of batches that were made since, and that are surely ours."""

    async def lines(self, batch_id: str) -> list[Line]:
        """All requests, in their order."""

    async def results(self, batch_id: str, size: int, after: int) -> list[Result]:
        """In the order of their places, from the one behind `after`."""


class BatchVendor(Protocol):
    """A vendor's batch API. Raises VendorError and nothing else; no message of it holds a key.

    vendor: its name, as in `vendor/model`.
    """

    vendor: str

    def body(self, prompt: Prompt, model: str) -> bytes:
        """A request of a batch; raises InvalidArgument for what the vendor has no way to say."""

    def read(self, body: bytes) -> Completion:
        """An answer out of a batch; raises ValueError when it is none."""

    async def submit(self, batch_id: str, lines: Sequence[Line], key: Key) -> str:
        """Hands it over, and answers the vendor's name for it. After an error the vendor may have it."""

    async def find(self, batch: Batch, key: Key) -> Seen | None:
        """The batch, if the vendor has it and it is none of `batch.foreign`.

        Where the vendor keeps no name of ours, one that may be it: `Seen.label` is empty.
        """

    async def look(self, vendor_id: str, key: Key) -> Seen: ...

    async def cancel(self, vendor_id: str, key: Key) -> None:
        """Asks for its end."""

    async def results(self, seen: Seen, key: Key) -> list[Said]:
        """Of a batch that is over; requests that were not answered may be missing."""
