"""Scoping: sessions, what was said in them, their checkpoints and charters."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")


def _json(name: str, default: str | None = None) -> sa.Column[object]:
    shown = None if default is None else sa.text(default)
    return sa.Column(name, postgresql.JSONB(astext_type=sa.Text()), server_default=shown, nullable=False)


def _when(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=_NOW, nullable=False)


def _of_job(table: str) -> sa.ForeignKeyConstraint:
    """Its rows go with their jobs."""
    return sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f(f"fk_{table}_job_id"), ondelete="CASCADE")


def upgrade() -> None:
    """Apply."""
    op.create_index(
        "ix_jobs_scoping", "jobs", ["owner_id", "id"], unique=False, postgresql_where=sa.text("pipeline = 'scoping'")
    )
    op.create_table(
        "scoping_sessions",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        _json("state"),
        _json("brief"),
        _json("questionnaire"),
        _json("sections", "'{}'"),
        sa.Column("at_work", sa.Boolean(), nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=True),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("kept_run", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("kept_number", sa.Integer(), server_default=sa.text("0"), nullable=False),
        _when("updated_at"),
        _of_job("scoping_sessions"),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_scoping_sessions")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(
        "ix_scoping_sessions_at_work",
        "scoping_sessions",
        ["owner_id"],
        unique=False,
        postgresql_where=sa.text("at_work"),
    )
    _create_entries()
    _create_turns()
    _create_charters()


def _create_entries() -> None:
    op.create_table(
        "scoping_entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=True),
        _json("body"),
        sa.Column("update_id", sa.Text(), nullable=True),
        sa.Column("body_sha256", sa.Text(), nullable=False),
        _when("at"),
        _of_job("scoping_entries"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scoping_entries")),
        sa.UniqueConstraint("job_id", "update_id", name=op.f("uq_scoping_entries_job_id_update_id")),
    )
    op.create_index(
        "uq_scoping_entries_seq",
        "scoping_entries",
        ["job_id", "seq", "kind"],
        unique=True,
        postgresql_where=sa.text("seq IS NOT NULL"),
    )
    op.create_table(
        "scoping_checkpoints",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("through_seq", sa.Integer(), nullable=False),
        _json("findings"),
        _json("assumptions"),
        _json("transcript"),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        _when("at"),
        _of_job("scoping_checkpoints"),
        sa.PrimaryKeyConstraint("job_id", "stage", "number", name=op.f("pk_scoping_checkpoints")),
    )


def _create_turns() -> None:
    op.create_table(
        "scoping_turns",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        _when("taken_at"),
        _of_job("scoping_turns"),
        sa.PrimaryKeyConstraint("owner_id", name=op.f("pk_scoping_turns")),
    )
    op.create_index("ix_scoping_turns_job_id", "scoping_turns", ["job_id"], unique=False)


def _create_charters() -> None:
    op.create_table(
        "charters",
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("parent", sa.Integer(), nullable=True),
        sa.Column("reopened", sa.SmallInteger(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        _json("charter"),
        _json("sections"),
        _json("outputs"),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        _when("created_at"),
        sa.CheckConstraint("number >= 1", name=op.f("ck_charters_number")),
        _of_job("charters"),
        sa.PrimaryKeyConstraint("document_id", "number", name=op.f("pk_charters")),
        sa.UniqueConstraint("job_id", name=op.f("uq_charters_job_id")),
    )


def downgrade() -> None:
    """Take back. The sessions stay as jobs, with what they cost; what was said in them is gone."""
    for table in ("charters", "scoping_turns", "scoping_checkpoints", "scoping_entries", "scoping_sessions"):
        op.drop_table(table)
    op.drop_index("ix_jobs_scoping", table_name="jobs")
