"""What is too big for the store, and the reading of what is uploaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from services.training.domain.dataset import Content, Reading


class Spool(Protocol):
    """Bytes on their way in."""

    path: Path
    byte_count: int

    def write(self, data: bytes) -> None:
        """Appends; raises OSError when the disk is full."""

    def sha256(self) -> str:
        """Hash of everything written, in lower-case hex."""


class Parts(Protocol):
    """The bytes of an upload in parts."""

    def append(self, offset: int, data: bytes) -> None:
        """Writes at `offset`, over what was written there and never committed; raises OSError when the disk
        is full. The first offset is what was committed, each other one the end of what came before."""

    def sync(self) -> str:
        """What was appended survives a crash once this returns. Answers what the upload is to keep as `last`
        when it is committed."""

    def whole(self, byte_count: int) -> AbstractContextManager[Path]:
        """A file of the first `byte_count` bytes, all that was committed; OSError when some are lost."""


class Artifacts(Protocol):
    """What is too big for the store: contents of datasets, weights of models, open uploads, checkpoints."""

    def spool(self) -> AbstractContextManager[Spool]:
        """A new empty spool, gone at the end."""

    def parts(self, upload_id: str, last: str = "") -> AbstractContextManager[Parts]:
        """The bytes of this upload. It goes on after `last`, what `sync` answered before the last commit."""

    def delete_parts(self, upload_id: str) -> None: ...

    def all_parts(self, older_than: float) -> list[str]:
        """Ids of the uploads whose bytes were written `older_than` seconds ago or more."""

    def new_content(self, content_id: str) -> Path:
        """Where to write the Arrow file of this content."""

    def keep_content(self, content_id: str) -> None:
        """What was written there is now to be had on every machine, and survives a crash of this one."""

    def has_content(self, content_id: str) -> bool:
        """Whether it is kept. Answers soon: a transaction may be waiting."""

    def content(self, content_id: str) -> Path:
        """The Arrow file of this content; of none when it is not kept. To be opened at once."""

    def delete_content(self, content_id: str) -> None: ...

    def contents(self, older_than: float) -> list[str]:
        """Ids of the contents that were written `older_than` seconds ago or more."""

    def save_model(self, model_id: str, arrays: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        """Keeps it all, or nothing on an exception."""

    def load_model(self, model_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arrays, to be read only, and metadata as saved; raises FileNotFoundError.

        The arrays stay what they are when the model is deleted.
        """

    def delete_model(self, model_id: str) -> None: ...

    def models(self, older_than: float) -> list[str]:
        """Ids of the models that were saved `older_than` seconds ago or more."""

    def save_checkpoint(
        self, job_id: str, name: str, arrays: Mapping[str, Any], facts: Mapping[str, Any]
    ) -> SavedCheckpoint:
        """Keeps it all, or nothing on an exception; it survives a crash once this returns.

        name: the attempt's number, a dash, and what else tells it apart; used once. facts: kept in the
        manifest, fit for JSON.
        """

    def load_checkpoint(self, job_id: str, name: str, manifest_sha256: str) -> dict[str, Any]:
        """The arrays as saved. Raises DamagedCheckpoint unless every byte is as the manifest says."""

    def keep_checkpoints(self, job_id: str, attempt: int, names: Iterable[str]) -> None:
        """Deletes all others of this job, those that are being written included, up to this attempt's.

        What a later attempt writes stays: this one may have been given up and not know it yet.
        """

    def workspace(self, job_id: str, attempt: int) -> Path:
        """A folder for an attempt's files; made when it is not there."""

    def clear_job(self, job_id: str) -> None:
        """Deletes every checkpoint and workspace of this job."""

    def clear_workspaces(self, job_id: str, attempt: int) -> None:
        """Deletes those of this attempt and earlier ones: the next may have begun."""

    def jobs(self, older_than: float) -> list[str]:
        """Ids of the jobs that have checkpoints or workspaces, last changed `older_than` seconds ago."""


@dataclass(frozen=True)
class SavedCheckpoint:
    """What the store keeps of a checkpoint on disk."""

    manifest_sha256: str
    byte_count: int


class DamagedCheckpoint(Exception):
    """A checkpoint that is not there, or not what was written."""


class Ingest(Protocol):
    """Reads an uploaded file."""

    def recognise(self, source: Path, asked: Reading) -> Reading:
        """How the file is to be read: as `asked`, with what was left open found out. Raises BadContent."""

    def read(self, source: Path, reading: Reading, destination: Path, *, sha256: str) -> Content:
        """Writes the Arrow file `destination`; raises BadContent, leaving nothing behind.

        reading: what `recognise` answered. sha256: of the file's bytes.
        """
