"""Remove what nobody wants any more, and what a process that was killed between two steps left behind."""

from __future__ import annotations

from datetime import datetime, timedelta

from services.training.application.datasets import drop_unused_content, in_use
from services.training.application.ports import Artifacts, Store
from services.training.domain.job import JobState

# An upload or an attempt that has written its file takes far less than this to write it down.
OLD_SECONDS = 3600.0
# Nobody repeats a request after this long.
REQUEST_IDS_KEPT = timedelta(days=7)


def remove_leftovers(store: Store, artifacts: Artifacts, now: datetime) -> None:
    """Expired uploads, old request ids, and files that no row in the store refers to. Safe at any time."""
    _remove_expired(store, artifacts, now)
    for upload_id in artifacts.all_parts(OLD_SECONDS):
        with store.read() as tx:
            upload = tx.uploads.get(upload_id)
        if upload is None:
            artifacts.delete_parts(upload_id)
    for content_id in artifacts.contents(OLD_SECONDS):
        with store.read() as tx:  # so that the usual case holds no writer up
            needed = in_use(tx, content_id)
        if not needed:
            drop_unused_content(store, artifacts, content_id)
    for model_id in artifacts.models(OLD_SECONDS):
        with store.read() as tx:
            model = tx.models.get(model_id)
        if model is None:
            artifacts.delete_model(model_id)
    for job_id in artifacts.jobs(OLD_SECONDS):
        with store.read() as tx:
            job = tx.jobs.get(job_id)
        if job is None or job.state is JobState.SUCCEEDED:  # it has a model, and needs no checkpoint
            artifacts.clear_job(job_id)
        elif job.state.ended:
            artifacts.clear_workspaces(job_id, job.attempt)


def _remove_expired(store: Store, artifacts: Artifacts, now: datetime) -> None:
    with store.write() as tx:
        tx.requests.forget(now - REQUEST_IDS_KEPT)
        expired = tx.uploads.expired(now)
        for upload in expired:
            tx.uploads.delete(upload.upload_id)
    for upload in expired:
        artifacts.delete_parts(upload.upload_id)
