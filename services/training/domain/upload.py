"""An upload in parts: bytes that arrive over any number of calls, and become a dataset at the end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.training.domain.dataset import Reading
from services.training.domain.tenants import DEFAULT_TENANT

# Nobody who still wants an upload leaves it alone this long.
ABANDONED_AFTER = timedelta(hours=24)


@dataclass(frozen=True)
class Upload:
    """An upload that is open.

    committed: bytes that are safe; the next part begins here.
    last: what the artifacts call the part that was committed last.
    byte_count: how many there will be in all; 0 when the caller did not say.
    """

    upload_id: str
    dataset_id: str
    reading: Reading
    create_time: datetime
    update_time: datetime
    expire_time: datetime
    committed: int = 0
    byte_count: int = 0
    tenant: str = DEFAULT_TENANT
    last: str = ""

    def advanced(self, committed: int, now: datetime, last: str = "") -> Upload:
        """More of it is safe, and it lives on."""
        until = now + ABANDONED_AFTER
        return replace(self, committed=committed, last=last, update_time=now, expire_time=until)
