"""API keys in the file that the services read (`API_KEYS_FILE`). POSIX only.

A key is `mlk_<id>_<secret>`. The file holds the SHA-256 of the secret, never the secret.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import string
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlapi_client.errors import InvalidValue, NotFound

SCOPES = ("training:read", "training:write", "training:delegate", "ai:call", "ai:budgets", "admin")
_LETTERS = string.ascii_lowercase + string.digits
_RATE = re.compile(r"0*[1-9][0-9]{0,17}/(second|minute|hour|day)")
_ID_LENGTH = 12
_SECRET_BYTES = 24  # 192 bits, 32 characters


@dataclass(frozen=True)
class KeyRecord:
    """A key as the file holds it. Times are RFC 3339; expires: None for never. requests: a limit of its own,
    such as `200/day, 50/hour`, in the place of each service's usual one; empty for the usual one."""

    id: str
    sha256: str
    tenant: str
    scopes: Sequence[str]
    expires: str | None = None
    name: str = ""
    created: str = ""
    requests: str = ""


def create(
    path: Path,
    tenant: str,
    scopes: Sequence[str],
    *,
    name: str = "",
    expires: datetime | None = None,
    requests: str = "",
) -> tuple[KeyRecord, str]:
    """Adds a key to the file, made with mode 0600 when it is not there: the record, and the key.

    The key is nowhere else. Raises InvalidValue.
    """
    if not is_limit(requests):
        raise InvalidValue.of("requests", f"{requests!r} is not a limit such as 200/day, 50/hour")
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    record = KeyRecord(
        id="".join(secrets.choice(_LETTERS) for _ in range(_ID_LENGTH)),
        sha256=hashlib.sha256(secret.encode()).hexdigest(),
        tenant=tenant,
        scopes=list(dict.fromkeys(scopes)),
        expires=_written(expires) if expires else None,
        name=name,
        created=_written(datetime.now(UTC)),
        requests=requests,
    )
    with _alone(path):
        _replace(path, [*(read(path) if path.exists() else ()), record])
    return record, f"mlk_{record.id}_{secret}"


def is_limit(text: str) -> bool:
    """Whether the services can read it; nothing is no limit."""
    return all(_RATE.fullmatch(one.strip()) for one in text.split(",") if one.strip())


def read(path: Path) -> list[KeyRecord]:
    """The keys, oldest first; raises InvalidValue when it is not a file of keys."""
    try:
        text = path.read_text().strip()
        items = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
        return [KeyRecord(**item) for item in items]
    except FileNotFoundError:
        raise InvalidValue.of("file", f"{path} is not there") from None
    except (ValueError, TypeError):
        raise InvalidValue.of("file", f"{path} is not a file of API keys") from None


def revoke(path: Path, key_id: str) -> KeyRecord:
    """Takes a key out of the file; raises NotFound, InvalidValue."""
    with _alone(path):
        records = read(path)
        found = next((one for one in records if one.id == key_id), None)
        if found is None:
            raise NotFound("NOT_FOUND", "KEY_NOT_FOUND", f"There is no key {key_id!r} in {path}.")
        _replace(path, [one for one in records if one.id != key_id])
    return found


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody else changes files in the folder meanwhile."""
    folder = os.open(path.absolute().parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _replace(path: Path, records: Sequence[KeyRecord]) -> None:
    """All or nothing: a service that reads meanwhile sees the old file or the new one."""
    lines = ",\n".join(json.dumps(asdict(record)) for record in records)
    handle, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")  # 0600
    try:
        with suppress(FileNotFoundError):  # who may read it was decided by whoever opened it to others
            os.fchmod(handle, path.stat().st_mode & 0o777)
        with os.fdopen(handle, "w") as file:
            file.write(f"[\n{lines}\n]\n")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def _written(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")
