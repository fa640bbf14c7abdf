"""A finished job becomes a message for each endpoint that wants it, in the transaction that finished the job."""

from typing import Any
from uuid import UUID

from separation.states import job_changed
from separation.webhooks import services


def connect() -> None:
    """Called once the apps are ready."""
    job_changed.connect(_on_change, dispatch_uid="webhooks")


def _on_change(sender: Any, job_id: UUID, state: str, **_: Any) -> None:
    services.job_changed(job_id, state)
