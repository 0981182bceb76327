"""Ids: UUIDv7, so that they sort by the time they were made."""

import uuid

import uuid_utils

_ARTIFACTS = uuid.UUID("b5a3f1d2-6c1e-4f0a-9d53-7f2f6f1c4e11")


def new_id() -> str:
    """A fresh UUIDv7."""
    return str(uuid_utils.uuid7())


def artifact_id(job_id: str, step: str, revision: int, name: str) -> str:
    """The id of an artifact of a step: the same each time the step is tried, so a zombie's row is the same row."""
    return str(uuid.uuid5(_ARTIFACTS, f"{job_id}/{step}/{revision}/{name}"))
