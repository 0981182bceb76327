"""The tables of scoping sessions: what people said, where a session stands, what its stages found, its charters."""

from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from core.db.tables import jobs, metadata


def _job(**more: Any) -> Column[Any]:
    return Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, **more)


def _owner() -> Column[Any]:
    # No foreign key: the rows go with their jobs, and those with their owner.
    return Column("owner_id", Uuid, nullable=False)


def _when(name: str) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("now()"))


# The list of an owner's sessions, whatever other jobs they have in between.
Index("ix_jobs_scoping", jobs.c.owner_id, jobs.c.id, postgresql_where=text("pipeline = 'scoping'"))

scoping_sessions = Table(
    "scoping_sessions",
    metadata,
    _job(primary_key=True),
    _owner(),
    # The first session of the charter's versions. No foreign key: later ones outlive it.
    Column("document_id", Uuid, nullable=False),
    # Of the last act that was taken.
    Column("seq", Integer, nullable=False),
    # `SessionState`, without what people said.
    Column("state", JSONB, nullable=False),
    Column("brief", JSONB, nullable=False),
    # With its words, as it was when the session was created.
    Column("questionnaire", JSONB, nullable=False),
    # The sections of the charter that it goes on from, by reference.
    Column("sections", JSONB, nullable=False, server_default=text("'{}'")),
    # A model works for it, or is about to.
    Column("at_work", Boolean, nullable=False),
    # What a list shows of the state.
    Column("stage", SmallInteger),
    Column("phase", Text, nullable=False),
    # The last state that no person made: its run, and its number within it.
    Column("kept_run", Integer, nullable=False, server_default=text("0")),
    Column("kept_number", Integer, nullable=False, server_default=text("0")),
    _when("updated_at"),
    Index("ix_scoping_sessions_at_work", "owner_id", postgresql_where=text("at_work")),
    # Each act updates its row: room on the page keeps those updates off the indexes (HOT).
    postgresql_with={"fillfactor": 70},
)

# What people said, in their words, and what was asked back. In Postgres before the workflow is told.
scoping_entries = Table(
    "scoping_entries",
    metadata,
    Column("id", Uuid, primary_key=True),
    _job(),
    _owner(),
    # NULL: offered, and not taken by the workflow (yet).
    Column("seq", Integer),
    Column("kind", Text, nullable=False),
    Column("stage", SmallInteger),
    Column("body", JSONB, nullable=False),
    # Of the workflow's update: the Idempotency-Key. NULL of what no person said to this session.
    Column("update_id", Text),
    Column("body_sha256", Text, nullable=False),
    _when("at"),
    UniqueConstraint("job_id", "update_id"),
    Index("uq_scoping_entries_seq", "job_id", "seq", "kind", unique=True, postgresql_where=text("seq IS NOT NULL")),
)

# One row each time that a stage closes; it can be read by itself.
scoping_checkpoints = Table(
    "scoping_checkpoints",
    metadata,
    _job(),
    Column("stage", SmallInteger, nullable=False),
    # Counts from 1 within the stage.
    Column("number", Integer, nullable=False),
    # The last act that it knows.
    Column("through_seq", Integer, nullable=False),
    Column("findings", JSONB, nullable=False),
    Column("assumptions", JSONB, nullable=False),
    Column("transcript", JSONB, nullable=False),
    Column("simulated", Boolean, nullable=False),
    _when("at"),
    PrimaryKeyConstraint("job_id", "stage", "number"),
)

# Whose turn it is of an owner's sessions to have a model work. `scoping_sessions.at_work` says whether one still does.
scoping_turns = Table(
    "scoping_turns",
    metadata,
    Column("owner_id", Uuid, primary_key=True),
    _job(),
    _when("taken_at"),
    Index(None, "job_id"),
)

# The versions of charters. A session has one; its bytes are in the artifact store.
charters = Table(
    "charters",
    metadata,
    Column("document_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False),
    _owner(),
    _job(),
    # The version it was made from, and the stage that was reopened for it.
    Column("parent", Integer),
    Column("reopened", SmallInteger),
    Column("title", Text, nullable=False),
    # References to bytes in the artifact store.
    Column("charter", JSONB, nullable=False),
    Column("sections", JSONB, nullable=False),
    Column("outputs", JSONB, nullable=False),
    Column("decision", Text, nullable=False),
    Column("simulated", Boolean, nullable=False),
    _when("created_at"),
    PrimaryKeyConstraint("document_id", "number"),
    UniqueConstraint("job_id"),
    CheckConstraint("number >= 1", name="number"),
)
